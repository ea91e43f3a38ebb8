"""Writes synthetic rows: against a pattern by its strategy, or around training errors."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from pada_agent.components.core.llm_interface import Llm, LlmReply, LlmRequest
from pada_agent.components.core.records import Batch, Fields, Provenance, Sample, SyntheticRow, UnwrittenKind
from pada_agent.components.core.settings import GenerateSettings
from pada_agent.components.core.tasks.answer_first import answer_first
from pada_agent.components.core.tasks.task import CodeRunner, Task
from pada_agent.components.generate_data.answers import AnswerWriter
from pada_agent.components.generate_data.batches import Sources
from pada_agent.components.generate_data.bounds import Forms
from pada_agent.components.generate_data.samples import Written, items_asked, read_items
from pada_agent.components.generate_data.shown import Shown

STAGE = "generate_data"


@dataclass(frozen=True)
class Tools:
    """The outside world, handed in."""

    teacher: Llm
    run_code: CodeRunner


def generate(
    sources: Sources, batches: Sequence[Batch], settings: GenerateSettings, forms: Forms, tools: Tools, iteration: int
) -> list[Batch]:
    """`batches` with new samples for each open one; the others pass through unchanged.

    A batch whose call failed stays open, with the reason in `refused`, and is tried again by the next link.
    Raises InputError for a task that cannot be written in the order of the settings.
    """
    first = answer_first(sources.task, settings.order)
    shown = Shown(sources, settings, batches, first)
    todo = [b for b in batches if b.status == "open"]
    if first:
        writer = AnswerWriter(first, sources, settings, forms, shown, tools.run_code, batches)
        replies = writer.write(todo, tools.teacher)
    else:
        requests = [_request(sources.task, settings, forms, shown, b) for b in todo]
        replies = tools.teacher.ask_all("batches written", requests)
    patterns = {s.id: s.pattern_id for s in sources.strategies}
    written = {b.id: _receive(b, reply, patterns, iteration) for b, reply in zip(todo, replies, strict=True)}
    return [written.get(b.id, b) for b in batches]


def _request(task: Task, settings: GenerateSettings, forms: Forms, shown: Shown, batch: Batch) -> LlmRequest[Written]:
    seed = shown.seed(batch)

    def fields_of(sample: BaseModel) -> Fields:
        return forms.short_enough(task, task.fields_of(sample, seed))

    return LlmRequest(
        key=f"write/{batch.id}/{batch.attempt}",
        messages=task.prompts.render(STAGE, batch.branch, **shown.variables(batch)),
        schema=items_asked(forms.sample, batch.missing),
        parse=lambda value: read_items(value, forms.sample, fields_of, batch.missing),
        temperature=settings.temperature,
        salt=f"{batch.id}/{batch.attempt}",
    )


def _receive(batch: Batch, reply: LlmReply[Written], patterns: dict[str, str], iteration: int) -> Batch:
    if reply.value is None:
        # What a cap left unasked is counted by the client.
        lost: dict[UnwrittenKind, int] = {} if reply.unasked else {"no reply": batch.missing}
        return batch.model_copy(update={"refused": [reply.error], "unwritten": _more(batch, lost)})
    new = [
        Sample(
            row=SyntheticRow(
                id=f"{batch.id}-a{batch.attempt}-{i + 1}",
                fields=fields,
                provenance=Provenance(
                    branch=batch.branch,
                    pattern_id=patterns.get(batch.strategy_id, ""),
                    strategy_id=batch.strategy_id,
                    parent_ids=batch.seed_ids,
                    iteration=iteration,
                    batch_id=batch.id,
                    attempt=batch.attempt,
                    request_hash=reply.request_hash,
                ),
            )
        )
        for i, fields in enumerate(reply.value.rows)
    ]
    refused = reply.value.refused
    unwritten = _more(batch, {"no row": len(refused), "too few": batch.missing - len(new) - len(refused)})
    return batch.model_copy(update={"samples": [*batch.samples, *new], "refused": refused, "unwritten": unwritten})


def _more(batch: Batch, counts: dict[UnwrittenKind, int]) -> dict[UnwrittenKind, int]:
    """Its `unwritten` with these added."""
    return dict(Counter(batch.unwritten) + Counter(counts))
