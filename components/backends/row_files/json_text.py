"""Rows as JSON: an object a line, an array of objects, or an object that holds one.

{"q": "Capital of Norway?", "a": "Oslo"}            [{"q": "Capital of Norway?",            {"version": 1, "data": [
{"q": "Capital of Denmark?", "a": "København"}        "a": "Oslo"}, ...]                     {"q": ...}, ...]}
"""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, BinaryIO

from pada_agent.components.backends.row_files.text import lines_of, not_text, text_blocks
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import RawRow
from pada_agent.components.core.tasks.columns import TURNS

MOST = 1 << 26  # characters of one row, or of an object that holds the rows
FORMS = "one object a line, or an array of objects, is read"
_BETWEEN = re.compile(r"[\s,]*")
# An object whose first list is one of objects; what may stand before it is short.
_HOLDER = re.compile(r'\{(?:\s*"[^"]*"\s*:\s*(?:"[^"]*"|[\w.+-]+|\{[^{}]*\}|\[[^\[\]{}]*\])\s*,)*\s*"([^"]*)"\s*:\s*\[\s*\{')


def read_json(file: BinaryIO, shown: str) -> Iterator[RawRow]:
    """Rows of a JSON or JSONL file, with the line that each begins on."""
    blocks = text_blocks(file, shown)
    first = next(blocks, "")
    whole, begin = chain((first,), blocks), first.strip()
    if begin.startswith("["):
        yield from _array(whole, shown)
    elif begin.startswith("{") and _is_one_object(begin):
        yield from _object("".join(_bounded(whole, shown)), shown)
    else:
        yield from _lines(whole, shown)


def read_json_lines(file: BinaryIO, shown: str) -> Iterator[RawRow]:
    """Rows of a file with one object a line."""
    return _lines(text_blocks(file, shown), shown)


def _lines(blocks: Iterable[str], shown: str) -> Iterator[RawRow]:
    for number, line in enumerate(lines_of(blocks), 1):
        if line.strip():
            where = f"{shown}:{number}"
            try:
                yield where, _row(json.loads(line), line)
            except InputError as e:
                yield where, InputError(f"{where}: {e}")
            except (ValueError, RecursionError) as e:
                yield where, InputError(f"{where}: {not_text(line) or f'not JSON ({e}); {FORMS}'}")


def _row(value: Any, text: str) -> dict[str, Any]:
    """`value`, which `text` spells, if it is an object and holds text alone. Raises InputError."""
    if not isinstance(value, dict):
        raise InputError(f"a row must be a JSON object, this is {type(value).__name__}")
    problem = not_text(text)
    if not problem and ("\\ud" in text or "\\uD" in text):  # an escape may spell half a pair
        problem = not_text(json.dumps(value, ensure_ascii=False))
    if problem:
        raise InputError(problem)
    return value


def _is_one_object(begin: str) -> bool:
    """Whether a file begins as one object that holds the rows: over several lines, or with a list of objects in its only one."""
    if "\n" in begin:
        return not any(map(_is_json, begin.split("\n", 2)[:2]))
    match = _HOLDER.match(begin)
    return match is not None and match[1].lower() not in TURNS  # else a conversation alone in its file


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _bounded(blocks: Iterable[str], shown: str) -> Iterator[str]:
    size = 0
    for block in blocks:
        size += len(block)
        if size > MOST:
            raise InputError(f"{shown}: is one JSON object of more than {MOST >> 20} MB; {FORMS}")
        yield block


def _object(text: str, shown: str) -> Iterator[RawRow]:
    """The rows of the one list of objects that an object holds."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise InputError(f"{shown}: {not_text(text) or f'not JSON ({e}); {FORMS}'}") from e
    lists = {key: value for key, value in whole.items() if isinstance(value, list) and value and isinstance(value[0], dict)}
    if len(lists) != 1:
        held = f"holds {len(lists)} lists of objects ({', '.join(lists)})" if lists else "holds no list of objects"
        raise InputError(f"{shown}: is one JSON object that {held}; {FORMS}")
    ((key, rows),) = lists.items()
    for number, value in enumerate(rows):
        where = f"{shown}:{key}[{number}]"
        try:
            yield where, _row(value, json.dumps(value, ensure_ascii=False))
        except InputError as e:
            yield where, InputError(f"{where}: {e}")


def _array(whole: Iterable[str], shown: str) -> Iterator[RawRow]:
    """A row at a time, so that a large array needs no more memory than its longest row."""
    decode = json.JSONDecoder().raw_decode
    blocks = iter(whole)
    text, line, counted = next(blocks, ""), 1, 0  # `line` is that of `counted`, a place in `text`

    def upon(place: int) -> int:
        return line + text.count("\n", counted, place)

    place = text.index("[") + 1
    while True:
        found = _BETWEEN.match(text, place)
        place = found.end() if found else place
        if place < len(text) and text[place] == "]":
            return
        try:
            if place == len(text):
                raise json.JSONDecodeError("the array has no end", text, place)
            value, end = decode(text, place)
        except (ValueError, RecursionError) as e:
            more = ""
            while len(more) < len(text) - place + 1 and (
                block := next(blocks, "")
            ):  # twice as much: a long row is tried but seldom
                more += block
            if not more or len(text) - place > MOST:
                at = upon(e.pos) if isinstance(e, json.JSONDecodeError) else upon(place)
                problem = not_text(text[place : place + 10_000]) or f"not JSON ({getattr(e, 'msg', e)}); {FORMS}"
                yield f"{shown}:{at}", InputError(f"{shown}:{at}: {problem}")
                return
            line, text = upon(place), text[place:] + more
            place = counted = 0
            continue
        line, counted = upon(place), place
        try:
            yield f"{shown}:{line}", _row(value, text[place:end])
        except InputError as e:
            yield f"{shown}:{line}", InputError(f"{shown}:{line}: {e}")
        place = end
