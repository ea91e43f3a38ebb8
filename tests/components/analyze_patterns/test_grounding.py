"""Counts that ground a pattern, the features chosen from them and the seed rows ranked by them."""

import numpy as np

from pada_agent.components.analyze_patterns.grounding import (
    count_features,
    covering_features,
    grounded_vectors,
    rank_seeds,
    telling_features,
)

HAVING = {"HAVING", "GROUP BY", "COUNT"}
JOIN3 = {"JOIN of 3 tables", "WHERE"}
PASSED = [{"GROUP BY", "COUNT"}, {"WHERE"}, {"WHERE", "COUNT"}, {"ORDER BY"}]


def test_counts_put_the_most_telling_feature_first():
    counts = count_features([HAVING] * 4, PASSED)
    assert [(c.feature, c.failed, c.passed) for c in counts] == [("HAVING", 4, 0), ("GROUP BY", 4, 1), ("COUNT", 4, 2)]


def test_a_common_companion_is_not_telling_beside_the_feature_that_fails():
    failed = [HAVING] * 5
    telling = telling_features(failed, [{"GROUP BY", "COUNT"}] * 6 + PASSED)
    assert list(telling) == ["HAVING"]
    assert covering_features(failed, telling) == ["HAVING"]


def test_a_mixed_cluster_is_covered_by_one_feature_for_each_part():
    failed = [HAVING] * 5 + [JOIN3] * 4
    assert covering_features(failed, telling_features(failed, PASSED * 4)) == ["HAVING", "JOIN of 3 tables"]


def test_a_rarer_feature_that_always_fails_covers_before_a_common_one_that_often_passes():
    failed = [HAVING] * 4 + [{"GROUP BY", "SUM"}] * 4
    telling = telling_features(failed, [{"GROUP BY"}] * 5 + PASSED * 3)
    assert telling["GROUP BY"] > 0
    assert covering_features(failed, telling) == ["SUM", "HAVING"]


def test_features_that_fail_no_more_often_than_rows_at_large_tell_nothing():
    assert telling_features([{"WHERE"}, {"COUNT"}], [{"WHERE"}, {"COUNT"}]) == {}
    assert telling_features([set(), set()], []) == {}
    assert covering_features([set(), set()], {}) == []


def test_rows_that_need_the_same_lie_together_whatever_was_said_about_them():
    noise = np.random.default_rng(0).normal(size=(8, 50))
    text = noise / np.linalg.norm(noise, axis=1, keepdims=True)
    vectors = grounded_vectors(text, [HAVING, JOIN3] * 4, {"HAVING": 0.5, "JOIN of 3 tables": 0.4})
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    similarity = vectors @ vectors.T
    assert similarity[0, 2::2].min() > similarity[0, 1::2].max()
    plain = grounded_vectors(text, [HAVING, {"WHERE"}] * 4, {"HAVING": 0.5})
    similarity = plain @ plain.T
    assert np.allclose(np.linalg.norm(plain, axis=1), 1)
    assert similarity[1, 3::2].min() > similarity[1, 0::2].max(), "to need nothing telling is something in common"
    assert np.array_equal(grounded_vectors(text, [set()] * 8, {}), text), "without features the text alone decides"


def test_seeds_show_the_features_first_and_are_near_second():
    train = [{"WHERE"}, {"HAVING"}, {"HAVING"}, set()]
    similarity = np.array([0.9, 0.1, 0.5, 0.95])
    assert rank_seeds(["HAVING"], train, similarity) == [2, 1, 3, 0]
    assert rank_seeds([], train, similarity) == [3, 0, 2, 1]
