"""The judge: what it is sent of a batch and what comes back, for each sample and for the batch.

{"adherence": [9, 9, 2], "utility": [8, 3, 8], "relevance": [9, 9, 9], "feedback": [{"example": 2, "change": "Count per city."}]}
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema, create_model

from pada_agent.components.core.llm_interface import LlmRequest, Reply
from pada_agent.components.core.quality.rules import shortened
from pada_agent.components.core.records import Branch, Fields
from pada_agent.components.core.settings import ControlSettings
from pada_agent.components.core.tasks.task import Task

STAGE = "control_quality"
CHANGE_LENGTH, CHANGES = 160, 4  # characters of a sentence, sentences: a small judge writes slowly
BATCH_LENGTH, PARENTS_LENGTH, LEAST = 8000, 3000, 600  # characters of all questions and answers together; of one at least
DIMENSIONS: dict[Branch, tuple[str, ...]] = {
    "pattern": ("adherence", "utility", "relevance"),
    "error": ("utility", "relevance"),  # there is no plan to adhere to
    "row": ("utility", "relevance"),
}
Item = dict[str, str]
Scores = dict[str, float]
# Whole numbers are asked for; a judge that writes 7.5 or "8" all the same is understood.
Score = Annotated[float, Field(ge=1, le=10), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 10})]


class Change(BaseModel):
    """What to change in one example, by its number; 0 is the batch."""

    example: int
    change: Annotated[str, Field(json_schema_extra={"maxLength": CHANGE_LENGTH})]


@dataclass(frozen=True)
class Judgement:
    """Scores of each sample in order, 1 to 10 by dimension, and what to change by number from 1; 0 is the batch."""

    rows: list[Scores]
    changes: dict[int, str]

    @property
    def scores(self) -> Scores:
        """Of the batch: the means."""
        return {name: sum(row[name] for row in self.rows) / len(self.rows) for name in self.rows[0]}


def item(task: Task, fields: Fields, reference: str = "", solved: str = "", length: int = BATCH_LENGTH) -> Item:
    """A row as the judge sees it, in about `length` characters; `reference` stands in for its own answer."""
    own = reference or task.reference(fields)
    shown = {"question": task.shown(fields), "reference": own, "result": task.gives(own), "solved": solved}
    return {name: shortened(text, length) if len(text) > length else text for name, text in shown.items()}


def room(rows: int, together: int = BATCH_LENGTH) -> int:
    """Characters for the question of each of so many rows."""
    return max(LEAST, together // max(rows, 1))


def parent_items(task: Task, parents: Sequence[Fields]) -> list[Item]:
    """Training rows as the judge sees them beside a batch."""
    return [item(task, fields, length=room(len(parents), PARENTS_LENGTH)) for fields in parents]


def judge_request(
    task: Task,
    key: str,
    branch: Branch,
    strategy: str,
    items: Sequence[Item],
    parents: Sequence[Item],
    asked: int,
    settings: ControlSettings,
) -> LlmRequest[Judgement]:
    """Asks for the scores of each sample of one batch, and what to change. `asked` is the number of samples asked for."""
    messages = task.prompts.render(
        STAGE, "judge", task=task.description, strategy=strategy, items=items, parents=parents, asked=asked
    )
    reply = judgement_reply(branch, len(items))
    return LlmRequest(key, messages, reply.schema_asked(), partial(read_judgement, reply, branch), settings.temperature)


def judgement_reply(branch: Branch, rows: int) -> type[Reply]:
    """What a judge of so many rows replies. The dimensions are in the order in which it is to think of them."""

    def each(value: Any) -> Any:
        return [value] * rows if isinstance(value, int | float | str) else value

    scores = Annotated[list[Score], Field(min_length=rows, max_length=rows), BeforeValidator(each)]
    changes = Annotated[list[Change], Field(json_schema_extra={"maxItems": CHANGES}), BeforeValidator(_changes)]
    fields: dict[str, Any] = dict.fromkeys(DIMENSIONS[branch], (scores, ...))
    return create_model("JudgementReply", __base__=Reply, **fields, feedback=(changes, []))


def read_judgement(reply: type[Reply], branch: Branch, value: Any) -> Judgement:
    """The judgement in a JSON value. Raises ValueError that the judge is told."""
    read: Mapping[str, Any] = reply.read(value).__dict__
    rows = [dict(zip(DIMENSIONS[branch], row, strict=True)) for row in zip(*(read[d] for d in DIMENSIONS[branch]), strict=True)]
    return Judgement(rows, {c.example: c.change.strip() for c in read["feedback"] if c.change.strip()})


def _changes(value: Any) -> Any:
    """A sentence instead of a list is about the batch; "none" is none."""
    if value is None or isinstance(value, str):
        text = (value or "").strip()
        return [] if text.lower().strip(". ") in {"", "none"} else [{"example": 0, "change": text}]
    return value
