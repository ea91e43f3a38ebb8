"""What pydantic complains about, in one line for a person."""

from collections.abc import Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError


def validation_message(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """The first complaint of pydantic in one line: where and what, and how many more there are.

    An unknown key goes first, since it often explains what is missing. With `model`, for settings, a key with a similar name
    is suggested and the wrong value shown, but no header's; of a row nothing is shown, since it may be held out.
    """
    first, *rest = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in first["loc"]) or "value"
    if first["type"] == "extra_forbidden":
        close = get_close_matches(str(first["loc"][-1]), _keys(model, first["loc"][:-1]), n=1, cutoff=0.6)
        parent = where.rpartition(".")[0]
        suggestion = f" (did you mean '{f'{parent}.' if parent else ''}{close[0]}'?)" if close else ""
        text = f"unknown key '{where}'{suggestion}"
    elif first["type"] == "missing":
        text = f"'{where}' is missing"
    else:
        hidden = model is None or isinstance(first["input"], dict) or "headers" in first["loc"]
        given = "" if hidden else f" (it is {first['input']!r})"
        said = first["msg"].removeprefix("Value error, ")
        text = f"{where}: {said}{given}" if first["loc"] or first["type"] != "value_error" else said  # that names places itself
    return text + (f"; and {len(rest)} more" if rest else "")


def _keys(model: Any, location: Sequence[int | str]) -> list[str]:
    """Names of the fields at a place in `model`; none where there is no model to ask."""
    for part in location:
        if get_origin(model) is dict:
            model = get_args(model)[1]
            continue
        fields = getattr(model, "model_fields", {})
        model = fields[str(part)].annotation if str(part) in fields else None
        if get_origin(model) is UnionType:  # a section that may be left out
            model = get_args(model)[0]
    return list(getattr(model, "model_fields", {}))
