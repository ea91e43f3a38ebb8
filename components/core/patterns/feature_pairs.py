"""Two features of a row together, for a model that masters each alone.

>>> sorted(with_pairs({"SUM", "JOIN of 2 tables"}))
['JOIN of 2 tables', 'JOIN of 2 tables with SUM', 'SUM']
"""

from collections.abc import Iterable
from itertools import combinations


def pairs(features: Iterable[str]) -> set[tuple[str, str]]:
    """Every two of `features`, in the order of their names."""
    return set(combinations(sorted(features), 2))


def together(pair: tuple[str, str]) -> str:
    """The name of a pair."""
    return " with ".join(pair)


def with_pairs(features: Iterable[str]) -> set[str]:
    """`features` and the names of all their pairs: what a batch or a strategy may ask a row to show."""
    return {*features, *map(together, pairs(features))}
