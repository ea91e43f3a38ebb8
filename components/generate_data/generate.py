"""Writes synthetic rows: against a pattern by its strategy, around training errors, or each from one training row."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pada_agent.components.core.llm_interface import Llm, LlmReply, LlmRequest
from pada_agent.components.core.methods.method import FromRow, Origin, load_method
from pada_agent.components.core.records import Batch, Fields, Provenance, Sample, SyntheticRow, UnwrittenKind
from pada_agent.components.core.settings import GenerateSettings
from pada_agent.components.core.tasks.answer_first import answer_first
from pada_agent.components.core.tasks.task import CodeRunner, Message
from pada_agent.components.generate_data.answers import AnswerWriter
from pada_agent.components.generate_data.batches import Sources
from pada_agent.components.generate_data.bounds import Forms
from pada_agent.components.generate_data.samples import Written, items_asked, read_items
from pada_agent.components.generate_data.shown import Shown, told

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
    Raises InputError for a task that the method cannot do, or that cannot be written in the order of the settings.
    """
    todo = [b for b in batches if b.status == "open"]
    method = load_method(settings.method)
    method.check(sources.task)
    if isinstance(method, FromRow):
        replies = _from_rows(method, sources, todo, settings, forms, tools.teacher)
    else:
        replies = _by_plan(sources, batches, todo, settings, forms, tools)
    patterns = {s.id: s.pattern_id for s in sources.strategies}
    written = {b.id: _receive(b, reply, patterns, iteration) for b, reply in zip(todo, replies, strict=True)}
    return [written.get(b.id, b) for b in batches]


def _by_plan(
    sources: Sources, batches: Sequence[Batch], todo: Sequence[Batch], settings: GenerateSettings, forms: Forms, tools: Tools
) -> list[LlmReply[Written]]:
    task, first = sources.task, answer_first(sources.task, settings.order)
    shown = Shown(sources, settings, forms.form, batches, first)
    if first:
        return AnswerWriter(first, sources, settings, forms, shown, tools.run_code, batches).write(todo, tools.teacher)

    def request(batch: Batch) -> LlmRequest[Written]:
        seed, messages = shown.seed(batch), task.prompts.render(STAGE, batch.branch, **shown.variables(batch))
        return _request(batch, messages, settings, forms, lambda item: forms.short_enough(task, forms.form.row(item, seed)))

    return tools.teacher.ask_all("batches written", [request(b) for b in todo])


def _from_rows(
    method: FromRow, sources: Sources, todo: Sequence[Batch], settings: GenerateSettings, forms: Forms, teacher: Llm
) -> list[LlmReply[Written]]:
    task, said = sources.task, {e.id: e.output for e in sources.errors}
    train = {r.id: r.fields for r in sources.train}

    def origin(batch: Batch) -> Origin:
        row, *beside = batch.seed_ids
        return Origin(train[row], said.get(row, ""), [train[i] for i in beside])

    def request(batch: Batch) -> LlmRequest[Written]:
        source = origin(batch)
        variables = told(task, batch, forms.form) | method.shown(task, source)
        messages = task.prompts.render(STAGE, method.prompt, **variables)
        return _request(batch, messages, settings, forms, lambda item: forms.short_enough(task, forms.form.row(item, source.row)))

    if not method.prompt:
        return [LlmReply(Written([origin(b).row] * b.missing, []), request_hash="") for b in todo]
    return teacher.ask_all("batches written", [request(b) for b in todo])


def _request(
    batch: Batch, messages: list[Message], settings: GenerateSettings, forms: Forms, fields_of: Callable[[Any], Fields]
) -> LlmRequest[Written]:
    return LlmRequest(
        key=f"write/{batch.id}/{batch.attempt}",
        messages=messages,
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
