"""Writes synthetic rows: against a pattern by its strategy, or around training errors."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pada_agent.components.core.llm_interface import Llm, LlmReply, LlmRequest
from pada_agent.components.core.records import Batch, Provenance, Sample, Strategy, SyntheticRow, TrainRow, UnwrittenKind
from pada_agent.components.core.settings import GenerateSettings
from pada_agent.components.core.tasks.task import Message, Task
from pada_agent.components.generate_data.batches import Sources
from pada_agent.components.generate_data.samples import Written, read_samples, samples_asked

STAGE = "generate_data"
AVOID_SHOWN = 8


def generate(
    sources: Sources,
    batches: Sequence[Batch],
    settings: GenerateSettings,
    llm: Llm,
    iteration: int,
    what: str = "batches written",
) -> list[Batch]:
    """`batches` with new samples for each open one; the others pass through unchanged.

    A batch whose call failed stays open, with the reason in `refused`, and is tried again by the next link.
    """
    writer = _Writer(sources, settings, iteration, _written_already(sources.task, batches))
    todo = [b for b in batches if b.status == "open"]
    replies = llm.ask_all(what, [writer.request(b) for b in todo])
    written = {b.id: writer.receive(b, reply) for b, reply in zip(todo, replies, strict=True)}
    return [written.get(b.id, b) for b in batches]


def _written_already(task: Task, batches: Sequence[Batch]) -> dict[str, list[str]]:
    """Questions accepted so far, by strategy ('' is the error branch)."""
    questions: dict[str, list[str]] = {}
    for b in batches:
        questions.setdefault(b.strategy_id, []).extend(task.question(row.fields) for row in b.accepted)
    return questions


class _Writer:
    def __init__(self, sources: Sources, settings: GenerateSettings, iteration: int, written: dict[str, list[str]]) -> None:
        self._sources, self._task, self._settings, self._iteration = sources, sources.task, settings, iteration
        self._written = written
        self._train: dict[str, TrainRow] = {r.id: r for r in sources.train}
        self._strategies: dict[str, Strategy] = {s.id: s for s in sources.strategies}
        self._errors = {e.id: e for e in sources.errors}

    def request(self, batch: Batch) -> LlmRequest[Written]:
        seed = self._train[batch.seed_ids[0]].fields
        return LlmRequest(
            key=f"write/{batch.id}/{batch.attempt}",
            messages=self._messages(batch),
            schema=samples_asked(self._task, batch.missing),
            parse=lambda value: read_samples(value, self._task, seed, batch.missing),
            temperature=self._settings.temperature,
            salt=f"{batch.id}/{batch.attempt}",
        )

    def _messages(self, batch: Batch) -> list[Message]:
        seeds = [self._train[i] for i in batch.seed_ids]
        shown: dict[str, Any] = {
            "task": self._task.description,
            "avoid": self._written.get(batch.strategy_id, [])[-AVOID_SHOWN:],
            "count": batch.missing,
            "feedback": batch.feedback,
            # What the teacher could not do it is asked to do more simply.
            "careful": batch.attempt > 0,
        }
        examples = [self._task.sample_of(r.fields).model_dump_json() for r in seeds]
        if batch.branch == "pattern":
            strategy = self._strategies[batch.strategy_id]
            return self._task.prompts.render(
                STAGE, "pattern", strategy=strategy.text, focus=batch.focus, examples=examples, **shown
            )
        errors = [
            {"question": self._task.question(e.fields), "output": e.output, "reference": e.reference}
            for e in (self._errors[i] for i in batch.seed_ids)
        ]
        return self._task.prompts.render(STAGE, "error", errors=errors, examples=examples, **shown)

    def receive(self, batch: Batch, reply: LlmReply[Written]) -> Batch:
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
                        pattern_id=self._strategies[batch.strategy_id].pattern_id if batch.strategy_id else "",
                        strategy_id=batch.strategy_id,
                        parent_ids=batch.seed_ids,
                        iteration=self._iteration,
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
