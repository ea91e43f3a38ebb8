"""Extends the state: models that were evaluated, what an iteration found and wrote, what to ship, whether to go on."""

from collections.abc import Mapping
from typing import Any

from pada_agent.components.core.cost.budget import Usage, limits
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.evidence import Learnt
from pada_agent.components.core.figures import plural
from pada_agent.components.core.patterns.pattern_rules import Trend, trend
from pada_agent.components.core.promotion import DECIDING_SPLIT, judge_candidate
from pada_agent.components.core.records import Pattern
from pada_agent.components.core.settings import BudgetSettings, LoopSettings
from pada_agent.components.core.state import Decision, IterationRecord, ModelRecord, Progress, State

Groups = Mapping[str, Mapping[str, str]]


def start(state: State, model: ModelRecord, groups: Groups) -> State:
    """Record the untuned model, or the fine-tuned one that the run starts from and would ship."""
    added = _with_model(state, model, groups)
    return added if model.kind == "untuned" else added.model_copy(update={"incumbent": model.name})


def step_matched(state: State, model: ModelRecord, groups: Groups) -> State:
    """Record a step-matched model in place of the one before: it is about the latest iteration. It can never be shipped."""
    others = [m for m in state.models if m.kind != "step_matched"]
    return _with_model(state.model_copy(update={"models": others}), model, groups)


def merge(state: State, number: int, learnt: Learnt) -> State:
    """Open iteration `number`. Raises InputError for an iteration out of turn or a row that was let in twice."""
    if number != len(state.iterations) + 1:
        raise InputError(
            f"iteration {number}: the state has {len(state.iterations)} iterations, {len(state.iterations) + 1} is next"
        )
    accepted = [row for b in learnt.batches for row in b.accepted]
    known = {row.id for row in state.synthetic_rows}
    for row in accepted:
        if row.id in known:
            raise InputError(
                f"iteration {number}: synthetic row '{row.id}' was let in twice; was this iteration's data merged before?"
            )
        known.add(row.id)
    record = IterationRecord(
        number=number,
        summary=learnt.summary,
        training_errors=len(learnt.errors),
        analyses=list(learnt.analyses),
        patterns=list(learnt.patterns),
        progress=_compared(state, learnt),
        strategies=list(learnt.strategies),
        batches=list(learnt.batches),
        wanted=sum(b.wanted for b in learnt.batches if not b.refill_of),
        accepted=len(accepted),
        usage={stage: _of_the_run(usage) for stage, usage in learnt.usage.items()},
        judge_check=learnt.judge_check,
    )
    reason = "" if accepted else _nothing(record)
    decision = Decision(go_on=not reason, reason=reason)
    return state.model_copy(update={"iterations": [*state.iterations, record], "decision": decision})


def score(state: State, model: ModelRecord, groups: Groups, loop: LoopSettings, budget: BudgetSettings) -> State:
    """Record the model of the last iteration, promote it or not, and decide whether to go on. Raises InputError out of turn."""
    if not state.iterations or state.iterations[-1].number != model.iteration:
        merged = state.iterations[-1].number if state.iterations else 0
        raise InputError(f"iteration {model.iteration} cannot be scored: the last one merged into the state is {merged}")
    state = _with_model(state, model, groups)
    verdict = judge_candidate(
        state.start, state.model(state.incumbent), model, state.groups.get(DECIDING_SPLIT, {}), loop.alpha, loop.iterations
    )
    last = state.iterations[-1]
    record = last.model_copy(update={"model": model.name, "promotion": verdict, "progress": _after_training(last, model)})
    state = state.model_copy(update={"iterations": [*state.iterations[:-1], record]})
    if verdict.promoted:
        state = state.model_copy(update={"incumbent": model.name})
    reason = _stop(state, model, loop, budget)
    return state.model_copy(update={"decision": Decision(go_on=not reason, reason=reason)})


