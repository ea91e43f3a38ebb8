"""Counts that ground a pattern, the features chosen from them and the seed rows ranked by them."""

import numpy as np

from pada_agent.components.analyze_patterns.grounding import (
    Grounds,
    count_features,
    covering_features,
    form_of,
    grounded_vectors,
    rank_seeds,
    telling_features,
)
from pada_agent.components.core.records import Analysis

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
    assert covering_features(failed, PASSED, telling) == ["HAVING"]


def test_a_mixed_cluster_is_covered_by_one_feature_for_each_part():
    failed = [HAVING] * 5 + [JOIN3] * 4
    assert covering_features(failed, PASSED * 4, telling_features(failed, PASSED * 4)) == ["HAVING", "JOIN of 3 tables"]


def test_a_rarer_feature_that_always_fails_covers_before_a_common_one_that_often_passes():
    failed = [HAVING] * 4 + [{"GROUP BY", "SUM"}] * 4
    passed = [{"GROUP BY"}] * 5 + PASSED * 3
    telling = telling_features(failed, passed)
    assert telling["GROUP BY"] > 0
    assert covering_features(failed, passed, telling) == ["SUM", "HAVING"]


def dossier(failed, others, passed):
    """Of the cluster `failed`, beside `others` that fail too."""
    members = [Analysis(row_id=str(i), root_cause="x", scenario="y", features=sorted(f)) for i, f in enumerate(failed)]
    return Grounds.of([*failed, *others], passed).dossier(members)


def test_the_sharper_contrast_covers_though_over_all_failures_the_other_is_more_telling():
    """As recorded: arithmetic in 5 of 5 failures and 3 of 60 right answers, SUM in 5 and 8; SUM fails elsewhere too."""
    inside = {"SUM", "arithmetic inside an aggregate"}
    others = [{"SUM"}] * 12 + [{"WHERE"}] * 30
    passed = [inside] * 3 + [{"SUM"}] * 5 + [{"WHERE"}] * 52
    found = dossier([inside] * 5, others, passed)
    assert found.features == ["arithmetic inside an aggregate"]
    assert [(c.feature, c.failed, c.passed) for c in found.counts] == [("arithmetic inside an aggregate", 5, 3), ("SUM", 5, 8)]
    telling = telling_features([inside] * 5 + others, passed)
    assert list(telling) == ["SUM"], "too few failures to tell by themselves"


def test_two_features_together_are_chosen_where_each_alone_is_mastered():
    both, passed = {"SUM", "JOIN"}, [{"SUM"}] * 6 + [{"JOIN"}] * 9 + [{"WHERE"}] * 30
    found = dossier([both] * 5, [], passed)
    assert found.features == ["JOIN with SUM"]
    assert [(c.feature, c.failed, c.passed) for c in found.counts[:2]] == [("JOIN with SUM", 5, 0), ("SUM", 5, 6)]
    assert dossier([both] * 5, [{"SUM"}] * 6, passed[6:]).features == ["SUM"], "the pair fails no more often than SUM alone"
    lucky = [both, both, {"SUM"}, {"SUM"}, {"JOIN"}]
    assert not any(" with " in f for f in telling_features(lucky, passed)), "two failures of two are luck"


def test_what_few_failures_of_a_cluster_show_is_not_its_aim():
    left_over = [HAVING, {"WHERE"}, {"WHERE"}, {"ORDER BY"}, {"ORDER BY"}]
    assert dossier(left_over, [HAVING] * 3, PASSED * 5).features == []


def test_features_that_fail_no_more_often_than_rows_at_large_tell_nothing():
    assert telling_features([{"WHERE"}, {"COUNT"}], [{"WHERE"}, {"COUNT"}]) == {}
    assert telling_features([set(), set()], []) == {}
    assert covering_features([set(), set()], [], {}) == []


def test_a_feature_that_the_model_masters_is_not_what_sets_a_cluster_apart():
    ordered = [{"ORDER BY"}] * 5
    assert dossier(ordered, [{"WHERE"}] * 40, [{"ORDER BY"}] * 10 + [{"WHERE"}] * 50).features == []


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


def test_pairs_draw_rows_together_too():
    text = np.eye(4)
    rows = [{"SUM", "JOIN"}, {"SUM"}, {"SUM", "JOIN"}, {"JOIN"}]
    similarity = (v := grounded_vectors(text, rows, {"SUM": 0.2, "JOIN": 0.2, "JOIN with SUM": 0.6})) @ v.T
    assert similarity[0, 2] > similarity[0, 1] and similarity[0, 2] > similarity[0, 3]


def seeds(features, train, similarity, forms=None):
    return rank_seeds(features, train, forms or [str(i) for i in range(len(train))], np.array(similarity))


def test_seeds_show_a_feature_and_the_nearest_are_first():
    train = [{"WHERE"}, {"HAVING"}, {"HAVING"}, set()]
    assert seeds(["HAVING"], train, [0.9, 0.1, 0.5, 0.95]) == [2, 1], "what does not fit the aim is no example of it"
    assert seeds([], train, [0.9, 0.1, 0.5, 0.95]) == [3, 0, 2, 1]
    assert seeds(["LIKE"], train, [0.9, 0.1, 0.5, 0.95]) == [3, 0, 2, 1], "without any that fits the nearest are all there is"
    assert seeds(["HAVING with SUM"], [{"SUM"}, {"HAVING", "SUM"}], [0.9, 0.1]) == [1]


def test_a_copy_but_for_its_values_comes_after_rows_of_other_forms():
    forms = ["stock of ?", "stock of ?", "stock of ?", "price of ?"]
    assert seeds(["WHERE"], [{"WHERE"}] * 4, [0.9, 0.8, 0.7, 0.1], forms) == [0, 3, 1, 2]


def test_each_feature_has_its_turn_among_the_first_seeds():
    train = [{"HAVING"}, {"HAVING"}, {"HAVING"}, {"JOIN"}, {"HAVING", "JOIN"}]
    assert seeds(["HAVING", "JOIN"], train, [0.9, 0.8, 0.7, 0.2, 0.1]) == [4, 0, 3, 1, 2]


def test_a_form_is_an_answer_without_its_values_or_the_question_where_that_is_short():
    one = form_of("Stock of Chai?", "SELECT stock FROM products WHERE id = 17 AND name = 'Chai'")
    assert one == form_of("How much is there?", "SELECT stock FROM products WHERE id = 8 AND name = 'It''s'")
    assert one != form_of("Price of Chai?", "SELECT price FROM products WHERE id = 17 AND name = 'Chai'")
    assert form_of("What are 3 times 4?", "12") == form_of("What are 13 times 4?", "52") != form_of("Add 3 and 4.", "7")
