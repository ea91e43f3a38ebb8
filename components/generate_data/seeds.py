"""Which training rows are shown together: rows that differ in more than a value.

"Stock of product 17" and "Stock of product 8" are near-copies: shown together, the second teaches nothing.
"""

import re
from collections.abc import Sequence

from pada_agent.components.core.records import Fields
from pada_agent.components.core.separation.duplicates import tokens
from pada_agent.components.core.tasks.task import Task

NEAR_COPY = 0.75  # share of common words from which two rows are of one template
TELLING = 6  # different words from which an answer alone tells that
_VALUE = re.compile(r"'[^']*'|\"[^\"]*\"|\d[\d.,:-]*")


class Likeness:
    """How much training rows are alike when their values are left out, 0 to 1."""

    def __init__(self, task: Task, rows: dict[str, Fields]) -> None:
        self._answers = {i: _words(task.reference(f)) for i, f in rows.items()}
        self._rows = {i: self._answers[i] | _words(task.question(f)) for i, f in rows.items()}

    def of(self, one: str, other: str) -> float:
        """Of two rows, by their ids: of answers alone where those are long enough to tell."""
        answers = self._answers[one], self._answers[other]
        alike = _shared(self._rows[one], self._rows[other])
        return max(alike, _shared(*answers)) if min(map(len, answers)) >= TELLING else alike

    def nearest(self, one: str, others: Sequence[str]) -> float:
        """Of a row and the one most like it."""
        return max((self.of(one, other) for other in others), default=0.0)


def unlike(likeness: Likeness, ids: Sequence[str], most: int, chosen: Sequence[str] = (), diverse: bool = False) -> list[str]:
    """`chosen`, and of `ids` those that are no near-copies, `most` in all: in their order, or the least alike first."""
    result, left = list(chosen), [i for i in ids if i not in chosen]
    while left and len(result) < most:
        near = {i: likeness.nearest(i, result) for i in left}
        left = [i for i in left if near[i] < NEAR_COPY]
        if left:
            result.append(min(left, key=lambda i: near[i]) if diverse else left[0])
            left.remove(result[-1])
    return result


def _words(text: str) -> frozenset[str]:
    return frozenset(tokens(_VALUE.sub(" ", text)))


def _shared(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / (len(one | other) or 1)