def _with_model(state: State, model: ModelRecord, groups: Groups) -> State:
    """Raises InputError for a name taken before, or other rows than the models before it were evaluated on."""
    for known in state.models:
        if known.name == model.name:
            raise InputError(f"model '{model.name}' is already in the state; give each evaluated model a name of its own")
        for split, rows in model.outcomes.items():
            if split in known.outcomes and known.outcomes[split].keys() != rows.keys():
                raise InputError(
                    f"model '{model.name}', {split}: not the rows that '{known.name}' was evaluated on; "
                    "evaluate both on the same held-out data"
                )
    grouped = {**state.groups, **{split: dict(rows) for split, rows in groups.items() if rows}}
    model = model.model_copy(update={"usage": {stage: _of_the_run(usage) for stage, usage in model.usage.items()}})
    return state.model_copy(update={"models": [*state.models, model], "groups": grouped})


def _compared(state: State, learnt: Learnt) -> dict[str, Progress]:
    """Each pattern against the one it continues. Sizes count analysed failures only and are scaled to all of them."""
    before: dict[str, int] = {}
    if state.iterations:
        last = state.iterations[-1]
        before = {p.id: _all_failures(p, last.summary) for p in last.patterns if p.size}
    found = [p for p in learnt.patterns if p.size]  # of those taken from another run nobody knows how often they fail here
    return {p.id: Progress(trend=trend(before.get(p.previous_id), _all_failures(p, learnt.summary))) for p in found}


def _all_failures(pattern: Pattern, summary: Mapping[str, Any]) -> int:
    analysed = summary.get("analysed") or 0
    return round(pattern.size * summary.get("failures", analysed) / analysed) if analysed else pattern.size


def _after_training(record: IterationRecord, model: ModelRecord) -> dict[str, Progress]:
    right = model.outcomes.get("validation", {})
    progress = dict(record.progress)
    for pattern in record.patterns:
        rows = [r for r in pattern.row_ids if r in right]
        if rows:
            failing = sum(not right[r] for r in rows)
            outcome: Trend = trend(len(rows), failing)
            progress[pattern.id] = progress[pattern.id].model_copy(update={"failing": failing, "outcome": outcome})
    return progress


def _of_the_run(usage: Usage) -> Usage:
    # What was paid by this process and what came from the ledger changes when a run is killed and started again; the run's
    # state must not. Every call of it was paid once.
    return usage.model_copy(update={"paid_calls": 0, "replayed": 0})


def _nothing(record: IterationRecord) -> str:
    samples, unanalysed = sum(len(b.samples) for b in record.batches), record.summary.get("unanalysed", 0)
    capped = next((u.capped for u in record.usage.values() if u.capped), "")
    if capped:
        return f"no row was let in: {capped}"
    if not record.strategies and not record.training_errors and not any(b.branch == "row" for b in record.batches):
        if unanalysed:
            return f"no row was written: the teacher gave no usable analysis of {plural(unanalysed, 'failure')}"
        return "nothing to learn from: no failures to write data against"
    if not samples:
        return f"no row was written: not one of {record.wanted} asked for came in a usable reply"
    return f"nothing to learn from: none of {samples} written rows passed quality control"


def _stop(state: State, model: ModelRecord, loop: LoopSettings, budget: BudgetSettings) -> str:
    """Why the loop ends after this iteration; '' to go on."""
    if reached := _reached(state.usage_by_stage, budget):
        return reached
    if model.iteration >= loop.iterations:
        return "the planned iteration is done" if loop.iterations == 1 else f"the {loop.iterations} planned iterations are done"
    learnable = [model.metrics[s] for s in ("validation", "train") if s in model.metrics]
    if learnable and all(m.correct == m.n for m in learnable):
        return "nothing to learn from: no failures left on validation and training rows"
    since = _without_gain(state)
    if since >= loop.patience:
        return f"plateau: no better selection {model.metrics[DECIDING_SPLIT].measure} for {since} iteration{'s' * (since > 1)}"
    return ""


def _reached(spent: Mapping[str, Usage], budget: BudgetSettings) -> str:
    """Any stage's cap ends the loop: an iteration needs them all."""
    capped = next((usage.capped for usage in spent.values() if usage.capped), "")
    return capped or next((limit.reached for limit in limits(budget, spent, spent) if limit.reached), "")


def _without_gain(state: State) -> int:
    """Iterations since the last one with the best selection accuracy or score so far, the start's included."""
    best, since = state.start.metrics[DECIDING_SPLIT].main.mean, 0
    for model in state.models:
        if model.kind == "candidate":
            reached = model.metrics[DECIDING_SPLIT].main.mean
            best, since = (reached, 0) if reached > best else (best, since + 1)
    return since
