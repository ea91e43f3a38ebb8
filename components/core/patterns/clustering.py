"""How many patterns there are in a set of failures, and which of them were there an iteration ago.

The rule is the paper's elbow (k-means, k in 2..10), with what 50 points in 768 dimensions need on top: an elbow is only
believed when the inertia curve bends away from its chord by an eighth of its drop. That is where the bends of pure noise
end (median 0.08) and those of weak clusters (0.21) and clear ones (0.35) begin; kneed's sensitivity 1 asks for as much.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pada_agent.components.core.patterns.pattern_rules import CLEAR_SILHOUETTE, ELBOW_GAP

Vectors = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]

MIN_POINTS = 4
OTHER_SEEDS = 4
SAME_PATTERN = 0.6  # all-mpnet-base-v2: rewordings of one pattern measured 0.49 to 0.83, two patterns of one task at most 0.58


@dataclass(frozen=True)
class Algorithms:
    """The library's part: k-means (vectors, k, seed -> labels, inertia), mean cosine silhouette, adjusted Rand index."""

    kmeans: Callable[[Vectors, int, int], tuple[Labels, float]]
    silhouette: Callable[[Vectors, Labels], float]
    agreement: Callable[[Sequence[int], Sequence[int]], float]


@dataclass(frozen=True)
class Clustering:
    """`labels` are 0 (the largest cluster) to k - 1. `structure` is False when nothing says that there are groups at all.

    `inertias` has one value for each k from `first_k`; `gap` is the bend of that curve, `stability` the mean adjusted Rand
    index with the choices of other seeds, which may take another k.
    """

    labels: list[int]
    k: int
    structure: bool
    first_k: int = 0
    inertias: tuple[float, ...] = ()
    gap: float = 0.0
    silhouette: float = 0.0
    stability: float = 1.0

    def summary(self) -> dict[str, Any]:
        """Everything but the labels, JSON-ready and rounded."""
        values = {name: value for name, value in asdict(self).items() if name != "labels"}
        rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}
        return {**rounded, "inertias": [round(i, 4) for i in self.inertias]}


def choose_clusters(vectors: Vectors, k_min: int, k_max: int, algorithms: Algorithms, seed: int) -> Clustering:
    """Cluster n unit vectors (n x d). Fewer than 4 of them, or fewer than 3 distinct, are one cluster.

    Raises ValueError for vectors that are not finite.
    """
    if not np.isfinite(vectors).all():
        raise ValueError("vectors to cluster must be finite")
    distinct = len(np.unique(np.round(vectors, 6), axis=0)) if len(vectors) else 0
    if len(vectors) < MIN_POINTS or distinct < 3:
        return Clustering([0] * len(vectors), min(1, len(vectors)), structure=False)
    last = min(k_max, distinct - 1)
    ks = range(min(k_min, last), last + 1)
    chosen = _choose(vectors, ks, algorithms, seed)
    others = [_choose(vectors, ks, algorithms, seed + i).labels for i in range(1, OTHER_SEEDS + 1)]
    stability = sum(algorithms.agreement(chosen.labels, other) for other in others) / len(others)
    return Clustering(**{**asdict(chosen), "stability": float(stability)})


def _choose(vectors: Vectors, ks: range, algorithms: Algorithms, seed: int) -> Clustering:
    runs = {k: algorithms.kmeans(vectors, k, seed) for k in ks}
    inertias = np.minimum.accumulate([inertia for _, inertia in runs.values()])
    place, gap = elbow(inertias)
    if gap >= ELBOW_GAP:
        k = ks[place]
    else:
        whole = [k for k, (labels, _) in runs.items() if np.bincount(labels, minlength=k).min() >= 2]
        k = max(whole, key=lambda k: (algorithms.silhouette(vectors, runs[k][0]), -k), default=ks[0])
    labels = runs[k][0]
    silhouette = float(algorithms.silhouette(vectors, labels))
    # The chord runs through both ends, so it can never name the smallest k: two clear groups show in the silhouette alone.
    structure = gap >= ELBOW_GAP or silhouette >= CLEAR_SILHOUETTE
    return Clustering(_largest_first(labels), k, structure, ks[0], tuple(map(float, inertias)), gap, silhouette)


def elbow(inertias: Sequence[float] | Vectors) -> tuple[int, float]:
    """Place and size of the largest gap below the chord of a falling curve, both axes scaled to 0..1. No drop: (0, 0)."""
    drop = float(inertias[0] - inertias[-1])
    if len(inertias) < 3 or drop <= 1e-12 * max(1.0, abs(float(inertias[0]))):
        return 0, 0.0
    heights = (np.asarray(inertias) - inertias[-1]) / drop
    gaps = np.linspace(1, 0, len(inertias)) - heights
    place = int(np.argmax(gaps))
    return place, max(0.0, float(gaps[place]))


def _largest_first(labels: Labels) -> list[int]:
    values, first, counts = np.unique(labels, return_index=True, return_counts=True)
    order = sorted(range(len(values)), key=lambda i: (-counts[i], first[i]))
    place = {int(values[i]): rank for rank, i in enumerate(order)}
    return [place[int(label)] for label in labels]


def match_patterns(previous: Vectors, new: Vectors, threshold: float = SAME_PATTERN) -> list[int | None]:
    """For each new pattern the earlier one that it continues, by cosine of unit vectors; closest pairs first, one to one."""
    matches: list[int | None] = [None] * len(new)
    if not len(previous) or not len(new):
        return matches
    similarity = np.asarray(new) @ np.asarray(previous).T
    taken: set[int] = set()
    for flat in np.argsort(-similarity, axis=None, kind="stable"):
        i, j = divmod(int(flat), len(previous))
        if similarity[i, j] < threshold:
            break
        if matches[i] is None and j not in taken:
            matches[i] = j
            taken.add(j)
    return matches
