"""Writes and reads the answers of one model, and what train_lora left of it: into the record the state keeps.

    predictions/train.jsonl  validation.jsonl        report_predictions/selection.jsonl  test.jsonl
    .../metrics.json      {"name": "vanilla", "seconds": 41.2, "model": ..., "engine": ..., "splits": {"test": {...}}}
    .../usage.json        where an LLM scored them, what that took: one task's, and the same in both folders

Answers that an LLM has still to score have no metrics: `splits` is empty and `pending` is their number.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pada_agent.components.backends.files import whole_directory
from pada_agent.components.backends.record_files import read_json, read_record, read_records, write_json, write_records
from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.evidence import Evaluated
from pada_agent.components.core.quality.scorer_check import SCORER_CHECK_FILE, ScorerCheck
from pada_agent.components.core.records import Prediction, check_scored
from pada_agent.components.core.report.losses import thinned
from pada_agent.components.core.report.shown_rows import ROWS_FILE, SHOWN_SPLITS, ShownRow
from pada_agent.components.core.settings import EvaluateSettings
from pada_agent.components.core.state import Kind, ModelRecord
from pada_agent.components.core.statistics import grades_of, summarise

OUTPUTS = {"predictions": ("train", "validation"), "report_predictions": ("selection", "test")}
USAGE_FILE = "usage.json"
NOT_EVALUATED = -1.0


def write_evaluated(
    path: Path,
    predictions: Mapping[str, Sequence[Prediction]],
    facts: Mapping[str, object],
    settings: EvaluateSettings,
    beside: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Write one artifact of predictions by split, and JSON files `beside` them; accuracies and mean scores, for metadata."""
    waiting = _waiting(predictions)
    metrics = {}
    if not waiting:
        metrics = {s: summarise(p, settings.confidence, settings.collapse_share) for s, p in predictions.items()}
    with whole_directory(path) as folder:
        for split, part in predictions.items():
            write_records(folder / f"{split}.jsonl", part)
        for name, value in (beside or {}).items():
            write_json(folder / name, value)
        said = {**facts, **({"pending": waiting} if waiting else {})}
        write_json(folder / "metrics.json", {**said, "splits": {s: m.model_dump(mode="json") for s, m in metrics.items()}})
    accuracies = {f"{split}_accuracy": round(m.accuracy, 4) for split, m in metrics.items()}
    return accuracies | {f"{split}_score": round(m.grade.mean, 4) for split, m in metrics.items() if m.grade}


def read_answers(folders: Sequence[Path]) -> tuple[dict[str, list[Prediction]], dict[str, Any]]:
    """The predictions of one model by split, scored or not, and the facts beside them."""
    rows = {file.stem: read_records(file, Prediction) for folder in folders for file in sorted(folder.glob("*.jsonl"))}
    facts = read_json(folders[0] / "metrics.json")
    return rows, {name: value for name, value in facts.items() if name not in ("splits", "pending")}


def spent_on(folder: Path) -> dict[str, Usage]:
    """What scoring the answers in a folder took, by stage; nothing where no LLM did."""
    file = folder / USAGE_FILE
    return {stage: Usage.model_validate(usage) for stage, usage in read_json(file).items()} if file.exists() else {}


def numbers_of(predictions: Mapping[str, Sequence[Prediction]]) -> dict[str, int | str]:
    """What came out, by words, for a line of a log."""
    if waiting := _waiting(predictions):
        return {"answers to be scored": waiting}
    return {split: f"{100 * _accuracy(part):.1f} % of {len(part)}" for split, part in predictions.items()}


def validation_accuracy(predictions: Mapping[str, Sequence[Prediction]]) -> float:
    """0 to 1; NOT_EVALUATED where validation was not, or its answers are not scored yet."""
    validation = predictions.get("validation")
    return _accuracy(validation) if validation and not _waiting(predictions) else NOT_EVALUATED


def _accuracy(predictions: Sequence[Prediction]) -> float:
    return sum(p.score.correct for p in predictions) / len(predictions)


def _waiting(predictions: Mapping[str, Sequence[Prediction]]) -> int:
    return sum(p.score.pending for part in predictions.values() for p in part)


def read_evaluated(
    name: str,
    kind: Kind,
    iteration: int,
    folders: Sequence[Path],
    adapter: tuple[Path, str] | None,
    settings: EvaluateSettings,
) -> Evaluated:
    """`folders` hold `<split>.jsonl` of predictions, `adapter` is its path and URI. Raises InputError for what is missing.

    Metrics are counted from the rows themselves, so that they cannot differ from the outcomes the tests are made on.
    """
    rows = {file.stem: read_records(file, Prediction) for folder in folders for file in sorted(folder.glob("*.jsonl"))}
    if not any(rows.values()):
        raise InputError(f"model '{name}': there are no predictions; pass the artifacts predictions and report_predictions")
    for split, predictions in rows.items():
        check_scored(predictions, f"model '{name}', {split}.jsonl")
        if len({p.id for p in predictions}) != len(predictions):
            raise InputError(f"model '{name}', {split}.jsonl: two predictions have the same row id")
    timed = [read_json(folder / "metrics.json") for folder in folders if (folder / "metrics.json").exists()]
    model = ModelRecord(
        name=name,
        kind=kind,
        iteration=iteration,
        evaluate_seconds=max((float(metrics.get("seconds", 0)) for metrics in timed), default=0.0),
        engine=next((str(metrics["engine"]) for metrics in timed if "engine" in metrics), ""),
        metrics={s: summarise(p, settings.confidence, settings.collapse_share) for s, p in rows.items() if p},
        outcomes={s: {p.id: p.score.correct for p in ps} for s, ps in rows.items() if ps and s != "train"},
        grades={s: grades for s, ps in rows.items() if s != "train" and (grades := grades_of(ps))},
        usage=next((usage for folder in folders if (usage := spent_on(folder))), {}),
        **(_training(*adapter) if adapter else {}),
    )
    groups = {split: {p.id: p.group for p in ps if p.group} for split, ps in rows.items() if split != "train"}
    checked = next((file for folder in folders if (file := folder / SCORER_CHECK_FILE).exists()), None)
    return Evaluated(
        model,
        groups,
        {split: rows[split] for split in SHOWN_SPLITS if split in rows},
        read_record(checked, ScorerCheck) if checked else None,
    )


def read_shown_rows(state: Path) -> list[ShownRow]:
    """The rows beside a state that its report shows; none beside a state of an earlier release."""
    path = state / ROWS_FILE
    return read_records(path, ShownRow) if path.exists() else []


def _training(folder: Path, uri: str) -> dict[str, Any]:
    path = folder / "train.json"
    facts = read_json(path)
    try:
        return {
            "adapter_uri": uri,
            "steps": facts["steps"],
            "rows": facts["rows"],
            "synthetic_rows": facts["synthetic_rows"],
            "dropped_rows": len(facts["dropped_too_long"]),
            "train_seconds": facts["seconds"],
            "losses": thinned(facts.get("losses", [])),
        }
    except (KeyError, TypeError) as e:
        raise InputError(f"{path}: {e} is missing; is this an adapter that train_lora wrote?") from e
