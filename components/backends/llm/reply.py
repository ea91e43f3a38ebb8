"""Reads JSON out of what an LLM wrote, and says in one line what is wrong with what cannot be used.

Seen from servers that were asked for {"score": integer} and nothing else:

    Sure! Here is the JSON:\\n```json\\n{"score": 7}\\n```          fence
    The score is {"score": 7}. Let me know if you need more.      prose
    {"score": 7,}                                                 repaired, when the model says that it had finished
    {"type": "object", "properties": {"score": 7}}                schema, filled in where its types stand
    {"score": 7                                                   cut off: never repaired, whatever a repairer makes of it
    <think>Perhaps {"score": 3}</think>{"score": 7}               as if the thought were not there, see thoughts.py
    <think>Perhaps {"score": 3}                                   cut off, whatever the server says
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pada_agent.components.core.thoughts import without_thoughts

T = TypeVar("T")
FINISHED = {"stop", "end_turn", "eos"}
CUT_OFF = {"length", "max_tokens"}
# vLLM's documentation, "Reasoning Outputs"; its issues 18255, 19222 and 50948.
MISPLACED = (
    "the server put the whole reply into reasoning_content and left content empty: on vLLM give --reasoning-parser the parser of "
    "this model or leave it out, or set extra_body: {chat_template_kwargs: {enable_thinking: false}}"
)
SHOWN = 200  # characters of a reason that go into an error or a prompt
_FENCE = re.compile(r"```[a-zA-Z]*\s*\n(.*?)```", re.DOTALL)
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


# Not strict: llama.cpp's grammars let line breaks stand in a string as they are.
_DECODER = json.JSONDecoder(parse_constant=_no_constant, strict=False)


@dataclass(frozen=True)
class Reading(Generic[T]):
    """What came of one reply. `kind` is how it was mended, or what is wrong with it when there is an `error`."""

    value: T | None = None
    kind: str = ""
    error: str = ""
    fits: bool = False  # some JSON in it has the schema's shape, whatever the parser says


def read_reply(text: str, finish: str, schema: dict[str, Any], parse: Callable[[Any], T], reasoning: str = "") -> Reading[T]:
    """The parsed value of a reply, or why there is none: cut off, filtered, empty, no JSON, or refused by `parse`.

    `reasoning` is what the server gave as the model's thought, in the place of a reply.
    """
    answer = without_thoughts(text)
    if finish in CUT_OFF:
        thinking = bool(text.strip() or reasoning) and not (answer or "").strip()
        said = "the model still thought when its reply was cut off" if thinking else "the reply was cut off before its end"
        return Reading(kind="cut off", error=said)
    if finish == "content_filter":
        return Reading(kind="filtered", error="the endpoint's content filter stopped the reply")
    if answer is None:
        return Reading(kind="cut off", error="the reply ended inside a thought")
    if not answer.strip():
        return _misplaced(reasoning, schema, parse) if reasoning.strip() else Reading(kind="empty", error="the reply was empty")
    first: Reading[T] | None = None
    for kind, value in _candidates(answer, finish, schema):
        reading = _parsed(value, kind, schema, parse)
        if not reading.error:
            return reading
        if first is None or (reading.fits and not first.fits):
            first = reading
    return first or Reading(kind="no JSON", error="there is no whole JSON value in it")


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value has the schema's shape: types, required keys, items. Bounds and enums are the parser's business."""
    kind = schema.get("type", "")
    if isinstance(value, bool) and kind in {"integer", "number"}:
        return False
    if kind in _TYPES and not isinstance(value, _TYPES[kind]):
        return False
    if isinstance(value, dict):
        known = schema.get("properties", {})
        return all(k in value for k in schema.get("required", [])) and all(
            fits(value[k], s) for k, s in known.items() if k in value
        )
    if isinstance(value, list):
        return all(fits(v, schema.get("items", {})) for v in value)
    return True


def one_line(text: str) -> str:
    """`text` without line breaks, cut to a readable length."""
    flat = " ".join(text.split())
    return flat if len(flat) <= SHOWN else flat[: SHOWN - 4] + " ..."


def _parsed(value: Any, kind: str, schema: dict[str, Any], parse: Callable[[Any], T]) -> Reading[T]:
    shaped = fits(value, schema)
    try:
        json.dumps(value, ensure_ascii=False).encode()
        return Reading(parse(value), kind, fits=shaped)
    except UnicodeEncodeError:
        return Reading(kind="refused", error="it holds half of a surrogate pair, which is no character", fits=shaped)
    except ValueError as e:
        return Reading(kind="refused", error=one_line(str(e)), fits=shaped)


def _misplaced(reasoning: str, schema: dict[str, Any], parse: Callable[[Any], T]) -> Reading[T]:
    """JSON and nothing else that a server took for a thought. JSON within a thought is no answer."""
    with suppress(ValueError, RecursionError):
        value = _DECODER.decode(reasoning.strip())
        if fits(value, schema):
            return _parsed(value, "in reasoning_content", schema, parse)
    return Reading(kind="empty", error=MISPLACED)


def _candidates(text: str, finish: str, schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """JSON values in the order in which they may be meant, and how each was found."""
    any_value = False
    pieces = [("", text)]
    pieces += [("fence", body) for body in reversed(_FENCE.findall(text))]
    for kind, piece in pieces:
        try:
            value = _DECODER.decode(piece.strip())
        except (ValueError, RecursionError):
            continue
        any_value = True
        yield kind, value
        if isinstance(value, dict) and value.get("type") == "object" and not fits(value, schema):
            yield "schema", value.get("properties")
    wanted = _TYPES.get(schema.get("type", "object"), (dict,))
    for value in reversed(_embedded(text)):  # a model that thinks aloud gives its answer last
        if isinstance(value, wanted):
            any_value = True
            yield "prose", value
    if not any_value and finish in FINISHED:
        value = _repaired(text)
        if isinstance(value, wanted) and value:
            yield "repaired", value


def _embedded(text: str) -> list[Any]:
    """All outermost JSON objects and arrays that stand in a text."""
    values, at = [], 0
    while (start := re.compile(r"[{\[]").search(text, at)) is not None:
        try:
            value, at = _DECODER.raw_decode(text, start.start())
            values.append(value)
        except ValueError:
            at = start.end()
        except RecursionError:  # nested that deep it is nothing anybody asked for
            break
    return values


def _repaired(text: str) -> Any:
    import json_repair

    start = min((i for i in (text.find("{"), text.find("[")) if i >= 0), default=-1)
    if start < 0:
        return None
    try:
        return json_repair.loads(text[start:])
    except (ValueError, RecursionError):
        return None
