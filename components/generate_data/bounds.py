"""How long what a teacher writes may be: as the training rows are, and somewhat longer.

Training rows with a context of 1,200 characters at most   ->   "context": {"type": "string", "maxLength": 2400}
"""

import warnings
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated, Any, TypeVar, get_args, get_origin

from annotated_types import MaxLen, MinLen
from pydantic import BaseModel, Field, create_model

from pada_agent.components.core.cost.tokens import token_count
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields, TrainRow
from pada_agent.components.core.tasks.answer_first import AnswerFirst
from pada_agent.components.core.tasks.sample_form import SampleForm, whole
from pada_agent.components.core.tasks.task import Task

M = TypeVar("M", bound=BaseModel)
FACTOR = 2  # of the longest text among the training rows
LEAST = 40  # characters, and
LEAST_ITEMS = 3  # items of a list: what is short in all training rows may still be longer
AROUND = 8  # tokens around a row in a reply


@dataclass(frozen=True)
class Forms:
    """What a teacher writes in this run: samples in the form of its method, or their answers and then their questions."""

    form: SampleForm
    sample: type[BaseModel]
    answer: type[BaseModel] | None
    question: type[BaseModel] | None
    sizes: Sequence[int]  # tokens of the training rows in the form of samples
    tokens: int  # that the SLM is trained on at most

    @classmethod
    def of(cls, task: Task, train: Sequence[TrainRow], tokens: int, form: SampleForm | None = None) -> "Forms":
        """Bounded by the training rows; no text is longer than `tokens`, the most that the SLM is trained on."""
        form = form or whole(task)
        samples = [form.of(r.fields) for r in train]
        sizes = [token_count(sample.model_dump_json()) for sample in samples]
        answer = question = None
        if isinstance(task, AnswerFirst):
            answer = bounded(task.Answer, [task.answer_of(r.fields) for r in train], tokens)
            question = bounded(task.Question, [task.question_of(r.fields) for r in train], tokens)
        return cls(form, bounded(form.model, samples, tokens), answer, question, sizes, tokens)

    def short_enough(self, task: Task, fields: Fields) -> Fields:
        """`fields`. Raises InputError, as feedback, for a row that is too long as a whole: training would leave it out."""
        size = token_count(task.question(fields)) + token_count(task.target(fields))
        if size > self.tokens:
            raise InputError(f"takes about {size} tokens in all, and at most {self.tokens} are trained on; write it shorter")
        return fields

    def check_room(self, batch: int, max_tokens: int) -> str:
        """'' if a reply of `batch` rows like those of training has room in `max_tokens`, else what it needs.

        Raises InputError if most replies would be cut off.
        """
        mean = fmean(self.sizes) + AROUND
        usual, most = round(batch * mean), round((batch - 1) * mean + max(self.sizes) + AROUND)
        needed = f"{batch} rows like those of training (generate.batch) take about {usual} tokens, with the longest {most}"
        if usual > max_tokens:
            fewer = batch * max_tokens // most
            smaller = f", or generate.batch to {fewer}" if fewer else ""
            raise InputError(
                f"teacher.max_tokens: {max_tokens} is too few for a reply: {needed}; set it to at least {most}{smaller}"
            )
        return f"teacher.max_tokens: {max_tokens} may cut off replies: {needed}" if most > max_tokens else ""


def bounded(model: type[M], shown: Sequence[BaseModel], tokens: int) -> type[M]:
    """`model` whose texts and lists have bounds taken from training rows in its form; no text is longer than `tokens`."""
    texts = [text for sample in shown for name in model.model_fields for text in _texts(getattr(sample, name))]
    per_token = sum(map(len, texts)) / max(1, sum(map(token_count, texts)))
    most = max(LEAST, int(tokens * per_token))
    fields: dict[str, Any] = {
        name: _bounded_field(field, [getattr(sample, name) for sample in shown], most)
        for name, field in model.model_fields.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a field of a user's own may well be called schema or json
        found: type[M] = create_model(f"Bounded{model.__name__}", __base__=model, **fields)
    return found


def _bounded_field(field: Any, values: Sequence[Any], most: int) -> tuple[Any, Any]:
    longest = max((len(text) for value in values for text in _texts(value)), default=0)
    own_least = max((m.min_length for m in field.metadata if isinstance(m, MinLen)), default=0)
    length = min(most, max(LEAST, FACTOR * longest)) if longest else most  # where no row has one, none says how long it is
    new = copy(field)
    if get_origin(field.annotation) is not list:
        length = max(length, FACTOR * own_least)
        new.metadata = [*field.metadata, MaxLen(length)]
        return field.annotation, new
    (item,) = get_args(field.annotation)
    if not any(isinstance(m, MaxLen) for m in field.metadata):
        items = max((len(value) for value in values), default=0)
        new.metadata = [*field.metadata, MaxLen(max(LEAST_ITEMS, FACTOR * items))]
    return list[Annotated[item, Field(max_length=length)]], new  # type: ignore[valid-type]


def _texts(value: Any) -> Iterator[str]:
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str):
            yield text
