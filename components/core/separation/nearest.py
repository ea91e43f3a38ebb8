"""Which rows ask for nearly the same: by the words they have in common, rare ones counting more.

"Total shipping of Ida Dahl's orders"  ->  "What did shipping cost customer 11 altogether?"
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Sequence
from heapq import nlargest
from itertools import accumulate
from math import fsum, log, sqrt

from pada_agent.components.core.records import Fields
from pada_agent.components.core.separation.duplicates import tokens
from pada_agent.components.core.tasks.task import Task

SLACK = 1 - 1e-9  # for sums in another order than `_alike` has them
FEW = 100  # rows of which it is quicker to look at all than to look up words
CHECKED = 2  # a look at all rows found, at each so many rows that a word would have looked at


class NearestRows:
    """Training rows to look for, by cosine of their questions' words weighted by inverse document frequency."""

    def __init__(self, task: Task, rows: Sequence[Fields]) -> None:
        self._task, self._rows = task, rows
        self._having: dict[str, list[int]] = defaultdict(list)
        own: dict[str, str] = {}  # one string for a word, however many rows have it
        self._words = [tuple(own.setdefault(w, w) for w in self._asked(fields)) for fields in rows]
        for i, words in enumerate(self._words):
            for word in words:
                self._having[word].append(i)
        self._weight = {word: log((1 + len(rows)) / len(having)) ** 2 for word, having in self._having.items()}
        self._length = [sqrt(fsum(map(self._weight.__getitem__, words))) or 1.0 for words in self._words]
        self._by_length = sorted(range(len(rows)), key=self._length.__getitem__)

    def of(self, fields: Fields, most: int) -> list[Fields]:
        """The `most` nearest rows, the nearest last: a small model leans on what it read last."""
        return [self._rows[i] for i in self.places(fields, most)]

    def places(self, fields: Fields, most: int) -> list[int]:
        """As `of`, where among the rows they are."""
        asked = self._asked(fields)
        candidates = self._candidates(asked, most) if most else []
        return sorted(candidates, key=lambda i: (-self._alike(asked, i), i))[:most][::-1]

    def _asked(self, fields: Fields) -> set[str]:
        return set(tokens(self._task.question(fields)))

    def _alike(self, asked: Collection[str], index: int) -> float:
        shared = (self._weight[word] for word in self._words[index] if word in asked)
        return fsum(shared) / self._length[index]  # in any order, as a set is

    def _candidates(self, asked: Collection[str], most: int) -> Collection[int]:
        """Places of rows among which the `most` nearest are.

        Rows are looked up by the words asked for, the rarest first. A row that has none of those looked up by then is alike by
        sum(w) / its length at most, w being the weights of the others, and by sqrt(sum(w)) (Cauchy-Schwarz). Once that is too
        little for all but a few short rows, the other words, which nearly all rows have, need no look.
        """
        rarest = sorted((word for word in asked if word in self._having), key=lambda word: (-self._weight[word], word))
        lefts = list(accumulate(self._weight[word] for word in reversed(rarest)))[::-1]  # sums from each word on
        found: dict[int, float] = defaultdict(float)  # a row's sum of weights so far
        for word, left in zip(rarest, lefts, strict=True):
            having = self._having[word]
            if most <= len(found) < CHECKED * len(having) and self._short(left, self._lowest(found, most)) <= FEW:
                break
            for i in having:
                found[i] += self._weight[word]
        else:
            left = 0.0
        if len(found) < most:
            return range(len(self._rows))
        needed = self._lowest(found, most)
        unseen = self._by_length[: self._short(left, needed)]
        near = [i for i, total in found.items() if total / self._length[i] + min(sqrt(left), left / self._length[i]) >= needed]
        return {*near, *unseen}

    def _short(self, left: float, needed: float) -> int:
        """How many rows are so short that words of weights `left` in sum may make them as alike as `needed`."""
        return 0 if sqrt(left) < needed else bisect_right(self._by_length, left / needed, key=self._length.__getitem__)

    def _lowest(self, found: dict[int, float], most: int) -> float:
        """The least that the `most` nearest of the rows found so far are alike."""
        return nlargest(most, (total / self._length[i] for i, total in found.items()))[-1] * SLACK
