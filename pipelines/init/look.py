"""Looks at rows: which shape, prompt, answer and scorer they seem to have, what ties them together, and what cannot be told.

60 rows of {"user query": "My parcel ...", "Category": "delivery", "customer_id": 7}   ->
    {"prompt": "user query", "answer": "Category", "scorer": "exact", "group": "customer_id", "max_new_tokens": 32,
     "description": "Each text gets one label."}, and that the answers look like labels
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import get_args

from pada_agent.components.core.cost.tokens import token_count
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields
from pada_agent.components.core.tasks.columns import (
    ANSWERS,
    CONTEXTS,
    GROUPS,
    IDS,
    PROMPTS,
    column,
    columns_of,
    normal,
    options_in,
    text_or_none,
)
from pada_agent.components.core.tasks.custom import Custom
from pada_agent.components.core.tasks.custom_options import CustomOptions
from pada_agent.components.core.tasks.scorers.written_numbers import numbers
from pada_agent.components.core.tasks.shapes import recognised
from pada_agent.components.core.tasks.trial import Tried, try_reading
from pada_agent.pipelines.init.labels import are_labels

SCORERS: tuple[str, ...] = get_args(CustomOptions.model_fields["scorer"].annotation)
RUBRIC = "It does what is asked, says nothing that is wrong, and leaves out nothing that matters."
LONG = 8  # words of an answer, from which hardly anybody writes the same text
SURE = 0.9  # of the rows, where what the others have or lack must be a slip
FEWEST_GROUPS = 10  # with fewer, four splits would be of very unlike sizes
# What a person is asked: the question, and what is proposed.
Ask = Callable[[str, str], str]


@dataclass
class Look:
    """What was found: `options` of a custom task, and what a person should know.

    `labelled`: the answers looked at are a few labels, in `answer_column` ('' where rows have no columns).
    """

    options: Fields
    task: Custom
    tried: Tried
    answer_column: str = ""
    labelled: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt with its answer among the rows looked at."""
        return max(token_count(self.task.shown(f)) + token_count(self.task.target(f)) for f in self.tried.fields)

    @property
    def mean(self) -> float:
        """Tokens of a row in the form that a teacher writes."""
        return fmean(token_count(self.task.sample_of(f).model_dump_json()) for f in self.tried.fields)


