"""The report of a run: `facts` for programs (report.json), `render` for people (one HTML file without anything outside it).

Everything a model or a data set wrote is hostile here: it reaches the page through jinja2's autoescaping only.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from components.core import figures
from components.core.budget import Usage
from components.core.records import Batch, Pattern, Sample
from components.core.state import IterationRecord, ModelRecord, State
from components.core.statistics import holm, paired_bootstrap, paired_test
from components.core.verdict import STEP_MATCHED, empty, notes, verdict

SPLIT = "test"
TEXT_LENGTH = 500  # characters of one field or reason; the files have all of it
SAMPLES = 40  # of one status, shown for an iteration
ANALYSES = 3  # shown for a pattern
LABELS = {"untuned": "Untuned model", "vanilla": "Vanilla fine-tuning", STEP_MATCHED: "Step-matched vanilla"}


def render(state: State) -> str:
    """The page. It changes nothing and asks nobody: the same state gives the same bytes."""
    return _environment().get_template("report.html").render(**facts(state))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("components.core", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        name: getattr(figures, name) for name in ("percent", "points", "p_value", "bare", "duration", "count", "plural")
    }
    return environment


def facts(state: State) -> dict[str, Any]:
    """Everything the page says, JSON-ready. Shares are 0 to 1, times seconds."""
    baseline = next((m for m in state.models if m.name == STEP_MATCHED), None) or next(
        (m for m in state.models if m.kind == "start"), None
    )
    models = [_model(state, m) for m in _ordered(state.models)]
    found: dict[str, Any] = {
        "run": state.run.model_dump(),
        "finished": not state.decision.go_on,
        "reason": state.decision.reason,
        "shipped": state.incumbent,
        "shipped_uri": state.model(state.incumbent).adapter_uri if state.incumbent else "",
        "baseline": baseline.name if baseline else "",
        "grouped": bool(state.groups.get(SPLIT)),
        "models": models,
        "iterations": [_iteration(state, i) for i in state.iterations],
        "usage": _usage(state),
        "judge_check": _judge_check(state),
    }
    if baseline:
        _compare(state, models, baseline)
    found["axis"] = _axis([m["test"] for m in models if m["test"]])
    found["verdict"] = verdict(found)
    found["empty"] = empty(found)
    found["notes"] = notes(found)
    return found


def _ordered(models: Sequence[ModelRecord]) -> list[ModelRecord]:
    """Untuned, vanilla, controls, then the iterations: each row is to be read against those above it."""
    order = ("untuned", "start", "control", "candidate")
    return sorted(models, key=lambda m: (order.index(m.kind), m.iteration))


def _model(state: State, model: ModelRecord) -> dict[str, Any]:
    dumped = model.model_dump(exclude={"outcomes", "metrics"})
    splits = {split: metrics.model_dump() for split, metrics in model.metrics.items()}
    label = LABELS.get(model.name) or model.name.replace("iteration-", "Iteration ")
    shares = {split: model.metrics[split].invalid_share for split in splits}
    return {
        **dumped,
        "label": label,
        "shipped": model.name == state.incumbent,
        "test": {**splits[SPLIT], "invalid_share": shares[SPLIT]} if SPLIT in splits else None,
        "splits": splits,
        "over_baseline": None,
        "over_start": None,
    }


def _compare(state: State, models: Sequence[dict[str, Any]], baseline: ModelRecord) -> None:
    start = next((m for m in state.models if m.kind == "start"), None)
    for model in models:
        if model["name"] != baseline.name:
            model["over_baseline"] = _difference(state, baseline, state.model(model["name"]))
        if start and model["name"] != start.name:
            same = start.name == baseline.name
            model["over_start"] = model["over_baseline"] if same else _difference(state, start, state.model(model["name"]))
    tested = [m["over_baseline"] for m in models if m["kind"] == "candidate" and m["over_baseline"]]
    for comparison, adjusted in zip(tested, holm([c["p"] for c in tested]), strict=True):
        comparison["p_holm"] = adjusted


def _difference(state: State, before: ModelRecord, after: ModelRecord) -> dict[str, Any] | None:
    """Paired difference on the reported split; None where one of the two was not evaluated on it."""
    old, new = before.outcomes.get(SPLIT), after.outcomes.get(SPLIT)
    if not old or not new:
        return None
    groups = state.groups.get(SPLIT, {})
    test = paired_test(old, new, groups)
    names = [groups.get(row) or f"row {row}" for row in old]
    interval = paired_bootstrap([old[r] for r in old], [new[r] for r in old], names, state.run.confidence, seed=state.run.seed)
    return {
        "to": before.name,
        "difference": test.difference,
        "low": interval.low,
        "high": interval.high,
        "gains": test.gains,
        "losses": test.losses,
        "p": test.p,
        "p_holm": None,
    }


def _axis(tests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Ends of the chart's axis (tens of percent around all intervals) and its ticks."""
    low = min((int(10 * t["low"]) for t in tests), default=0)
    high = max((-int(-10 * t["high"] // 1) for t in tests), default=10)
    return {"low": low / 10, "high": high / 10, "ticks": [i / 10 for i in range(low, high + 1, 1 if high - low <= 6 else 2)]}


def _iteration(state: State, record: IterationRecord) -> dict[str, Any]:
    strategies = {s.pattern_id: s for s in record.strategies}
    samples = [(batch, sample) for batch in record.batches for sample in batch.samples]
    rejected = [s for _, s in samples if s.status == "rejected"]
    reasons = Counter(s.reason.partition(":")[0] or "no reason given" for s in rejected)
    names = {s.id: s.pattern_name for s in record.strategies}
    return {
        "number": record.number,
        "summary": record.summary,
        "training_errors": record.training_errors,
        "patterns": [_pattern(state, record, p, strategies.get(p.id)) for p in record.patterns],
        "wanted": record.wanted,
        "accepted": record.accepted,
        "shortfall": record.shortfall,
        "written": len(samples),
        "rejected": len(rejected),
        "reasons": reasons.most_common(),
        "unwritten": dict(sum((Counter(b.unwritten) for b in record.batches), Counter[str]())),
        "judged": [b.scores for b in record.batches if b.scores],
        "samples": {
            status: [_sample(b, s, names) for b, s in samples if s.status == status][:SAMPLES]
            for status in ("accepted", "rejected")
        },
        "model": record.model,
        "promotion": record.promotion.model_dump() if record.promotion else None,
    }


def _pattern(state: State, record: IterationRecord, pattern: Pattern, strategy: Any) -> dict[str, Any]:
    progress = record.progress.get(pattern.id)
    before = {p.id: p.name for i in state.iterations[: record.number - 1] for p in i.patterns}
    analysed_model = state.start.name if record.number == 1 else state.iterations[record.number - 2].model
    seen = next((m.metrics["validation"] for m in state.models if m.name == analysed_model and "validation" in m.metrics), None)
    return {
        **pattern.model_dump(exclude={"row_ids"}),
        "row_count": len(pattern.row_ids),
        "passed": seen.correct if seen else None,
        "trend": progress.trend if progress else "new",
        "continues": before.get(pattern.previous_id, ""),
        "failing": progress.failing if progress else None,
        "outcome": progress.outcome if progress else None,
        "strategy": strategy.text if strategy else "",
        "must_show": strategy.features if strategy else [],
        "accepted": sum(len(b.accepted) for b in record.batches if strategy and b.strategy_id == strategy.id),
        "analyses": [
            {"root_cause": _short(a.root_cause), "scenario": _short(a.scenario)}
            for a in record.analyses
            if a.row_id in set(pattern.row_ids)
        ][:ANALYSES],
    }


def _sample(batch: Batch, sample: Sample, names: Mapping[str, str]) -> dict[str, Any]:
    about = names.get(batch.strategy_id, "") if batch.branch == "pattern" else "training errors"
    return {
        "id": sample.row.id,
        "fields": {str(key): _short(str(value)) for key, value in sample.row.fields.items()},
        "status": sample.status,
        "reason": _short(sample.reason),
        "scores": sample.row.scores,
        "about": about,
        "focus": batch.focus,
        "parents": sample.row.provenance.parent_ids,
        "attempt": sample.row.provenance.attempt,
    }


def _usage(state: State) -> dict[str, Any]:
    stages: dict[str, Any] = {}
    for record in state.iterations:
        for stage, usage in record.usage.items():
            stages[stage] = stages[stage] + usage if stage in stages else usage
    return {
        "stages": {stage: usage.model_dump() for stage, usage in stages.items()},
        "total": state.usage.model_dump(),
        "expected": {stage: usage.model_dump() for stage, usage in _with_total(state.expected).items()},
        "train_seconds": sum(m.train_seconds for m in state.models),
        "evaluate_seconds": sum(m.evaluate_seconds for m in state.models),
    }


def _with_total(expected: Mapping[str, Usage]) -> dict[str, Usage]:
    return {**expected, "all": sum(expected.values(), Usage())} if expected else {}


def _judge_check(state: State) -> dict[str, Any] | None:
    """How well the judge tells known-good from known-bad batches; None where nobody measured it."""
    found = next((i.judge_check for i in state.iterations if i.judge_check), None)
    return found.facts(state.run.confidence) if found else None


def _short(text: str) -> str:
    return text if len(text) <= TEXT_LENGTH else text[:TEXT_LENGTH] + " …"
