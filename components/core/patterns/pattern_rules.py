"""Rules about patterns that need no arrays: when there are any, and what became of one. Stages without numpy use them."""

from typing import Literal

ELBOW_GAP = 0.125
CLEAR_SILHOUETTE = 0.5  # "a reasonable structure", Kaufman and Rousseeuw, Finding Groups in Data (1990), table 4
SHRUNK = 0.75

Trend = Literal["new", "persistent", "shrinking", "fixed"]


def trend(before: int | None, now: int) -> Trend:
    """What became of a pattern, by its failing rows. `before` None: it did not exist. A quarter fewer counts as shrinking."""
    if before is None:
        return "new"
    if now == 0:
        return "fixed"
    return "shrinking" if now <= SHRUNK * before else "persistent"