def look(rows: Sequence[Fields], given: Mapping[str, str], ask: Ask) -> Look:
    """What `rows` are. `given` are options that a person has named; of what cannot be told `ask` is asked.

    Raises InputError for rows in which no prompt, answer or options can be found.
    """
    options: Fields = {name: value for name, value in given.items() if value}
    notes: list[str] = []
    _name_columns(rows, options, ask, notes)
    read = _read(rows, options)
    answers = [str(fields["answer"]) for fields in read]
    answer_column = str(options.get("answer") or column(_whole(rows), ANSWERS)) if options["shape"] == "columns" else ""
    labelled = are_labels(read, answer_column)
    if "scorer" not in options:
        proposed = _scorer(rows, options, answers, labelled, notes)
        options["scorer"] = ask(f"How is an answer scored? ({', '.join(SCORERS)})", proposed)
    if options["scorer"] == "judge":
        options["rubric"] = ask("What makes an answer good? The LLM that scores answers reads it.", RUBRIC)
    labelled = labelled and options["scorer"] == "exact"
    if "description" not in options:
        options["description"] = ask(
            "What is asked, and what is a good answer? The teacher reads it.", _description(labelled, options)
        )
    if group := options.get("group") or _group(rows, options, notes):
        options["group"] = group
    options["max_new_tokens"] = min(4096, max(32, -(-int(2 * max(map(token_count, answers), default=16)) // 32) * 32))
    task = Custom(options)
    tried = try_reading(task, ((f"row {n}", row) for n, row in enumerate(rows, 1)), len(rows))
    return Look(options, task, tried, answer_column, labelled, notes)


def _name_columns(rows: Sequence[Fields], options: Fields, ask: Ask, notes: list[str]) -> None:
    """The shape; of plain columns the names, guessed from what stands in them where no usual name is there."""
    shape = options.setdefault("shape", recognised(rows[0]))
    if shape != "columns":
        return
    first = {name: value for name, value in _whole(rows).items() if not all(_is_empty(row.get(name)) for row in rows)}
    texts = [name for name in first if _share(rows, name) > 0.5 and normal(name) not in IDS]
    answer = options.get("answer") or column(first, ANSWERS)
    prompt = options.get("prompt") or column(first, PROMPTS, but=(answer,))
    if not prompt:
        others = [name for name in texts if name != answer]
        guess = max(others, key=lambda name: _length(rows, name), default="")
        prompt = _column(ask(f"Which column is the prompt? There are {columns_of(first)}.", guess), first, "prompt")
        options["prompt"] = prompt
    if not answer:
        others = [name for name in texts if name != prompt]
        guess = min(others, key=lambda name: (len({str(row.get(name)) for row in rows}), _length(rows, name)), default="")
        answer = _column(ask(f"Which column is the answer? There are {columns_of(first)}.", guess), first, "answer")
        options["answer"] = answer
    if answer in first and any(row.get(answer) == answer for row in rows):
        notes.append(
            f"the column '{answer}' has its own name as a value: if the file begins with a row, name its columns above it"
        )
    context = column(first, CONTEXTS)
    if context in ("", prompt, answer):  # else both are the prompt, and only the shape says so
        options |= {"prompt": prompt, "answer": answer}


def _column(name: str, row: Fields, what: str) -> str:
    if name and (name in row or "{" in name):
        return name
    sought = f"there is no column '{name}' for the {what}" if name else f"no column looks like the {what}"
    raise InputError(f"{sought}; with something in them there are {columns_of(row)}; name it with --{what}")


def _read(rows: Sequence[Fields], options: Fields) -> list[Fields]:
    """The rows with their answers as texts, as far as they can be read."""
    named = {name: options[name] for name in ("shape", "prompt", "answer") if options.get(name)}
    task = Custom({**named, "scorer": "exact", "description": "-"})
    return try_reading(task, (("", row) for row in rows), len(rows)).fields


def _scorer(rows: Sequence[Fields], options: Fields, answers: Sequence[str], labelled: bool, notes: list[str]) -> str:
    if _has_options(rows, options):
        return "multiple_choice"
    if not answers:
        return "exact"
    if all(text.lstrip()[:1] in ("{", "[") for text in answers):
        return "json"
    if labelled:
        return "exact"
    if all(re.fullmatch(r"\W*[A-Za-z]\W*", text) for text in answers):
        notes.append("the answers are letters: if they name options, bring these as a column each or as a list (--choices)")
    if sum("####" in text and _has_number(text) for text in answers) >= SURE * len(answers):  # as GSM8K has them
        return "numeric"
    if all(map(_has_number, answers)) and (_bare(answers) or all(re.search(r"\d\W*$", text) for text in answers)):
        return "numeric"
    if _bare(answers) and all(_has_number(text, fractions=True) for text in answers):
        notes.append("the answers look like fractions: `scorer: numeric` with `fractions: true` compares them by value")
    if median(len(text.split()) for text in answers) < LONG:
        return "exact"
    return "rouge"


def _has_number(text: str, fractions: bool = False) -> bool:
    """Whether the numeric scorer finds one."""
    return next(numbers(text, fractions), None) is not None


def _has_options(rows: Sequence[Fields], options: Fields) -> bool:
    try:
        task = Custom({**options, "scorer": "multiple_choice", "description": "-"})
        own = (options.get("prompt"), options.get("answer"))  # which may be called A and B
        options_in({name: value for name, value in rows[0].items() if name not in own}, None, options.get("choices", ""))
    except InputError:
        return False
    return len(try_reading(task, (("", row) for row in rows), len(rows)).fields) > len(rows) // 2


def _bare(answers: Sequence[str]) -> bool:
    return median(len(text.split()) for text in answers) <= 2


def _description(labelled: bool, options: Fields) -> str:
    if labelled:
        return "Each text gets one label."
    if options["scorer"] == "multiple_choice":
        return "Questions with options, of which one is right."
    return "Answer each prompt as the training rows do."


def _group(rows: Sequence[Fields], options: Fields, notes: list[str]) -> str:
    """A column whose values tie rows together: of a usual name, repeated, and with enough values to be divided.

    Rows without their group's column are refused, so it is none if many have not got it.
    """
    first = _whole(rows)
    for name in GROUPS:
        found = column(first, (name,), but=(options.get("prompt", ""), options.get("answer", "")))
        counts = Counter(text for row in rows if found and (text := text_or_none(row.get(found))))
        if len(counts) >= FEWEST_GROUPS and counts.total() > 1.1 * len(counts):
            without = sum(found not in row for row in rows)
            if len(rows) - without >= SURE * len(rows):
                return found
            notes.append(
                f"'{found}' ties rows together, but {without} of {len(rows)} rows have no such column, so they may be divided; "
                "give it to all, null where there is none, and begin anew"
            )
    return ""


def _whole(rows: Sequence[Fields]) -> Fields:
    """All columns that rows have, in order."""
    return {name: value for row in rows for name, value in row.items()}


def _is_empty(value: object) -> bool:
    return text_or_none(value) is None and (value in (None, [], {}) or isinstance(value, str | float))


def _share(rows: Sequence[Fields], name: str) -> float:
    return sum(text_or_none(row.get(name)) is not None for row in rows) / len(rows)


def _length(rows: Sequence[Fields], name: str) -> float:
    return fmean(len(text_or_none(row.get(name)) or "") for row in rows)
