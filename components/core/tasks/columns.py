"""Columns by the names that people give them, and what stands in them.

"User Query", "user_query" and "user-query" are one name. A number that a table made a fraction of, since its column has gaps, is
the number that it was: 3.0 is "3".
"""

import ast
import json
import math
import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields
from pada_agent.components.core.tasks.multiple_choice import LETTERS

# Each in the order of preference.
PROMPTS = (
    "prompt", "question", "query", "user_query", "problem", "user_prompt", "user_message", "request", "instruction", "input",
    "ctx", "sentence", "text", "utterance", "message", "complaint", "review", "comment", "title", "article", "document",
    "dialogue", "source",
)  # fmt: skip
ANSWERS = (
    "completion", "answer", "answers", "response", "output", "answer_key", "answerkey", "correct_answer", "correct_option",
    "label", "category", "class", "intent", "sentiment", "target", "reference", "expected", "expected_output", "ground_truth",
    "gold", "solution", "answer_index", "answer_idx", "cop", "correct", "translation", "summary", "highlights", "chosen",
    "reply", "value",
)  # fmt: skip
CONTEXTS = ("context", "passage", "paragraph", "background", "support")
INSTRUCTIONS = ("instruction", "instructions")
INPUTS = ("input", "inputs", "context")
OUTPUTS = ("output", "outputs", "response", "completion", "answer")
TURNS = ("messages", "conversations", "conversation", "turns", "chat", "dialog", "dialogue")
SYSTEMS = ("system", "system_prompt", "system_message")
CHOICES = ("choices", "options", "endings", "candidates", "alternatives", "answer_choices")
GROUPS = (
    "group", "group_id", "document_id", "doc_id", "document", "source_id", "passage_id", "article_id", "conversation_id",
    "session_id", "thread_id", "customer_id", "user_id", "patient_id", "case_id", "template", "template_id", "title", "url",
    "file",
)  # fmt: skip
IDS = ("id", "task_id", "ind", "uid", "uuid", "idx", "index", "row_id", "question_id", "column_1")
_OPTION = re.compile(r"(?:option|choice|answer|opt|op|ans)?_?([a-z]|\d{1,2})")
SHOWN = 12


class Options(NamedTuple):
    """The options of a row, the key of the right one (a letter, where its labels say one), and their columns."""

    texts: list[str]
    key: Any
    where: str


def normal(name: str) -> str:
    """A column's name as it is compared: 'User Query' and 'user-query' are user_query."""
    return re.sub(r"[\s_.-]+", "_", name.strip().lower()).strip("_")


def column(row: Fields, names: Sequence[str], but: Sequence[str] = ()) -> str:
    """The row's column of the first of `names` that it has, '' for none."""
    there = {normal(str(name)): name for name in reversed(list(row)) if name not in but}
    return next((there[name] for name in names if name in there), "")


def columns_of(row: Fields) -> str:
    """The columns in words."""
    names = [f"'{name}'" for name in row]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"the columns {', '.join(names[:SHOWN])}{more}" if names else "no columns"


def text_or_none(value: Any) -> str | None:
    """A text or a number as text; None for null, for white space alone and for what is neither."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return None if math.isnan(value) else str(int(value)) if value.is_integer() and abs(value) < 1e15 else str(value)
    return str(value) if isinstance(value, str | int) and str(value).strip() else None


def text_of(row: Fields, name: str, optional: bool = False) -> str:
    """The text in a column, '' for none if it is `optional`. Raises InputError with what to do."""
    if name not in row:
        close = get_close_matches(name, map(str, row), 1)
        meant = f" (did you mean '{close[0]}'?)" if close else ""
        raise InputError(f"{name}: is missing{meant}; there are {columns_of(row)}")
    value = row[name]
    if (text := text_or_none(value)) is not None:
        return text
    if not (value is None or isinstance(value, str | float)):
        raise InputError(f"{name}: must be a text or a number, this is {type(value).__name__}")
    if not optional:
        raise InputError(f"{name}: is empty; fill it in, or leave the row out")
    return ""


def accepted(row: Fields, name: str) -> list[str]:
    """The answer in a column, or all that are accepted where it is a list, the one to train first. Raises InputError for none.

    SQuAD keeps the list beside its places: {"text": [...], "answer_start": [...]}.
    """
    value = row.get(name)
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        value = value["text"]
    if not isinstance(value, list):
        return [text_of(row, name)]
    answers = [text for item in value if (text := text_or_none(item)) is not None]
    if not answers or len(answers) < len(value):
        raise InputError(f"{name}: must be a list of answers, each a text or a number; leave the row out if there is none")
    return list(dict.fromkeys(answers))


def safe_names(names: Sequence[str]) -> list[str]:
    """For each name one that is a plain word and that no other has, to be a field of a model: user_query for 'user query'."""
    safe: list[str] = []
    for name in names:
        word = re.sub(r"\W+", "_", name).strip("_") or "field"
        word = f"field_{word}" if word.startswith("model_") or word[0].isdigit() else word
        while word in safe:
            word += "_"
        safe.append(word)
    return safe


def options_in(row: Fields, key: Any, name: str = "") -> Options:
    """The options of a row, in column `name` if it is given: a list, a list with labels, an object by letters, or a column each.

    Raises InputError for none.
    """
    key = text_or_none(key) or key
    name = name or column(row, CHOICES)
    if not name:
        return _by_columns(row, key)
    value = _parsed(row.get(name))
    labels: list[Any] = []
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        value, labels = value["text"], list(value.get("label") or [])
    elif isinstance(value, dict):
        labels, value = list(value), list(value.values())
    if not isinstance(value, list):
        raise InputError(f"{name}: must be a list of options, this is {type(value).__name__}")
    given = [str(label).strip() for label in labels]
    at = given.index(str(key).strip()) if str(key).strip() in given else None
    texts = [text_or_none(option) or "" for option in value]
    return Options(texts, LETTERS[at] if at is not None and at < len(LETTERS) else key, f"'{name}'")


def _by_columns(row: Fields, key: Any) -> Options:
    """Columns A, B, C or option_1, option_2: as many as follow each other; the last ones may be empty."""
    there = {match[1]: name for name in row if (match := _OPTION.fullmatch(normal(str(name))))}
    for names in (list("abcdefghijklmnopqrstuvwxyz"), [str(n) for n in range(1, 27)], [str(n) for n in range(26)]):
        found: list[str] = []
        for label in names:
            if label not in there:
                break
            found.append(there[label])
        if len(found) < 2:
            continue
        texts = [text_or_none(row[name]) or "" for name in found]
        while texts and not texts[-1]:
            texts.pop()
        at = str(key).strip().lower()
        if names[0] == "1" and at in names[: len(texts)]:
            key = LETTERS[names.index(at)]
        elif (match := _OPTION.fullmatch(normal(str(key)))) and normal(str(key)) in map(normal, found):
            key = LETTERS[names.index(match[1])]  # the name of the right option's column
        return Options(texts, key, f"'{found[0]}' to '{found[-1]}'")
    raise InputError(f"which column has the options? there are {columns_of(row)}; name it as task.options.choices")


def _parsed(value: Any) -> Any:
    """What a table's cell spells: a list as JSON, or as Python writes it."""
    if not isinstance(value, str) or value.strip()[:1] not in ("[", "{"):
        return value
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return value
