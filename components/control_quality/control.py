"""Lets in only rows that are right, new, on the pattern, free of held-out text and, as a batch, good enough for the judge."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pada_agent.components.core.llm_interface import Llm, LlmRequest
from pada_agent.components.core.prompts import render
from pada_agent.components.core.quality.rules import DIMENSIONS, feedback_text, mean_score, parse_scores
from pada_agent.components.core.records import Batch, Branch, Fields, Sample, Strategy, SyntheticRow, TrainRow
from pada_agent.components.core.separation.duplicates import NearDuplicates
from pada_agent.components.core.settings import ControlSettings, GenerateSettings
from pada_agent.components.core.tasks.task import CodeRunner, Task

STAGE = "control_quality"
FEEDBACK_LENGTH = 300
Item = dict[str, str]
Judgement = tuple[dict[str, float], str]  # scores by dimension, feedback


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
    def check(batch: Batch, row: SyntheticRow) -> str:
        if wrong := task.verify(row.fields, tools.run_code):
            return f"wrong answer: {wrong}"
        if batch.focus and batch.focus not in task.features(row.fields):
            return f"off the pattern: the answer does not use {batch.focus}"
        if twin := seen.closest(*_identity(task, row.fields)):
            return f"not new: nearly the same as {twin[0]}"
        if leak := tools.leak(task.private_texts(row.fields)):
            return f"leak: {leak}"
        seen.add(row.id, *_identity(task, row.fields))
        return ""

    return [_with_reasons(b, {s.row.id: check(b, s.row) for s in b.samples if s.status == "new"}) for b in batches]


def _solve_blind(task: Task, batches: Sequence[Batch], settings: ControlSettings, judge: Llm) -> list[Batch]:
    """Multiple choice: the judge answers without the key; where it disagrees, key or question is doubtful."""
    rows = [s.row for b in batches for s in b.samples if s.status == "new" and task.options_of(s.row.fields)]
    if not rows:
        return list(batches)
    replies = judge.ask_all("solve blind", [_solve_request(task, row, settings) for row in rows])
    reasons = {}
    for row, reply in zip(rows, replies, strict=True):
        if reply.value is None:
            reasons[row.id] = f"not verified: {reply.error}"
        elif not task.score(row.fields, f"The best answer is {reply.value}.", _no_code).correct:
            reasons[row.id] = f"doubtful key: solved blind, the answer is {reply.value}"
    return [_with_reasons(b, reasons) for b in batches]


def _solve_request(task: Task, row: SyntheticRow, settings: ControlSettings) -> LlmRequest[str]:
    labels = task.options_of(row.fields)

    def parse(value: Any) -> str:
        answer = str(value.get("answer", "")).strip() if isinstance(value, dict) else ""
        if answer not in labels:
            raise ValueError(f'"answer" must be one of {", ".join(labels)}')
        return answer

    return LlmRequest(
        key=f"solve/{row.id}",
        messages=render(STAGE, "solve", question=task.question(row.fields), labels=labels),
        schema={
            "type": "object",
            "properties": {"answer": {"type": "string", "enum": labels}},
            "required": ["answer"],
            "additionalProperties": False,
        },
        parse=parse,
        temperature=settings.temperature,
    )


def _judge(
    task: Task, batches: Sequence[Batch], strategies: dict[str, str], settings: ControlSettings, judge: Llm
) -> list[Batch]:
    """Scores the survivors of each batch together, and accepts or rejects them together, as in the paper."""
    todo = [b for b in batches if any(s.status == "new" for s in b.samples)]
    replies = judge.ask_all("judge batches", [_batch_request(task, b, strategies.get(b.strategy_id, ""), settings) for b in todo])
    judged: dict[str, Batch] = {}
    for batch, reply in zip(todo, replies, strict=True):
        if reply.value is None:
            judged[batch.id] = _resolve(batch, "rejected", f"not judged: {reply.error}", {}, "")
            continue
        scores, feedback = reply.value
        mean = mean_score(scores)
        if mean >= settings.threshold:
            judged[batch.id] = _resolve(batch, "accepted", "", scores, feedback)
        else:
            reason = f"judge: {mean:.1f} is below {settings.threshold:g}"
            judged[batch.id] = _resolve(batch, "rejected", reason, scores, feedback)
    return [judged.get(b.id, b) for b in batches]


def _batch_request(task: Task, batch: Batch, strategy: str, settings: ControlSettings) -> LlmRequest[Judgement]:
    rows = [s.row for s in batch.samples if s.status == "new"]
    items = [item(task, r.fields) for r in rows]
    return judge_request(task, f"judge/{batch.id}/{batch.attempt}", batch.branch, strategy, items, settings)


def item(task: Task, fields: Fields) -> Item:
    """A row as the judge sees it."""
    return {"question": task.question(fields), "reference": task.reference(fields)}


def judge_request(
    task: Task, key: str, branch: Branch, strategy: str, items: Sequence[Item], settings: ControlSettings
) -> LlmRequest[Judgement]:
    """Asks for the scores of one batch, and the feedback on it."""
    dimensions = DIMENSIONS[branch]
    score = {"type": "integer", "minimum": 1, "maximum": 10}
    properties: dict[str, Any] = dict.fromkeys(dimensions, score)
    properties["feedback"] = {"type": "string", "maxLength": FEEDBACK_LENGTH}
    return LlmRequest(
        key=key,
        messages=render(STAGE, "judge", task=task.description, strategy=strategy, items=items),
        schema={
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        },
        parse=lambda value: parse_scores(value, dimensions),
        temperature=settings.temperature,
    )


def _resolve(batch: Batch, status: str, reason: str, scores: dict[str, float], feedback: str) -> Batch:
    samples = [
        s
        if s.status != "new"
        else Sample.model_validate({"row": s.row.model_copy(update={"scores": scores}), "status": status, "reason": reason})
        for s in batch.samples
    ]
    return batch.model_copy(update={"samples": samples, "scores": scores, "feedback": feedback})


def _with_reasons(batch: Batch, reasons: dict[str, str]) -> Batch:
    samples = [
        s.model_copy(update={"status": "rejected", "reason": reasons[s.row.id]}) if reasons.get(s.row.id) else s
        for s in batch.samples
    ]
    return batch.model_copy(update={"samples": samples})


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
