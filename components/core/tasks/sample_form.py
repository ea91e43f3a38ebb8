"""What a teacher writes of one row: a whole sample of the task, or one without its context, which is kept from a training row.

{"context": "In 1998 Sky ...", "question": "When ...?", "answer": "1998"}   ->   {"question": "Who ...?", "answer": "Sky"}
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, create_model

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields
from pada_agent.components.core.tasks.task import Task


@dataclass(frozen=True)
class SampleForm:
    """A form, how a row looks in it, and how what is written in it becomes a row."""

    model: type[BaseModel]
    of: Callable[[Fields], BaseModel]
    row: Callable[[Any, Fields], Fields]  # from an item and the training row it is written from; raises InputError as feedback
    kept: str = ""  # the field of a sample that is kept from the training row


def whole(task: Task) -> SampleForm:
    """Samples as they are."""
    return SampleForm(task.Sample, task.sample_of, task.fields_of)


def on_context(task: Task) -> SampleForm:
    """Samples on the context of a training row. Raises InputError for a task without one."""
    kept = task.context
    if not kept:
        raise InputError(
            f"generate.context: kept needs rows with a text that questions are about, and {task.name} names none; "
            "leave it out" + (", or name the prompt's field as task.options.context" if task.name == "custom" else "")
        )
    fields: dict[str, Any] = {n: (f.annotation, f) for n, f in task.Sample.model_fields.items() if n != kept}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a field of a user's own may well be called schema or json
        model = create_model(f"{task.Sample.__name__}OnContext", __config__=task.Sample.model_config, **fields)

    def of(row: Fields) -> BaseModel:
        sample = task.sample_of(row)
        return model.model_construct(**{name: getattr(sample, name) for name in fields})

    def row(item: BaseModel, seed: Fields) -> Fields:
        return task.fields_of(task.sample_of(seed).model_copy(update={name: getattr(item, name) for name in fields}), seed)

    return SampleForm(model, of, row, kept)
