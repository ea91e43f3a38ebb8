"""Says why a text about the failures gives validation rows away. Every text that leaves the analysis is checked.

A pattern that a teacher once called "Prostaglandins", after the one passage that it had read, is no pattern, and the generator
would write rows about that passage. So a name from a failure, and a word that one failure has and no other validation row, must
not be in such a text, unless training rows have it or everybody uses it (general_words.txt).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

from pada_agent.components.core.records import Prediction, TrainRow
from pada_agent.components.core.separation.duplicates import FUNCTION_WORD, telling_values, tokens
from pada_agent.components.core.separation.leakage import Fingerprints
from pada_agent.components.core.tasks.task import Task

Screen = Callable[[str], str]
GENERAL = Path(__file__).with_name("general_words.txt")


def answer_screen(task: Task, validation: Sequence[Prediction], train: Sequence[TrainRow]) -> Screen:
    """Says why a text quotes the failures' answers, '' if it does not.

    The run's fingerprints hold what a synthetic row may not repeat. That leaves out SQL queries, which good rows share long
    runs with, but a pattern or strategy has no need of them either.
    """
    answers = {"validation": [[p.reference] for p in validation]}
    return Fingerprints.build(answers, [[task.target(r.fields)] for r in train]).screen_text


def word_screen(task: Task, validation: Sequence[Prediction], train: Sequence[TrainRow]) -> Screen:
    """Says why a text has a telling word of a failure, '' if it has none. Rows of one group count as one row."""
    owners: dict[str, set[str]] = defaultdict(set)
    names, failed = set(), set()
    for p in validation:
        texts = [*task.private_texts(p.fields), p.reference]
        for word in _words(texts):
            owners[word].add(p.group or p.id)
        if not p.score.correct:
            failed |= _words(texts)
            names |= {_stem(value) for text in texts for value in telling_values(text)}
    shown = [
        text
        for r in train
        for text in (*task.private_texts(r.fields), task.target(r.fields), *(m["content"] for m in task.messages(r.fields)))
    ]
    known = _words([*shown, task.description]) | _general()
    telling = {word for word in failed - known if word in names or len(owners[word]) == 1}

    def screen(text: str) -> str:
        copied = next((t for t in tokens(text) if _stem(t) in telling), "")
        return f"it has the word '{copied}' of a validation row" if copied else ""

    return screen


def first_hit(screens: Iterable[Screen], text: str) -> str:
    """The complaint of the first screen that has one, '' if none has."""
    return next((reason for screen in screens if (reason := screen(text))), "")


@cache
def _general() -> set[str]:
    return _words([GENERAL.read_text(encoding="utf-8")])


def _words(texts: Iterable[str]) -> set[str]:
    """Words, not numbers: those of three digits and more are the fingerprints' matter, others tell nothing."""
    return {_stem(t) for text in texts for t in tokens(text) if any(c.isalpha() for c in t) and not FUNCTION_WORD.fullmatch(t)}


def _stem(word: str) -> str:
    """Without the s of a plural."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
