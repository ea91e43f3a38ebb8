"""Grounds a pattern in counts: which task features its failures need and the model's successes do not."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.core.records import FeatureCount

MIN_CONTRAST = 0.3  # share among failures minus share among successes, from which a feature tells something
UNCOVERED = 0.2  # share of a cluster that may show none of the chosen features
LIMIT = 3


def count_features(failed: Sequence[set[str]], passed: Sequence[set[str]]) -> list[FeatureCount]:
    """Each feature of the failures with its counts, most telling first (contrast, then name)."""
    in_failed = Counter(f for features in failed for f in features)
    in_passed = Counter(f for features in passed for f in features)
    counts = [FeatureCount(feature=f, failed=n, passed=in_passed[f]) for f, n in in_failed.items()]
    return sorted(counts, key=lambda c: (-_contrast(c, len(failed), len(passed)), c.feature))


def covering_features(failed: Sequence[set[str]], counts: Sequence[FeatureCount], passed: int) -> list[str]:
    """The fewest telling features of which nearly every failure shows one; at most three, none if nothing tells.

    A sample that shows one of them is on the pattern. Taking all telling features instead would let in samples that
    show only a common companion (GROUP BY without the HAVING that fails).
    """
    chosen: list[str] = []
    left = list(failed)
    while left and len(left) > UNCOVERED * len(failed) and len(chosen) < LIMIT:
        passed_counts = {c.feature: c.passed for c in counts}
        here = Counter(f for features in left for f in features)
        candidates = [FeatureCount(feature=f, failed=n, passed=passed_counts[f]) for f, n in here.items()]
        best = max(candidates, key=lambda c: (_contrast(c, len(left), passed), c.feature), default=None)
        if best is None or _contrast(best, len(left), passed) < MIN_CONTRAST:
            break
        chosen.append(best.feature)
        left = [features for features in left if best.feature not in features]
    return chosen


def rank_seeds(features: Sequence[str], train_features: Sequence[set[str]], similarity: NDArray[np.floating[Any]]) -> list[int]:
    """Indices of training rows, nearest first: how many of `features` a row shows, then its similarity to the failures."""
    shown = [len(set(features) & row) for row in train_features]
    return sorted(range(len(train_features)), key=lambda i: (-shown[i], -float(similarity[i]), i))


def _contrast(count: FeatureCount, failed: int, passed: int) -> float:
    return count.failed / max(failed, 1) - count.passed / max(passed, 1)
