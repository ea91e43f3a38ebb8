"""What the teacher is asked to write, and what of its reply is rows of the task.

{"items": [{"tables": "customers(city)", "sql": "SELECT ...", "question": "Which cities ..."}]}
"""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, ValidationError, create_model

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.llm_interface import Reply
from pada_agent.components.core.records import Fields
from pada_agent.components.core.tasks.task import Task
from pada_agent.components.core.validation import validation_message


class Items(Reply):
    """What comes back. Each item is checked by itself: one that is no row does not cost the others."""

    items: Annotated[list[Any], Field(min_length=1)]


@dataclass(frozen=True)
class Written:
    """What one reply held: rows that are rows, and why the others are not."""

    rows: list[Fields]
    refused: list[str]


def samples_asked(task: Task, count: int) -> dict[str, Any]:
    """JSON schema of `count` of the task's samples."""
    samples = Annotated[list[task.Sample], Field(min_length=count, max_length=count)]  # type: ignore[name-defined]
    return create_model("Samples", __base__=Reply, items=(samples, ...)).schema_asked()


def read_samples(value: Any, task: Task, seed: Fields, most: int) -> Written:
    """The rows among the first `most` items; a bare list counts too. Raises ValueError when there are no items."""
    rows, refused = [], []
    for item in Items.read({"items": value} if isinstance(value, list) else value).items[:most]:
        try:
            rows.append(task.fields_of(task.Sample.model_validate(item), seed))
        except ValidationError as e:
            refused.append(validation_message(e))
        except InputError as e:
            refused.append(str(e))
    return Written(rows, refused)
