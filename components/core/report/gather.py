"""Gathers the facts of a report from a state. The tests and bootstraps of its comparisons run here and nowhere else."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.prompts import package_prompts
from pada_agent.components.core.quality.judge_check import JudgeFacts
from pada_agent.components.core.records import Pattern, Strategy
from pada_agent.components.core.report.changes import changes
from pada_agent.components.core.report.excerpts import excerpt
from pada_agent.components.core.report.facts import (
    Axis,
    Cause,
    Comparison,
    EarlierFacts,
    EarlierPatternFacts,
    Facts,
    IterationFacts,
    Measured,
    ModelFacts,
    PatternFacts,
    PromptFacts,
    ReportedMetrics,
    UsageFacts,
)
from pada_agent.components.core.report.glance import glance
from pada_agent.components.core.report.verdict import STEP_MATCHED, empty, notes, verdict
from pada_agent.components.core.state import Earlier, IterationRecord, ModelRecord, State
from pada_agent.components.core.statistics import holm, paired_bootstrap, paired_test

REPORTED_SPLIT = "test"
ANALYSES = 3  # shown for a pattern
PROMPT = 10_000  # characters of a user's own prompt
LABELS = {"untuned": "Untuned model", "vanilla": "Vanilla fine-tuning", STEP_MATCHED: "Step-matched vanilla"}


def gather(state: State) -> Facts:
    """The facts of a state, whether its run has ended or not."""
    start = next((m for m in state.models if m.kind == "start"), None)
    baseline = next((m for m in state.models if m.name == STEP_MATCHED), start)
    over_baseline = _corrected(state, _compared(state, baseline)) if baseline else {}
    over_start = over_baseline if start is baseline else _compared(state, start)
    models = [_model(state, m, over_baseline.get(m.name), over_start.get(m.name)) for m in _ordered(state.models)]
    measured = Measured(
        run=state.run,
        finished=not state.decision.go_on,
        reason=state.decision.reason,
        shipped=state.incumbent,
        shipped_uri=state.model(state.incumbent).adapter_uri if state.incumbent else "",
        baseline=baseline.name if baseline else "",
        grouped=bool(state.groups.get(REPORTED_SPLIT)),
        models=models,
        iterations=[_iteration(state, i) for i in state.iterations],
        usage=_usage(state),
        judge_check=_judge_check(state),
        scorer_check=state.scorer_check.facts(state.run.confidence, state.run.seed) if state.scorer_check else None,
        axis=_axis([m.test for m in models if m.test]),
        changes=changes(state),
        taken_over=state.taken_over,
        earlier=_earlier(state.earlier),
        prompts=[_prompt(name, text) for name, text in sorted(state.prompts.items())],
    )
    return Facts(
        **dict(measured), glance=glance(measured), verdict=verdict(measured), empty=empty(measured), notes=notes(measured)
    )


def _ordered(models: Sequence[ModelRecord]) -> list[ModelRecord]:
    """Untuned, vanilla, step-matched, then the iterations: each row is to be read against those above it."""
    order = ("untuned", "start", "step_matched", "candidate")
    return sorted(models, key=lambda m: (order.index(m.kind), m.iteration))


def _model(state: State, model: ModelRecord, over_baseline: Comparison | None, over_start: Comparison | None) -> ModelFacts:
    test = model.metrics.get(REPORTED_SPLIT)
    return ModelFacts(
        **model.model_dump(exclude={"outcomes", "grades", "metrics", "usage"}),
        label=LABELS.get(model.name) or model.name.replace("iteration-", "Iteration "),
        shipped=model.name == state.incumbent,
        test=ReportedMetrics(**test.model_dump()) if test else None,
        splits=model.metrics,
        over_baseline=over_baseline,
        over_start=over_start,
    )


def _compared(state: State, before: ModelRecord | None) -> dict[str, Comparison]:
    """By model: what it gains over `before`."""
    pairs = [(m.name, _difference(state, before, m)) for m in state.models if before and m.name != before.name]
    return {name: comparison for name, comparison in pairs if comparison}


def _corrected(state: State, comparisons: Mapping[str, Comparison]) -> dict[str, Comparison]:
    """With the candidates' p values corrected for their number."""
    tested = [m.name for m in _ordered(state.models) if m.kind == "candidate" and m.name in comparisons]
    adjusted = dict(zip(tested, holm([comparisons[name].p for name in tested]), strict=True))
    return {name: c.model_copy(update={"p_holm": adjusted.get(name)}) for name, c in comparisons.items()}


