"""What the teacher is asked to write, and what of its reply is rows of the task.

{"items": [{"tables": "customers(city)", "sql": "SELECT ...", "question": "Which cities ..."}]}
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError, create_model

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.llm_interface import Reply
from pada_agent.components.core.records import Fields
from pada_agent.components.core.validation import validation_message

M = TypeVar("M", bound=BaseModel)


class Items(Reply):
    """What comes back. Each item is checked by itself: one that is no row does not cost the others."""

    items: Annotated[list[Any], Field(min_length=1)]


@dataclass(frozen=True)
class Written:
    """What one reply held: rows that are rows, and why the others are not."""

    rows: list[Fields]
    refused: list[str]


def items_asked(model: type[BaseModel], count: int) -> dict[str, Any]:
    """JSON schema of `count` items, each a `model`."""
    items = Annotated[list[model], Field(min_length=count, max_length=count)]  # type: ignore[valid-type]
    return create_model("Samples", __base__=Reply, items=(items, ...)).schema_asked()


def read_items(value: Any, model: type[M], fields_of: Callable[[M], Fields], most: int) -> Written:
    """The rows among the first `most` items; a bare list counts too. Raises ValueError when there are no items."""
    return read_each(value, model, [fields_of] * most)


def read_each(value: Any, model: type[M], makers: Sequence[Callable[[M], Fields]], all_of_them: bool = False) -> Written:
    """As `read_items`, each item by the maker in its place; `all_of_them`: there must be one for each."""
    items = Items.read({"items": value} if isinstance(value, list) else value).items
    if all_of_them and len(items) != len(makers):
        raise ValueError(f"items: {len(makers)} are needed, one for each answer in their order; there are {len(items)}")
    rows, refused = [], []
    for item, fields_of in zip(items, makers, strict=False):
        try:
            rows.append(fields_of(model.model_validate(item)))
        except ValidationError as e:
            refused.append(validation_message(e))
        except InputError as e:
            refused.append(str(e))
    return Written(rows, refused)
