"""Recognises a held-out question that was edited, by hashes of its words alone.

    "How many hens does Farmer Nils sell each week?"    held out
    "Each week, how many hens does Farmer Nils sell?"   a near copy: its words in another order
    "How many hens did Farmer Nils sell in one week?"   a near copy: a few other words
    "How many hens does Farmer Berit sell each week?"   another question: short, and not about the same name

Two texts are as close as the share of their words that both have (Jaccard, without function words). Rows made from one template
are close as well. So a text is a near copy only if it is closer to the held-out row than every training row is, and a short one
only if it keeps the row's numbers, names and quoted values. The levels were set on public rows (tests/benchmarks/leak_screen.py).
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pada_agent.components.core.separation.duplicates import FUNCTION_WORD, telling_values, tokens

Hash = Callable[[Iterable[str]], bytes]
Bag = frozenset[bytes]

CLOSE, CLOSE_IF_SHORT = 0.55, 0.6
FEWEST, SHORT, LONG = 4, 8, 16  # words: fewer than FEWEST are alike by chance; from LONG on values may differ
_SMALL = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_NUMBERS = {m.group(): str(n) for n, m in enumerate(re.finditer(r"\w+", _SMALL))}
_NUMBERS |= {m.group(): str(10 * n) for n, m in enumerate(re.finditer(r"\w+", _TENS), 2)}


@dataclass(frozen=True)
class Question:
    """A held-out question as hashes. A text is a near copy if it is closer than `limit`."""

    words: Bag
    values: Bag
    limit: float


class NearCopies:
    """The questions of one split."""

    def __init__(self, questions: Sequence[Question], hashed: Hash) -> None:
        self._questions, self._hash = questions, hashed
        self._having: dict[bytes, list[int]] = defaultdict(list)
        for i, question in enumerate(questions):
            for word in question.words:
                self._having[word].append(i)

    @classmethod
    def build(cls, held_out: Iterable[str], training: Iterable[str], hashed: Hash) -> Self:
        """`hashed` turns a run of words into a hash; only hashes are kept."""
        questions = []
        for text in held_out:
            words = _bag(tokens(text), hashed)
            if len(words) >= FEWEST:
                limit = CLOSE_IF_SHORT if len(words) < SHORT else CLOSE
                questions.append(Question(words, _bag(telling_values(text), hashed), limit))
        limits = [q.limit for q in questions]
        loose = cls(questions, hashed)
        for text in training:
            for i, closeness in loose._closeness(_bag(tokens(text), hashed)):
                limits[i] = max(limits[i], closeness)
        pairs = zip(questions, limits, strict=True)
        return cls([Question(q.words, q.values, limit) for q, limit in pairs], hashed)

    def has(self, text: str) -> bool:
        """Whether the text is a near copy of a question."""
        words = _bag(tokens(text), self._hash)
        for i, closeness in self._closeness(words):
            question = self._questions[i]
            if closeness > question.limit and (len(question.words) >= LONG or question.values <= words):
                return True
        return False

    def to_json(self) -> list[dict[str, Any]]:
        """The questions, in an order that does not depend on that of the rows."""
        rows = [
            {"words": b"".join(sorted(q.words)).hex(), "values": b"".join(sorted(q.values)).hex(), "limit": q.limit}
            for q in self._questions
        ]
        return sorted(rows, key=lambda row: (row["words"], row["values"]))

    @classmethod
    def load(cls, rows: Iterable[Mapping[str, Any]], hashed: Hash, cut: Callable[[str], Iterable[bytes]]) -> Self:
        """From `to_json`; `cut` parts a string of hashes. Raises KeyError, TypeError or ValueError for anything else."""
        return cls([Question(frozenset(cut(r["words"])), frozenset(cut(r["values"])), float(r["limit"])) for r in rows], hashed)

    def _closeness(self, words: Bag) -> Iterable[tuple[int, float]]:
        """Questions that are at least CLOSE, with their closeness.

        A question that close has one of the text's rarest words, however the others fall: only those are looked up.
        """
        rarest = sorted(words, key=lambda word: len(self._having.get(word, ())))
        looked_up = rarest[: len(words) - math.ceil(CLOSE * len(words)) + 1]
        for i in {i for word in looked_up for i in self._having.get(word, ())}:
            its = self._questions[i].words
            both = len(words & its)
            closeness = both / (len(words) + len(its) - both)
            if closeness >= CLOSE:
                yield i, closeness


def _bag(words: Iterable[str], hashed: Hash) -> Bag:
    return frozenset(hashed([_plain(word)]) for word in words if not FUNCTION_WORD.fullmatch(word))


def _plain(word: str) -> str:
    """Number words as digits, plurals without their s."""
    return _NUMBERS.get(word) or (word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word)