def _difference(state: State, before: ModelRecord, after: ModelRecord) -> Comparison | None:
    if not before.outcomes.get(REPORTED_SPLIT) or not after.outcomes.get(REPORTED_SPLIT):
        return None
    old, new = before.scores(REPORTED_SPLIT), after.scores(REPORTED_SPLIT)
    groups = state.groups.get(REPORTED_SPLIT, {})
    test = paired_test(old, new, groups)
    names = [groups.get(row) or f"row {row}" for row in old]
    interval = paired_bootstrap([old[r] for r in old], [new[r] for r in old], names, state.run.confidence, seed=state.run.seed)
    return Comparison(
        to=before.name,
        difference=test.difference,
        low=interval.low,
        high=interval.high,
        gains=test.gains,
        losses=test.losses,
        p=test.p,
    )


def _axis(tests: Sequence[ReportedMetrics]) -> Axis:
    """Tens of percent around all intervals."""
    low = min((int(10 * t.main.low) for t in tests), default=0)
    high = max((-int(-10 * t.main.high // 1) for t in tests), default=10)
    return Axis(low=low / 10, high=high / 10, ticks=[i / 10 for i in range(low, high + 1, 1 if high - low <= 6 else 2)])


def _iteration(state: State, record: IterationRecord) -> IterationFacts:
    strategies = {s.pattern_id: s for s in record.strategies}
    samples = [sample for batch in record.batches for sample in batch.samples]
    rejected = [s for s in samples if s.status == "rejected"]
    reasons = Counter(s.kind or "no reason given" for s in rejected)
    return IterationFacts(
        number=record.number,
        summary=record.summary,
        training_errors=record.training_errors,
        patterns=[_pattern(state, record, p, strategies.get(p.id)) for p in record.patterns],
        wanted=record.wanted,
        accepted=record.accepted,
        shortfall=record.shortfall,
        written=len(samples),
        rejected=len(rejected),
        reasons=reasons.most_common(),
        unwritten=dict(sum((Counter(b.unwritten) for b in record.batches), Counter[str]())),
        judged=[b.scores for b in record.batches if b.scores],
        model=record.model,
        promotion=record.promotion,
    )


def _pattern(state: State, record: IterationRecord, pattern: Pattern, strategy: Strategy | None) -> PatternFacts:
    progress = record.progress.get(pattern.id)
    before = {p.id: p.name for i in state.iterations[: record.number - 1] for p in i.patterns}
    analysed_model = state.analysed(record.number)
    seen = next((m.metrics["validation"] for m in state.models if m.name == analysed_model and "validation" in m.metrics), None)
    causes = [a for a in record.analyses if a.row_id in set(pattern.row_ids)]
    return PatternFacts(
        **pattern.model_dump(exclude={"row_ids"}),
        row_count=len(pattern.row_ids),
        passed=seen.correct if seen else None,
        trend=progress.trend if progress else "new",
        continues=before.get(pattern.previous_id, ""),
        failing=progress.failing if progress else None,
        outcome=progress.outcome if progress else None,
        strategy=strategy.text if strategy else "",
        must_show=strategy.features if strategy else [],
        accepted=sum(len(b.accepted) for b in record.batches if strategy and b.strategy_id == strategy.id),
        analyses=[Cause(root_cause=a.root_cause, scenario=a.scenario) for a in causes[:ANALYSES]],
    )


def _earlier(found: Earlier | None) -> EarlierFacts | None:
    if found is None:
        return None
    patterns = [EarlierPatternFacts(**p.model_dump(exclude={"prints"}), then=len(p.prints)) for p in found.patterns]
    return EarlierFacts(uri=found.uri, shipped=found.shipped, patterns=patterns, problem=found.problem)


def _prompt(name: str, text: str) -> PromptFacts:
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return PromptFacts(name=name, stage=package_prompts().get(name, ""), sha256=sha256, text=excerpt(text, PROMPT))


def _usage(state: State) -> UsageFacts:
    expected = state.expected
    return UsageFacts(
        stages=state.usage_by_stage,
        total=state.usage,
        expected={**expected, "all": sum(expected.values(), Usage())} if expected else {},
        train_seconds=sum(m.train_seconds for m in state.models),
        evaluate_seconds=sum(m.evaluate_seconds for m in state.models),
    )


def _judge_check(state: State) -> JudgeFacts | None:
    """How well the judge tells known-good from known-bad batches; None where nobody measured it."""
    checked = next((i.judge_check for i in state.iterations if i.judge_check), None)
    return checked.facts(state.run.confidence) if checked else None
