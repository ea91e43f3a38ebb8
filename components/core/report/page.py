"""The report of a run: `facts` for programs (report.json), `render` for people (one HTML file without anything outside it).

Everything a model or a data set wrote is hostile here: it reaches the page through jinja2's autoescaping only.
"""

from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from pada_agent.components.core import figures
from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.records import Pattern
from pada_agent.components.core.report.browsing import browse
from pada_agent.components.core.report.changes import changes
from pada_agent.components.core.report.excerpts import LENGTH, excerpt, visible
from pada_agent.components.core.report.glance import glance
from pada_agent.components.core.report.shown_rows import PLACES, ShownRow
from pada_agent.components.core.report.verdict import STEP_MATCHED, empty, notes, verdict
from pada_agent.components.core.state import IterationRecord, ModelRecord, State
from pada_agent.components.core.statistics import holm, paired_bootstrap, paired_test

SPLIT = "test"
LIMIT = 1_900_000  # bytes of the page
SHRINKINGS = 7  # times that less may be shown, half as much each time
SHORTEST = 60  # characters that are left of any text
ANALYSES = 3  # shown for a pattern
LABELS = {"untuned": "Untuned model", "vanilla": "Vanilla fine-tuning", STEP_MATCHED: "Step-matched vanilla"}


def render(state: State, rows: Sequence[ShownRow] = ()) -> str:
    """The page, below 2 MB. It changes nothing and asks nobody: the same state and rows give the same bytes.

    Where all of it is too much, fewer rows and samples are shown, drawn by the seed, and less of long texts; both are said.
    """
    found, page = facts(state), ""
    labels = {m["name"]: m["label"] for m in found["models"]}
    half = 0
    while half < SHRINKINGS:
        shown = browse(state, rows, labels, PLACES >> half)
        page = _template().render(**found, browse=shown, length=max(LENGTH >> half, SHORTEST))
        excess = len(page.encode()) // LIMIT
        if not excess:
            break
        half += max(1, excess.bit_length() // 2)  # one halving shortens both the lists and the texts in them
    return page


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("pada_agent.components.core.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = ("percent", "points", "signed", "p_value", "bare", "duration", "count", "plural")
    environment.filters |= {**{name: getattr(figures, name) for name in names}, "cut": excerpt}
    script = str(environment.get_template("report.js").render())
    environment.globals |= {"script": Markup(script), "script_hash": b64encode(sha256(script.encode()).digest()).decode()}
    return environment.get_template("report.html")


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
    found["changes"] = changes(state)
    found["glance"] = glance(found)
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
    samples = [sample for batch in record.batches for sample in batch.samples]
    rejected = [s for s in samples if s.status == "rejected"]
    reasons = Counter(s.kind or "no reason given" for s in rejected)
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
        "model": record.model,
        "promotion": record.promotion.model_dump() if record.promotion else None,
    }


def _pattern(state: State, record: IterationRecord, pattern: Pattern, strategy: Any) -> dict[str, Any]:
    progress = record.progress.get(pattern.id)
    before = {p.id: p.name for i in state.iterations[: record.number - 1] for p in i.patterns}
    analysed_model = state.analysed(record.number)
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
            {"root_cause": a.root_cause, "scenario": a.scenario} for a in record.analyses if a.row_id in set(pattern.row_ids)
        ][:ANALYSES],
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
