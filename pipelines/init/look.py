"""Looks at rows: which shape, prompt, answer and scorer they seem to have, what ties them together, and what cannot be told.

60 rows of {"user query": "My parcel ...", "Category": "delivery", "customer_id": 7}   ->
    {"prompt": "user query", "answer": "Category", "scorer": "exact", "group": "customer_id", "max_new_tokens": 32,
     "description": "... Answer with one of: account, billing, delivery."}
"""

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
from pada_agent.components.core.tasks.gsm8k import last_number
from pada_agent.components.core.tasks.shapes import recognised
from pada_agent.components.core.tasks.trial import Tried, try_reading

SCORERS: tuple[str, ...] = get_args(CustomOptions.model_fields["scorer"].annotation)
MOST_LABELS = 20  # different answers of a classification; named in the description
RUBRIC = "It does what is asked, says nothing that is wrong, and leaves out nothing that matters."
LONG = 8  # words of an answer, from which hardly anybody writes the same text
FEWEST_GROUPS = 10  # with fewer, four splits would be of very unlike sizes
# What a person is asked: the question, and what is proposed.
Ask = Callable[[str, str], str]


@dataclass
class Look:
    """What was found: `options` of a custom task, what each answer takes at most, and what a person should know."""

    options: Fields
    task: Custom
    tried: Tried
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
    _name_columns(rows, options, ask)
    answers = _answers(rows, options)
    if "scorer" not in options:
        options["scorer"] = ask(f"How is an answer scored? ({', '.join(SCORERS)})", _scorer(rows, options, answers, notes))
    if options["scorer"] == "judge":
        options["rubric"] = ask("What makes an answer good? The LLM that scores answers reads it.", RUBRIC)
    if "description" not in options:
        labels = sorted(set(answers)) if _are_labels(answers) and options["scorer"] == "exact" else []
        options["description"] = ask(
            "What is asked, and what is a good answer? The teacher reads it.", _description(labels, options)
        )
    if group := options.get("group") or _group(rows, options):
        options["group"] = group
    options["max_new_tokens"] = min(4096, max(32, -(-int(2 * max(map(token_count, answers), default=16)) // 32) * 32))
    task = Custom(options)
    tried = try_reading(task, ((f"row {n}", row) for n, row in enumerate(rows, 1)), len(rows))
    return Look(options, task, tried, notes)


def _name_columns(rows: Sequence[Fields], options: Fields, ask: Ask) -> None:
    """The shape; of plain columns the names, guessed from what stands in them where no usual name is there."""
    shape = options.setdefault("shape", recognised(rows[0]))
    if shape != "columns":
        return
    first = _whole(rows)
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
    context = column(first, CONTEXTS)
    if context in ("", prompt, answer):  # else both are the prompt, and only the shape says so
        options |= {"prompt": prompt, "answer": answer}


def _column(name: str, row: Fields, what: str) -> str:
    if name and (name in row or "{" in name):
        return name
    raise InputError(f"there is no column '{name}' for the {what}; there are {columns_of(row)}; name it with --{what}")


def _answers(rows: Sequence[Fields], options: Fields) -> list[str]:
    """The answers as texts, as far as rows can be read."""
    named = {name: options[name] for name in ("shape", "prompt", "answer") if options.get(name)}
    task = Custom({**named, "scorer": "exact", "description": "-"})
    return [str(fields["answer"]) for fields in try_reading(task, (("", row) for row in rows), len(rows)).fields]


def _scorer(rows: Sequence[Fields], options: Fields, answers: Sequence[str], notes: list[str]) -> str:
    if _has_options(rows, options):
        return "multiple_choice"
    if not answers:
        return "exact"
    if all(text.lstrip()[:1] in ("{", "[") for text in answers) and "json" in SCORERS:
        return "json"
    numbers = [text for text in answers if last_number(text)]
    if len(numbers) == len(answers) and not _are_labels(answers) and (_bare(answers) or all("####" in text for text in answers)):
        return "numeric"
    if median(len(text.split()) for text in answers) < LONG or _are_labels(answers):
        return "exact"
    if graded := next((name for name in ("rouge", "f1") if name in SCORERS), ""):
        return graded
    notes.append("the answers are long texts, which nobody writes twice alike: give a python scorer, or expect few right answers")
    return "exact"


def _has_options(rows: Sequence[Fields], options: Fields) -> bool:
    try:
        task = Custom({**options, "scorer": "multiple_choice", "description": "-"})
        options_in(rows[0], None, options.get("choices", ""))
    except InputError:
        return False
    return len(try_reading(task, (("", row) for row in rows), len(rows)).fields) > len(rows) // 2


def _bare(answers: Sequence[str]) -> bool:
    return median(len(text.split()) for text in answers) <= 2


def _are_labels(answers: Sequence[str]) -> bool:
    """Few different answers, each of them often."""
    return 2 <= len(set(answers)) <= MOST_LABELS and len(answers) >= 4 * len(set(answers))


def _description(labels: Sequence[str], options: Fields) -> str:
    if labels:
        return f"Each text gets one label. Answer with one of: {', '.join(labels)}."
    if options["scorer"] == "multiple_choice":
        return "Questions with options, of which one is right."
    return "Answer each prompt as the training rows do."


def _group(rows: Sequence[Fields], options: Fields) -> str:
    """A column whose values tie rows together: of a usual name, repeated, and with enough values to be divided."""
    first = _whole(rows)
    for name in GROUPS:
        found = column(first, (name,), but=(options.get("prompt", ""), options.get("answer", "")))
        counts = Counter(text for row in rows if found and (text := text_or_none(row.get(found))))
        if len(counts) >= FEWEST_GROUPS and counts.total() > 1.1 * len(counts):
            return found
    return ""


def _whole(rows: Sequence[Fields]) -> Fields:
    """All columns that rows have, in order."""
    return {name: value for row in rows for name, value in row.items()}


def _share(rows: Sequence[Fields], name: str) -> float:
    return sum(text_or_none(row.get(name)) is not None for row in rows) / len(rows)


def _length(rows: Sequence[Fields], name: str) -> float:
    return fmean(len(text_or_none(row.get(name)) or "") for row in rows)
