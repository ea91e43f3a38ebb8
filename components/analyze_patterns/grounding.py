"""Grounds patterns in counts: which task features the model fails at, as its failures and successes on validation show."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pada_agent.components.core.records import Analysis, FeatureCount
from pada_agent.components.core.statistics import wilson_interval

CONFIDENCE = 0.8  # of the interval whose lower end must lie above the failure rate of all rows
FEATURE_WEIGHT = 0.7  # of the squared length of a clustered vector; the rest is the text
UNCOVERED = 1 / 3  # share of a cluster that may show none of the chosen features
LIMIT = 3

Vectors = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Dossier:
    """One cluster of failures with the counts that ground it."""

    members: list[Analysis]
    counts: list[FeatureCount]
    features: list[str]
    passed: int


def telling_features(failed: Sequence[set[str]], passed: Sequence[set[str]]) -> dict[str, float]:
    """Features whose rows fail clearly more often than rows do at large, with the excess of the failure rate (0 to 1).

    A companion that the model also masters without them (GROUP BY beside the HAVING that fails) is not telling.
    """
    in_failed, in_passed = _count(failed), _count(passed)
    base = len(failed) / max(len(failed) + len(passed), 1)
    lows = {f: wilson_interval(n, n + in_passed[f], CONFIDENCE)[0] for f, n in in_failed.items()}
    return {f: low - base for f, low in sorted(lows.items()) if low > base}


def count_features(failed: Sequence[set[str]], passed: Sequence[set[str]]) -> list[FeatureCount]:
    """Each feature of the failures with its counts, most telling first (contrast of the shares, then name)."""
    in_passed = _count(passed)
    counts = [FeatureCount(feature=f, failed=n, passed=in_passed[f]) for f, n in _count(failed).items()]

    def contrast(count: FeatureCount) -> float:
        return count.failed / max(len(failed), 1) - count.passed / max(len(passed), 1)

    return sorted(counts, key=lambda c: (-contrast(c), c.feature))


def covering_features(failed: Sequence[set[str]], telling: Mapping[str, float]) -> list[str]:
    """Telling features of which nearly every failure of a cluster shows one; at most three, none if nothing tells.

    Each next one has the most excess failures: many of the failures left show it, and few right answers.
    """
    chosen: list[str] = []
    left = list(failed)
    while len(left) > UNCOVERED * len(failed) and len(chosen) < LIMIT:
        here = Counter(f for features in left for f in features & telling.keys())
        if not here:
            break
        best = max(here, key=lambda f: (here[f] * telling[f], f))
        chosen.append(best)
        left = [features for features in left if best not in features]
    return chosen


def grounded_vectors(text: Vectors, rows: Sequence[set[str]], telling: Mapping[str, float]) -> Vectors:
    """Unit vectors (n x d + features + 1) to cluster: embedded texts beside what each row needs, weighted by how telling it is.

    A teacher's words about a failure are opinion, and a small teacher's are noise; what the row needs is a fact. That a row
    needs nothing telling is one too, the last coordinate. Where nothing tells, text alone is clustered, as in the paper.
    """
    if not telling:
        return text
    names = sorted(telling)
    facts = np.array([[telling[f] if f in row else 0.0 for f in names] for row in rows])
    facts = np.column_stack([facts, ~facts.any(axis=1)])
    facts /= np.linalg.norm(facts, axis=1, keepdims=True)
    return np.hstack([text * np.sqrt(1 - FEATURE_WEIGHT), facts * np.sqrt(FEATURE_WEIGHT)])


def rank_seeds(features: Sequence[str], train_features: Sequence[set[str]], similarity: Vectors) -> list[int]:
    """Indices of training rows, nearest first: how many of `features` a row shows, then its similarity to the failures."""
    shown = [len(set(features) & row) for row in train_features]
    return sorted(range(len(train_features)), key=lambda i: (-shown[i], -float(similarity[i]), i))


def _count(rows: Sequence[set[str]]) -> Counter[str]:
    return Counter(f for features in rows for f in features)
