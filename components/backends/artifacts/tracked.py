"""Writes a run into MLflow: what it was told, what came out of each iteration, and its files. Nothing here reads MLflow back.

run "text_to_sql, seed 0"   tags    pada.run = 5b1f03c7...  pada.shipped = iteration-1  pada.ended = the planned iteration is done
  params    task.name = text_to_sql   slm.model = org/slm   train.rank = 16 ...
  metrics   test_accuracy  0: 0.61  1: 0.64     at step 0 the start, then each iteration
            loss.train-1   1: 2.07  2: 1.63 ... at each optimizer step
  artifacts report.html  state.json  model_card/README.md
"""

import hashlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.report.facts import Facts, ModelFacts
from pada_agent.components.core.state import State

RUN_TAG = "pada.run"
LONGEST = 500  # characters of a param's value that every store takes
BATCH = 100  # params of a request that every server takes; of metrics it takes 1000
SECRETS = {"headers", "extra_body", "api_key_env", "api_key_secret"}  # of an endpoint's settings: not told to another server


@dataclass(frozen=True)
class Tracked:
    """A run: `address` is what it is known by, `losses` by task, `files` by their folder among MLflow's artifacts."""

    address: str
    state: State
    facts: Facts
    settings: Mapping[str, Any] = field(default_factory=dict)
    losses: Mapping[str, Sequence[float]] = field(default_factory=dict)
    files: Sequence[tuple[Path, str]] = ()


def log_run(run: Tracked, uri: str, experiment: str) -> str:
    """Write it, or bring what an earlier call wrote up to date; words for where it is. Raises InputError with MLflow's reason."""
    try:
        from mlflow.tracking import MlflowClient
    except ImportError as e:
        raise InputError(f"MLflow is missing ({e}); pip install 'pada-agent[mlflow]'") from e
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        return _log(MlflowClient(tracking_uri=uri), run, experiment, _beside(uri))
    except Exception as e:  # MLflow passes on errors of its databases and HTTP libraries
        said = " ".join(str(e).split())[:300]
        raise InputError(f"--mlflow {uri}: MLflow refused ({said}); check the address, and the server's log") from e


def _beside(uri: str) -> str | None:
    """Where the files of a database without a server go: beside it, not into whatever folder the command was called in."""
    path = uri.removeprefix("sqlite:///")
    return (Path(path).resolve().parent / "mlruns").as_uri() if path != uri else None


def _log(client: Any, run: Tracked, experiment: str, files: str | None) -> str:
    from mlflow.entities import Metric, Param, RunTag

    found = client.get_experiment_by_name(experiment)
    place = found.experiment_id if found else client.create_experiment(experiment, artifact_location=files)
    key = hashlib.sha256(run.address.encode()).hexdigest()[:32]
    there = client.search_runs([place], f"tags.`{RUN_TAG}` = '{key}'", max_results=1)
    name = f"{run.state.run.task}, seed {run.state.run.seed}"
    id_ = there[0].info.run_id if there else client.create_run(place, tags={RUN_TAG: key}, run_name=name).info.run_id
    known = dict(there[0].data.params) if there else {}
    params = [Param(key, value) for key, value in _params(run) if key not in known]
    tags = [RunTag(f"pada.{key}", value) for key, value in _tags(run).items()]
    for start in range(0, max(1, len(params)), BATCH):
        client.log_batch(id_, params=params[start : start + BATCH], tags=tags)
    now, metrics = int(time.time() * 1000), []
    for metric, points in _metrics(run).items():
        logged = {(m.step, m.value) for m in client.get_metric_history(id_, metric)} if there else set()
        metrics += [Metric(metric, value, now, step) for step, value in points if (step, value) not in logged]
    for start in range(0, len(metrics), BATCH):
        client.log_batch(id_, metrics=metrics[start : start + BATCH])
    for file, folder in run.files:
        client.log_artifact(id_, str(file), folder or None)
    if run.state.over:
        client.set_terminated(id_, "FINISHED")
    else:
        client.update_run(id_, "RUNNING")
    return f"experiment {experiment}, run {name} ({id_})"


def _params(run: Tracked) -> Iterator[tuple[str, str]]:
    values = run.settings or {"run": run.state.run.model_dump()}
    for key, value in _flat(values):
        yield key, str(value)[:LONGEST]


def _flat(values: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if key in SECRETS or value in ("", None):
            continue
        name = f"{where}.{key}" if where else str(key)
        if isinstance(value, Mapping):
            yield from _flat(value, name)
        else:
            yield name, _without_password(value)


def _without_password(value: Any) -> Any:
    """An address without the user and password that may be in it."""
    head, found, rest = str(value).partition("://")
    return f"{head}://{rest.partition('@')[2]}" if found and "@" in rest.partition("/")[0] else value


def _tags(run: Tracked) -> dict[str, str]:
    facts = run.facts
    said = {"address": run.address, "shipped": facts.shipped, "ended": facts.reason, "verdict": facts.verdict.headline}
    return {key: value for key, value in said.items() if value}


def _metrics(run: Tracked) -> dict[str, list[tuple[int, float]]]:
    """By name: (step, value). Shares are 0 to 1."""
    found: dict[str, list[tuple[int, float]]] = {}
    for model in run.facts.models:
        before = {"untuned": "untuned.", "step_matched": "step_matched."}.get(model.kind, "")
        for name, value in _of_model(model):
            found.setdefault(before + name, []).append((model.iteration, float(value)))
        if model.shipped and model.test:
            found["shipped.test_accuracy"] = [(model.iteration, model.test.accuracy)]
    for iteration, record in zip(run.facts.iterations, run.state.iterations, strict=True):
        usage = list(record.usage.values())
        for name, value in (
            ("patterns", len(iteration.patterns)), ("training_errors", iteration.training_errors),
            ("rows_wanted", iteration.wanted),
            ("rows_accepted", iteration.accepted), ("usd", sum(u.usd for u in usage)), ("llm_calls", sum(u.calls for u in usage)),
            ("llm_tokens", sum(u.tokens for u in usage)),
        ):  # fmt: skip
            found.setdefault(name, []).append((iteration.number, float(value)))
    for task, losses in run.losses.items():
        found[f"loss.{task}"] = [(step, float(loss)) for step, loss in enumerate(losses, 1)]
    return found


def _of_model(model: ModelFacts) -> Iterator[tuple[str, float]]:
    for split, metrics in model.splits.items():
        yield f"{split}_accuracy", metrics.accuracy
        if metrics.grade:
            yield f"{split}_score", metrics.grade.mean
    if model.test:
        yield from (
            ("test_low", model.test.low),
            ("test_high", model.test.high),
            ("test_invalid_share", model.test.invalid_share),
        )
    for word, over in (("gain_over_vanilla", model.over_start), ("gain_over_baseline", model.over_baseline)):
        if over:
            yield from ((word, over.difference), (f"{word}_low", over.low), (f"{word}_high", over.high), (f"{word}_p", over.p))
    yield from (("train_rows", model.rows), ("synthetic_rows", model.synthetic_rows), ("steps", model.steps))
