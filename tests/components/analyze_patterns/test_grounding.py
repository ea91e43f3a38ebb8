"""Counts that ground a pattern, the features chosen from them and the seed rows ranked by them."""

import numpy as np

from components.analyze_patterns.grounding import count_features, covering_features, rank_seeds

HAVING = {"HAVING", "GROUP BY", "COUNT"}
JOIN3 = {"JOIN of 3 tables", "WHERE"}
PASSED = [{"GROUP BY", "COUNT"}, {"WHERE"}, {"WHERE", "COUNT"}, {"ORDER BY"}]


def test_counts_put_the_most_telling_feature_first():
    counts = count_features([HAVING] * 4, PASSED)
    assert [(c.feature, c.failed, c.passed) for c in counts] == [("HAVING", 4, 0), ("GROUP BY", 4, 1), ("COUNT", 4, 2)]


def test_a_common_companion_is_not_chosen_beside_the_feature_that_fails():
    failed = [HAVING] * 5
    assert covering_features(failed, count_features(failed, PASSED), len(PASSED)) == ["HAVING"]


def test_a_mixed_cluster_is_covered_by_one_feature_for_each_part():
    failed = [HAVING] * 5 + [JOIN3] * 4
    assert covering_features(failed, count_features(failed, PASSED), len(PASSED)) == ["HAVING", "JOIN of 3 tables"]


def test_features_that_fail_no_more_often_than_they_pass_tell_nothing():
    failed = [{"WHERE"}, {"COUNT"}]
    assert covering_features(failed, count_features(failed, [{"WHERE"}, {"COUNT"}]), 2) == []
    assert covering_features([set(), set()], [], 2) == []


def test_seeds_show_the_features_first_and_are_near_second():
    train = [{"WHERE"}, {"HAVING"}, {"HAVING"}, set()]
    similarity = np.array([0.9, 0.1, 0.5, 0.95])
    assert rank_seeds(["HAVING"], train, similarity) == [2, 1, 3, 0]
    assert rank_seeds([], train, similarity) == [3, 0, 2, 1]
