"""The choice of k on curves and point clouds with a known answer, kneed as oracle; what continues and what shrinks."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from kneed import KneeLocator

from pada_agent.components.backends.kmeans import cluster
from pada_agent.components.core.patterns.clustering import Algorithms, Vectors, choose_clusters, elbow, match_patterns
from pada_agent.components.core.patterns.pattern_rules import ELBOW_GAP, trend


def unit(points: Vectors) -> Vectors:
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def groups(k: int, n: int = 50, spread: float = 0.35, seed: int = 0, d: int = 64) -> tuple[Vectors, list[int]]:
    """n unit vectors around k random directions, and which direction each is from."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(k, d)))
    member = np.arange(n) % k
    return unit(centres[member] + spread / np.sqrt(d) * rng.normal(size=(n, d))), [int(m) for m in member]


def same_partition(a: list[int], b: list[int]) -> bool:
    return len(set(zip(a, b, strict=True))) == len(set(a)) == len(set(b))


@pytest.mark.parametrize("k", [3, 4, 5])
def test_clear_groups_are_found(k: int) -> None:
    vectors, member = groups(k)
    found = cluster(vectors, 2, 10, seed=0)
    assert (found.k, found.structure) == (k, True)
    assert same_partition(found.labels, member)
    assert found.gap >= ELBOW_GAP and found.stability == 1.0


def test_two_clear_groups_have_no_elbow_but_a_silhouette() -> None:
    vectors, member = groups(2)
    found = cluster(vectors, 2, 10, seed=0)
    assert (found.k, found.structure) == (2, True)
    assert same_partition(found.labels, member)
    assert found.gap < ELBOW_GAP < found.silhouette


@pytest.mark.parametrize("seed", range(4))
def test_noise_has_no_structure(seed: int) -> None:
    noise = unit(np.random.default_rng(seed).normal(size=(50, 768)))
    found = cluster(noise, 2, 10, seed=0)
    assert not found.structure
    assert found.gap < ELBOW_GAP and found.stability < 0.6
    assert np.bincount(found.labels).min() >= 2
    assert 2 <= found.k <= 10


def test_largest_cluster_is_first_and_the_same_seed_gives_the_same_labels() -> None:
    vectors, _ = groups(3)
    vectors = np.concatenate([vectors, np.tile(vectors[1], (5, 1))])
    found = cluster(vectors, 2, 10, seed=7)
    sizes = np.bincount(found.labels)
    assert list(sizes) == sorted(sizes, reverse=True) and found.labels[1] == 0
    assert cluster(vectors, 2, 10, seed=7) == found


def test_duplicates_are_no_clusters_of_their_own() -> None:
    points = np.repeat(np.eye(8)[:3], 10, axis=0)
    found = cluster(points, 2, 10, seed=0)
    assert found.k == 2  # at most distinct - 1
    assert cluster(points[:20], 2, 10, seed=0).k == 1  # two distinct points: one cluster, no elbow


@pytest.mark.parametrize("n", [0, 1, 3])
def test_too_few_points_are_one_cluster(n: int) -> None:
    found = cluster(np.eye(8)[:n], 2, 10, seed=0)
    assert (found.labels, found.k, found.structure) == ([0] * n, min(1, n), False)


def test_fewer_points_than_k_max() -> None:
    found = cluster(np.eye(8)[:5], 2, 10, seed=0)
    assert found.k <= 4 and len(found.labels) == 5
    assert found.first_k + len(found.inertias) - 1 == 4
    assert cluster(np.eye(8)[:4], 6, 10, seed=0).k == 3


def test_not_finite() -> None:
    with pytest.raises(ValueError, match="finite"):
        cluster(np.full((6, 4), np.nan), 2, 10, seed=0)


def test_a_rising_inertia_is_not_an_elbow() -> None:
    """k-means may end in a worse optimum for a larger k; the curve is made to fall before it is read."""
    inertias = {2: 10.0, 3: 10.4, 4: 4.0, 5: 4.6, 6: 3.9}
    labels = np.arange(12)
    fake = Algorithms(lambda v, k, seed: (labels % k, inertias[k]), lambda v, found: 0.0, lambda a, b: 1.0)
    found = choose_clusters(np.eye(12), 2, 6, fake, seed=0)
    assert found.k == 4
    assert all(a >= b for a, b in pairwise(found.inertias))


@pytest.mark.parametrize(
    ("curve", "size"),
    [([5.0] * 9, 0.0), (list(np.linspace(9, 1, 9)), 0.0), (list(10 - np.arange(9) ** 2 / 10), 0.0), ([3.0, 1.0], 0.0)],
    ids=["flat", "linear", "wrongly concave", "two points"],
)
def test_curves_without_elbow(curve: list[float], size: float) -> None:
    assert elbow(curve)[1] == pytest.approx(size, abs=1e-9)


def test_elbow_agrees_with_kneed() -> None:
    """Where kneed names a knee the chord names the same k with a gap above the threshold, and the reverse, nearly always."""
    rng = np.random.default_rng(0)
    both = same = answers = 0
    draws = 300
    for _ in range(draws):
        steps = np.sort(rng.exponential(size=8) ** rng.uniform(0.2, 3))[::-1]
        curve = 10 + np.concatenate([[0], -np.cumsum(steps)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            knee = KneeLocator(range(2, 11), curve, curve="convex", direction="decreasing").knee
        place, gap = elbow(curve)
        answers += (knee is not None) == (gap >= ELBOW_GAP)
        if knee is not None and gap >= ELBOW_GAP:
            both += 1
            same += place + 2 == knee
    assert both > draws / 4
    assert same / both >= 0.95
    assert answers / draws >= 0.9


def test_patterns_are_matched_closest_first_and_once() -> None:
    old = np.eye(3)
    new = unit(np.array([[0.9, 0.3, 0.0], [1.0, 0.1, 0.0], [0.0, 0.5, 0.5], [0.1, 0.0, 1.0]]))
    assert match_patterns(old, new, threshold=0.6) == [None, 0, 1, 2]
    assert match_patterns(old, new, threshold=0.8) == [None, 0, None, 2]
    assert match_patterns(old[:0], new) == [None] * 4
    assert match_patterns(old, new[:0]) == []


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [(None, 5, "new"), (8, 0, "fixed"), (8, 6, "shrinking"), (8, 7, "persistent"), (8, 12, "persistent"), (1, 1, "persistent")],
)
def test_trend(before: int | None, now: int, expected: str) -> None:
    assert trend(before, now) == expected
