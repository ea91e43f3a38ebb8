"""Which rows ask for nearly the same: by the words they have in common, rare ones counting more.

"Total shipping of Ida Dahl's orders"  ->  "What did shipping cost customer 11 altogether?"
"""

from collections import Counter
from collections.abc import Sequence
from math import fsum, log, sqrt

from pada_agent.components.core.records import Fields
from pada_agent.components.core.separation.duplicates import tokens
from pada_agent.components.core.tasks.task import Task


class NearestRows:
    """Training rows to look for, by cosine of their questions' words weighted by inverse document frequency."""

    def __init__(self, task: Task, rows: Sequence[Fields]) -> None:
        self._task, self._rows = task, rows
        words = [set(tokens(task.question(fields))) for fields in rows]
        found = Counter(word for of in words for word in of)
        self._rarity = {word: log((1 + len(rows)) / n) for word, n in found.items()}
        self._words = [(of, self._length(of)) for of in words]

    def of(self, fields: Fields, most: int) -> list[Fields]:
        """The `most` nearest rows, the nearest last: a small model leans on what it read last."""
        return [self._rows[i] for i in self.places(fields, most)]

    def places(self, fields: Fields, most: int) -> list[int]:
        """As `of`, where among the rows they are."""
        asked = set(tokens(self._task.question(fields)))

        def alike(index: int) -> float:
            words, length = self._words[index]
            return fsum(self._rarity[word] ** 2 for word in asked & words) / (length or 1)  # in any order, as a set is

        return sorted(range(len(self._rows)), key=lambda i: (-alike(i), i))[:most][::-1]

    def _length(self, words: set[str]) -> float:
        return sqrt(fsum(self._rarity[word] ** 2 for word in words))
