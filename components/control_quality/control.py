"""Lets in only rows that are right, new, on the pattern, free of held-out text and, as a batch, good enough for the judge."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pada_agent.components.control_quality.judge import Judgement, item, judge_request, solve_request
from pada_agent.components.core.llm_interface import Llm, LlmReply, LlmRequest
from pada_agent.components.core.quality.rules import feedback_text, mean_score
from pada_agent.components.core.records import Batch, Fields, Sample, Strategy, SyntheticRow, TrainRow
from pada_agent.components.core.separation.duplicates import NearDuplicates
from pada_agent.components.core.settings import ControlSettings, GenerateSettings
from pada_agent.components.core.tasks.task import CodeRunner, Task


@dataclass(frozen=True)
class Tools:
    """The outside world, handed in. `leak` tells why texts are too close to held-out rows, '' if they are not."""

    judge: Llm
    run_code: CodeRunner
    leak: Callable[[Sequence[str]], str]


@dataclass(frozen=True)
class Known:
    """Rows a sample must differ from."""

    train: Sequence[TrainRow]
    accepted: Sequence[SyntheticRow]


def control(
    task: Task,
    batches: Sequence[Batch],
    strategies: Sequence[Strategy],
    known: Known,
    settings: ControlSettings,
    generate: GenerateSettings,
    tools: Tools,
) -> list[Batch]:
    """`batches` with a verdict on every new sample; batches without new work pass through unchanged."""
    todo = [b.model_copy(update={"feedback": ""}) for b in batches if b.status == "open"]
    checked = _check_rules(task, todo, _seen(task, batches, known, settings), tools)
    solved = _solve_blind(task, checked, settings, tools.judge)
    judged = _judge(task, solved, {s.id: s.text for s in strategies}, settings, tools.judge)
    closed = {b.id: _close(b, generate.regenerations) for b in judged}
    return [closed.get(b.id, b) for b in batches]


def _seen(task: Task, batches: Sequence[Batch], known: Known, settings: ControlSettings) -> NearDuplicates:
    seen = NearDuplicates(settings.near_duplicate)
    rows: list[TrainRow | SyntheticRow] = [*known.train, *known.accepted]
    rows += [row for b in batches for row in b.accepted]
    for row in rows:
        seen.add(row.id, *_identity(task, row.fields))
    return seen


def _identity(task: Task, fields: Fields) -> tuple[str, str]:
    """Question and all that the SLM is shown: rows alike in both are the same (one question about two passages is two rows)."""
    return task.question(fields), task.messages(fields)[-1]["content"]


def _check_rules(task: Task, batches: Sequence[Batch], seen: NearDuplicates, tools: Tools) -> list[Batch]:
    def check(batch: Batch, sample: Sample) -> Sample:
        row = sample.row
        if wrong := task.verify(row.fields, tools.run_code):
            return sample.rejected("wrong answer", wrong)
        if batch.focus and batch.focus not in task.features(row.fields):
            return sample.rejected("off the pattern", f"the answer does not use {batch.focus}")
        if twin := seen.closest(*_identity(task, row.fields)):
            return sample.rejected("not new", f"nearly the same as {twin[0]}")
        if leak := tools.leak(task.private_texts(row.fields)):
            return sample.rejected("leak", leak)
        seen.add(row.id, *_identity(task, row.fields))
        return sample

    return [_with_verdicts(b, partial(check, b)) for b in batches]


def _solve_blind(task: Task, batches: Sequence[Batch], settings: ControlSettings, judge: Llm) -> list[Batch]:
    """Multiple choice: the judge answers without the key; where it disagrees, key or question is doubtful."""
    rows = [s.row for b in batches for s in b.samples if s.status == "new" and task.options_of(s.row.fields)]
    if not rows:
        return list(batches)
    replies = judge.ask_all("rows solved blind", [solve_request(task, row, settings) for row in rows])
    by_row = {row.id: reply for row, reply in zip(rows, replies, strict=True)}

    def check(sample: Sample) -> Sample:
        reply = by_row.get(sample.row.id)
        if reply is None:
            return sample
        if reply.value is None:
            return sample.rejected("not verified", reply.error)
        answer = reply.value.answer
        if not task.score(sample.row.fields, f"The best answer is {answer}.", _no_code).correct:
            return sample.rejected("doubtful key", f"solved blind, the answer is {answer}")
        return sample

    return [_with_verdicts(b, check) for b in batches]


def _judge(
    task: Task, batches: Sequence[Batch], strategies: dict[str, str], settings: ControlSettings, judge: Llm
) -> list[Batch]:
    """Scores the survivors of each batch together, and accepts or rejects them together, as in the paper."""
    todo = [b for b in batches if any(s.status == "new" for s in b.samples)]
    replies = judge.ask_all(
        "batches judged", [_batch_request(task, b, strategies.get(b.strategy_id, ""), settings) for b in todo]
    )
    judged = {b.id: _with_judgement(b, reply, settings.threshold) for b, reply in zip(todo, replies, strict=True)}
    return [judged.get(b.id, b) for b in batches]


def _batch_request(task: Task, batch: Batch, strategy: str, settings: ControlSettings) -> LlmRequest[Judgement]:
    rows = [s.row for s in batch.samples if s.status == "new"]
    items = [item(task, r.fields) for r in rows]
    return judge_request(task, f"judge/{batch.id}/{batch.attempt}", batch.branch, strategy, items, settings)


def _with_judgement(batch: Batch, reply: LlmReply[Judgement], threshold: float) -> Batch:
    judgement = reply.value
    if judgement is None:
        return _with_verdicts(batch, lambda s: s.rejected("not judged", reply.error))
    mean = mean_score(judgement.scores)

    def verdict(sample: Sample) -> Sample:
        scored = sample.model_copy(update={"row": sample.row.model_copy(update={"scores": judgement.scores})})
        if mean >= threshold:
            return scored.model_copy(update={"status": "accepted"})
        return scored.rejected("judge", f"{mean:.1f} is below {threshold:g}")

    judged = _with_verdicts(batch, verdict)
    return judged.model_copy(update={"scores": judgement.scores, "feedback": judgement.feedback})


def _with_verdicts(batch: Batch, verdict: Callable[[Sample], Sample]) -> Batch:
    """The batch with a verdict on each sample that has none yet."""
    return batch.model_copy(update={"samples": [verdict(s) if s.status == "new" else s for s in batch.samples]})


def _close(batch: Batch, regenerations: int) -> Batch:
    """Done, exhausted after the last regeneration, or open again with what to mend."""
    if not batch.missing:
        return batch.model_copy(update={"status": "done", "feedback": ""})
    this_attempt = [s for s in batch.samples if s.row.provenance.attempt == batch.attempt]
    reasons = [s.reason for s in this_attempt if s.status == "rejected"] + batch.refused
    status = "exhausted" if batch.attempt >= regenerations else "open"
    return batch.model_copy(update={"status": status, "feedback": feedback_text(reasons, batch.feedback)})


def _no_code(program: str, seconds: float) -> Any:
    raise NotImplementedError("a multiple-choice answer is scored without running code")
