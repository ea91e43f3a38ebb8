"""A small run's state, as the report gets it: two iterations, one promoted, with text that must not become HTML."""

import random
from collections.abc import Mapping

import pytest

from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.records import Analysis, Batch, FeatureCount, Pattern, Provenance, Sample, Strategy, SyntheticRow
from pada_agent.components.core.report.excerpts import Excerpt
from pada_agent.components.core.report.shown_rows import Answer, ShownRow
from pada_agent.components.core.state import Decision, IterationRecord, ModelRecord, Progress, Promotion, RunFacts, State
from pada_agent.components.core.statistics import SplitMetrics, wilson_interval

HOSTILE = "<script>alert('owned')</script> & \"quoted\""


def split_metrics(right: list[bool], invalid: int = 0, collapsed: bool = False) -> SplitMetrics:
    n, correct = len(right), sum(right)
    low, high = wilson_interval(correct, n)
    return SplitMetrics(
        n=n, correct=correct, accuracy=correct / n, low=low, high=high, invalid=invalid, collapsed=collapsed, histogram={"A": n}
    )


def model_record(name: str, kind: str, share: float, seed: int, **more: object) -> ModelRecord:
    """A model that answers `share` of 80 validation (if it is one that is analysed), 80 selection and 200 test rows."""
    rng = random.Random(seed)
    sizes = {s: n for s, n in SIZES.items() if s != "validation" or kind in ("start", "candidate")}
    outcomes = {s: {f"{s}-{i}": rng.random() < share for i in range(n)} for s, n in sizes.items()}
    metrics = {s: split_metrics(list(rows.values())) for s, rows in outcomes.items()}
    if "validation" in sizes:
        metrics["train"] = split_metrics([True] * (TRAIN - 2) + [False] * 2)
    return ModelRecord.model_validate({"name": name, "kind": kind, "metrics": metrics, "outcomes": outcomes, **more})


SIZES = {"validation": 80, "selection": 80, "test": 200}
TRAIN = 6


def sample(number: int, status: str, kind: str | None = None, reason: str = "") -> Sample:
    source = Provenance(
        branch="pattern", pattern_id="it1-p1", strategy_id="it1-s1", parent_ids=["train-3"], iteration=1, batch_id="b1",
        attempt=1, request_hash="0" * 8,
    )  # fmt: skip
    row = SyntheticRow(
        id=f"syn-{number}",
        fields={"question": f"Which cities have more than {number} customers? {HOSTILE}", "sql": "SELECT 1"},
        provenance=source,
        scores={"adherence": 8.0, "utility": 7.0, "relevance": 9.0},
    )
    return Sample.model_validate({"row": row, "status": status, "kind": kind, "reason": reason})


def iteration_record(number: int, promotion: Promotion, **more: object) -> IterationRecord:
    pattern = Pattern(
        id=f"it{number}-p1",
        name=f"Filtering groups {HOSTILE}",
        description="Questions that keep only groups above a number.",
        size=12,
        features=[FeatureCount(feature="HAVING", failed=12, passed=0)],
        row_ids=[f"validation-{i}" for i in range(12)],
        previous_id="it1-p1" if number > 1 else "",
    )
    strategy = Strategy(
        id=f"it{number}-s1",
        pattern_id=pattern.id,
        pattern_name=pattern.name,
        text=f"Write HAVING. {HOSTILE}",
        features=["HAVING"],
    )
    samples = [sample(1, "accepted"), sample(2, "accepted"), sample(3, "rejected", "wrong answer", f"wrong answer: {HOSTILE}")]
    batch = Batch(
        id="b1",
        branch="pattern",
        strategy_id=strategy.id,
        seed_ids=["train-3"],
        wanted=5,
        samples=samples,
        scores={"utility": 8.0},
    )
    values = {
        "number": number,
        "summary": {"failures": 24, "analysed": 24, "k": 2, "structure": True, "gap": 0.3, "silhouette": 0.4, "stability": 0.9},
        "training_errors": 3,
        "analyses": [Analysis(row_id="validation-0", root_cause=f"Leaves out HAVING {HOSTILE}", scenario="counts per group")],
        "patterns": [pattern],
        "progress": {pattern.id: Progress(trend="new", failing=2, outcome="shrinking")},
        "strategies": [strategy],
        "batches": [batch],
        "wanted": 5,
        "accepted": 2,
        "usage": {"analyze_patterns": Usage(calls=26, input_tokens=12000, output_tokens=1500, recovered={"fenced": 3})},
        "model": f"iteration-{number}",
        "promotion": promotion,
    }
    return IterationRecord.model_validate({**values, **more})


def promotion(promoted: bool, reason: str) -> Promotion:
    return Promotion(
        against="vanilla", gains=14, losses=2, difference=0.15, p=0.002, level=0.025, promoted=promoted, reason=reason
    )


@pytest.fixture
def finished_state() -> State:
    """A run that shipped its first iteration."""
    return a_finished_state()


@pytest.fixture
def shown(finished_state: State) -> list[ShownRow]:
    """Every validation and training row of that run, as update_state keeps them beside the state."""
    return rows_of(finished_state)


def a_finished_state() -> State:
    run = RunFacts(
        task="text_to_sql", metric="execution accuracy", slm="SmolLM2-135M-Instruct", teacher="Qwen2.5-Coder-1.5B-Instruct",
        judge="other", seed=0, iterations=2, patience=2, alpha=0.05, confidence=0.95, threshold=7, share=0.5, scope="total",
    )  # fmt: skip
    models = [
        model_record("untuned", "untuned", 0.02, 1),
        model_record("vanilla", "start", 0.6, 2, adapter_uri="gs://bucket/vanilla", steps=40, rows=120, train_seconds=185),
        model_record("iteration-1", "candidate", 0.85, 3, iteration=1, adapter_uri="gs://bucket/one", steps=60, rows=160),
        model_record("iteration-2", "candidate", 0.8, 4, iteration=2, adapter_uri="gs://bucket/two", steps=60, rows=180),
        model_record("step-matched", "step_matched", 0.62, 5, steps=60, rows=120),
    ]
    return State(
        run=run,
        models=models,
        iterations=[
            iteration_record(1, promotion(True, "+15.0 points over vanilla on 80 selection rows")),
            iteration_record(2, promotion(False, "it beats vanilla, but not iteration-1, which was promoted before")),
        ],
        incumbent="iteration-1",
        decision=Decision(go_on=False, reason="all 2 iterations are done"),
    )


def rows_of(state: State) -> list[ShownRow]:
    analysed = [m for m in state.models if "validation" in m.outcomes]
    answers = {
        "validation": {r: {m.name: m.outcomes["validation"][r] for m in analysed} for r in analysed[0].outcomes["validation"]},
        "train": {f"train-{i}": {m.name: i < TRAIN - 2 for m in analysed} for i in range(TRAIN)},
    }
    return [shown_row(split, row, given) for split, rows in answers.items() for row, given in rows.items()]


def shown_row(split: str, row: str, given: Mapping[str, bool]) -> ShownRow:
    title = Excerpt.of(f"What about {row}? {HOSTILE}")
    said = {}
    for name, right in given.items():
        output, detail = Excerpt.of(f"{name} says {row} {HOSTILE}"), Excerpt.of("" if right else "gives 7 rows")
        said[name] = Answer(output=output, correct=right, valid=True, detail=detail)
    values = {"id": row, "split": split, "title": title, "question": title, "drawn": True, "answers": said}
    return ShownRow.model_validate({**values, "reference": Excerpt.of(f"the gold of {row}")})
