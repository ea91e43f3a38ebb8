"""JSON in what a model wrote, and the tool calls in it.

    {"city": "Oslo"}                                      the whole text, in the last fenced block, or last object of a text
    {"tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{\\"city\\": \\"Oslo\\"}"}}]}
    [{"name": "weather", "arguments": {"city": "Oslo"}}]  all are the same call
    <tool_call>{"name": "weather", "arguments": ...}</tool_call>    one after the other: parallel calls

Strict where JSON is: a key that comes twice, NaN and Infinity make it invalid. Numbers keep all their digits.
"""

import json
import re
from contextlib import suppress
from decimal import Decimal
from typing import Any

DEEPEST = 100  # objects and lists in each other
TRIES = 200  # places where a value may begin that turn out to be none: a text with more holds no answer
_FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*?)```", re.DOTALL)
_BEGINS = re.compile(r"[{\[]")
_AROUND_CALLS = {"id", "type", "index", "call_id", "status"}  # what OpenAI's APIs write beside name and arguments


class Unreadable(ValueError):
    """A text that is no JSON, or a call whose arguments are none; says why."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Unreadable("a key comes twice")
    return found


def _constant(name: str) -> Any:
    raise Unreadable(f"{name} is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=Decimal, parse_constant=_constant)


def parsed(text: str) -> Any:
    """The value that a text is. Raises Unreadable."""
    try:
        return _shallow(_DECODER.decode(text))
    except Unreadable:
        raise
    except (ValueError, ArithmeticError, RecursionError) as e:
        raise Unreadable("too deep" if isinstance(e, RecursionError) else str(e)) from e


def _shallow(value: Any) -> Any:
    level, depth = [value], 0
    while level:
        level = [
            one for part in level if isinstance(part, dict | list) for one in (part.values() if isinstance(part, dict) else part)
        ]
        depth += 1
        if depth > DEEPEST:
            raise Unreadable("too deep")
    return value


def values(text: str) -> list[Any]:
    """The value that a text is, else all objects and lists in it, in order. Raises Unreadable if there is none."""
    try:
        return [parsed(text)]
    except Unreadable as e:
        problem = e if _BEGINS.search(text) else Unreadable("no JSON in it")
    if found := _embedded(text):
        return found
    raise problem


def _embedded(text: str) -> list[Any]:
    found, at, tries = [], 0, 0
    while tries < TRIES and (begin := _BEGINS.search(text, at)):
        try:
            value, at = _DECODER.raw_decode(text, begin.start())
            found.append(_shallow(value))
        except (ValueError, ArithmeticError, RecursionError):
            at, tries = begin.end(), tries + 1
    return found


def answer(text: str) -> Any:
    """The value that a text is, else that of its last fenced block with one, else the last object or list. Raises Unreadable."""
    for part in (text, *reversed(_FENCE.findall(text))):
        with suppress(Unreadable):
            return parsed(part)
    found = values(text)
    return next((value for value in reversed(found) if isinstance(value, dict)), found[-1])


Call = dict[str, Any]  # name and arguments


def calls(value: Any) -> list[Call] | None:
    """Tool calls in OpenAI's shape or bare; None for what is none. Raises Unreadable for arguments that are no JSON object."""
    if isinstance(value, dict) and isinstance(value.get("tool_calls"), list):
        found = [_call(one) for one in value["tool_calls"]]
    elif isinstance(value, list) and value:
        found = [_call(one) for one in value]
    else:
        found = [_call(value)]
    return [one for one in found if one] if all(found) else None


def _call(value: Any) -> Call | None:
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("function"), dict) and value.keys() <= {"function", *_AROUND_CALLS}:
        return _call(value["function"])
    keys = [key for key in ("arguments", "parameters") if key in value]
    if len(keys) != 1 or not isinstance(value.get("name"), str) or not value.keys() <= {"name", *keys, *_AROUND_CALLS}:
        return None
    given = value[keys[0]]
    if isinstance(given, str):
        try:
            given = parsed(given) if given.strip() else {}
        except Unreadable as e:
            raise Unreadable(f"the arguments of '{value['name']}' are no JSON ({e})") from e
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise Unreadable(f"the arguments of '{value['name']}' are no object")
    return {"name": value["name"], "arguments": given}


def all_calls(text: str) -> list[Call]:
    """The calls of a text, one value after the other. Raises Unreadable, also if there is none."""
    found = [some for value in values(text) if (some := calls(value)) is not None]
    if not found:
        raise Unreadable("no tool call in it")
    return [call for some in found for call in some]
