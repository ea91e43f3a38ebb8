"""Intervals and tests against scipy and against the numbers of known designs."""

import math
import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from pada_agent.components.core.records import Prediction, Score
from pada_agent.components.core.statistics import (
    ALL_WAYS,
    Interval,
    balanced_accuracy,
    detectable_difference,
    hierarchical_bootstrap,
    holm,
    mcnemar_exact,
    mean_interval,
    paired_bootstrap,
    paired_test,
    sign_flip_tails,
    summarise,
    wilson_interval,
)
from pada_agent.pipelines.study.statistics.power import mcnemar_power


def prediction(number: int, correct: bool, predicted: str = "", valid: bool = True, **extra: float) -> Prediction:
    score = Score(correct=correct, valid=valid, predicted=predicted, extra=extra)
    return Prediction(id=f"r{number}", split="test", prompt="", output="", reference="", score=score)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.9, 0.95, 0.99]))
def test_wilson_is_scipys(case: tuple[int, int], confidence: float) -> None:
    k, n = case
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    assert wilson_interval(k, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(125, 500, 21.4, 29.0), (150, 500, 26.1, 34.2), (300, 500, 55.6, 64.2), (3, 32, 3.2, 24.2), (6, 32, 8.9, 35.3)],
)
def test_wilson_of_known_designs(k: int, n: int, low: float, high: float) -> None:
    assert [round(100 * x, 1) for x in wilson_interval(k, n)] == [low, high]


@pytest.mark.parametrize("n", [4, 10])
@pytest.mark.parametrize(("good", "bad"), [(0.5, 0.5), (0.9, 0.1), (0.9, 0.9), (0.7, 0.95), (0.99, 0.6)])
def test_the_interval_of_balanced_accuracy_holds_what_it_should(n: int, good: float, bad: float) -> None:
    """Over all outcomes that can be, by their chance: it holds the truth about as often as it says."""
    covered = 0.0
    for a in range(n + 1):
        for b in range(n + 1):
            found = balanced_accuracy(a, n, b, n)
            assert 0 <= found.low <= found.mean <= found.high <= 1 and found.mean == pytest.approx((a + b) / (2 * n))
            chance = stats.binom.pmf(a, n, good) * stats.binom.pmf(b, n, bad)
            covered += chance * (found.low <= (good + bad) / 2 <= found.high)
    assert covered >= (0.87 if n == 4 else 0.93), "four cases of a kind give few outcomes"


@pytest.mark.parametrize("n", [4, 10])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.7, 0.95])
def test_one_who_guesses_is_seldom_taken_for_one_who_knows(n: int, share: float) -> None:
    """Good and bad are let in with the same chance."""
    chances = [[stats.binom.pmf(a, n, share) * stats.binom.pmf(n - b, n, share) for b in range(n + 1)] for a in range(n + 1)]
    taken = sum(c for a, row in enumerate(chances) for b, c in enumerate(row) if balanced_accuracy(a, n, b, n).low > 0.5)
    assert taken <= 0.045


def test_a_class_that_was_not_asked_about_is_not_known() -> None:
    found = balanced_accuracy(4, 4, 0, 0)
    assert found.mean == 0.75 and found.low < 0.5


def test_no_rows_no_knowledge() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_binomial_test(gains: int, losses: int) -> None:
    expected = stats.binomtest(gains, gains + losses).pvalue if gains + losses else 1.0
    assert mcnemar_exact(gains, losses) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("discordant", "points"), [(25, 2.2), (50, 3.2), (75, 3.8), (100, 4.4), (150, 5.2)])
def test_smallest_difference_500_rows_can_show(discordant: int, points: float) -> None:
    nets = range(discordant % 2, discordant + 1, 2)
    seen = next(net for net in nets if mcnemar_exact((discordant + net) // 2, (discordant - net) // 2) < 0.05)
    assert 100 * seen / 500 == pytest.approx(points)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_paired_test_without_groups_is_mcnemar(rows: list[tuple[bool, bool]]) -> None:
    before, after = ({str(i): row[side] for i, row in enumerate(rows)} for side in (0, 1))
    result = paired_test(before, after)
    assert result.p == pytest.approx(mcnemar_exact(result.gains, result.losses))
    expected = stats.binomtest(result.gains, n, alternative="greater").pvalue if (n := result.gains + result.losses) else 1.0
    assert result.p_better == pytest.approx(expected)


def test_paired_test_over_groups_is_scipys_permutation_test() -> None:
    rng = random.Random(3)
    before = {str(i): rng.random() < 0.5 for i in range(60)}
    after = {i: rng.random() < 0.65 for i in before}
    groups = {i: f"g{int(i) // 6}" for i in before}
    nets = [sum(after[i] - before[i] for i in before if groups[i] == g) for g in sorted(set(groups.values()))]
    expected = stats.permutation_test((nets,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="greater")
    assert paired_test(before, after, groups).p_better == pytest.approx(expected.pvalue)


@settings(deadline=None)
@given(st.lists(st.integers(-4, 4), max_size=9))
def test_whole_differences_are_flipped_in_all_ways(differences: list[int]) -> None:
    sums = [sum(s * d for s, d in zip(signs, differences, strict=True)) for signs in product((1, -1), repeat=len(differences))]
    above, below = (sum(x * side >= sum(differences) * side for x in sums) / len(sums) for side in (1, -1))
    assert sign_flip_tails(differences) == pytest.approx((above, below))
    assert sign_flip_tails([float(d) for d in differences]) == sign_flip_tails(differences)


@pytest.mark.parametrize("rows", [12, 16])
@pytest.mark.parametrize(("shift", "grouped"), [(0.0, False), (0.1, False), (0.1, True), (0.25, False)])
def test_graded_scores_are_permuted_in_all_ways_or_at_random(shift: float, grouped: bool, rows: int) -> None:
    """So few rows that scipy can go through all ways."""
    rng = np.random.default_rng(4)
    before = {str(i): rng.random() / 2 for i in range(rows)}
    after = {i: score + shift + 0.5 * rng.normal() / 2 for i, score in before.items()}
    groups = {i: f"g{int(i) // 2}" for i in before} if grouped else {}
    nets: dict[str, float] = {}
    for i, score in before.items():
        nets[groups.get(i, i)] = nets.get(groups.get(i, i), 0.0) + after[i] - score
    found = paired_test(before, after, groups)
    for p, side in ((found.p, "two-sided"), (found.p_better, "greater")):
        exact = stats.permutation_test(
            (list(nets.values()),), np.sum, permutation_type="samples", n_resamples=np.inf, alternative=side
        )
        assert p == pytest.approx(exact.pvalue, abs=0.02 if len(nets) > ALL_WAYS else 1e-9)
    assert found.difference == pytest.approx(np.mean(list(after.values())) - np.mean(list(before.values())))
    assert found.gains + found.losses == rows and found == paired_test(before, after, groups)


def test_equal_totals_are_equal_however_they_are_added_up() -> None:
    """Steps of 0.1, which no binary number is: three of eight ways come to the sum that was seen or its mirror image."""
    whole = [1, 1, 1, -1, 2, -2]
    assert sign_flip_tails([0.1 * d for d in whole]) == pytest.approx(sign_flip_tails(whole), abs=0.02)


def test_random_flips_are_never_surer_than_there_are_flips() -> None:
    before = dict.fromkeys(map(str, range(60)), 0.25)
    assert paired_test(before, dict.fromkeys(before, 0.75)).p == pytest.approx(2 / 10_000)
    assert paired_test(before, before).p == 1


def test_copies_of_a_row_in_one_group_are_no_evidence() -> None:
    before = {f"{g}-{i}": False for g in range(4) for i in range(20)}
    after = dict.fromkeys(before, True)
    assert paired_test(before, after).p < 1e-20
    assert paired_test(before, after, {row: row[0] for row in before}).p == pytest.approx(2 / 2**4)


def test_paired_test_refuses_other_rows() -> None:
    with pytest.raises(ValueError, match="same rows"):
        paired_test({"a": True}, {"b": True})


def test_paired_bootstrap_agrees_with_scipy() -> None:
    rng = np.random.default_rng(5)
    before = rng.random(300) < 0.6
    after = np.where(rng.random(300) < 0.8, before, rng.random(300) < 0.9)
    ours = paired_bootstrap(before.tolist(), after.tolist(), resamples=4000, seed=1)
    difference = after.astype(float) - before
    theirs = stats.bootstrap((difference,), np.mean, method="percentile", n_resamples=4000, rng=2).confidence_interval
    assert ours.mean == pytest.approx(difference.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.006)
    assert ours == paired_bootstrap(before.tolist(), after.tolist(), resamples=4000, seed=1)


def test_grouped_rows_widen_the_interval() -> None:
    before = [0.0] * 200
    after = [float(i // 20 % 2) for i in range(200)]
    alone, grouped = (paired_bootstrap(before, after, g) for g in ([], [str(i // 20) for i in range(200)]))
    assert grouped.high - grouped.low > 3 * (alone.high - alone.low)


def test_seeds_that_disagree_widen_the_interval() -> None:
    rows = [str(i) for i in range(200)]
    agree = [{r: float(int(r) % 10 == 0) for r in rows}] * 4
    disagree = [dict.fromkeys(rows, share) for share in (0.0, 0.05, 0.15, 0.2)]
    same, other = hierarchical_bootstrap(agree), hierarchical_bootstrap(disagree)
    assert same.mean == pytest.approx(0.1) and other.mean == pytest.approx(0.1)
    assert other.high - other.low > 0.08
    # Four copies of one seed are worth one seed, not four times the rows.
    assert same.high - same.low == pytest.approx(0.083, abs=0.012)


def test_bootstrap_without_rows() -> None:
    assert hierarchical_bootstrap([]) == Interval(0.0, 0.0, 0.0) == paired_bootstrap([], [])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for alpha in (0.01, 0.05, 0.3):
        rejected = 0
        for rank, p in enumerate(sorted(p_values)):
            if (len(p_values) - rank) * p > alpha:
                break
            rejected += 1
        assert sum(p <= alpha for p in adjusted) == rejected


def test_holm_keeps_order() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


def test_summary_of_a_split() -> None:
    rows = [prediction(i, i < 6, "AB"[i % 2], valid=True, flexible=i < 7) for i in range(8)]
    metrics = summarise([*rows, prediction(8, False, valid=False), prediction(9, False, valid=False)])
    assert (metrics.n, metrics.correct, metrics.accuracy, metrics.invalid) == (10, 6, 0.6, 2)
    assert (metrics.low, metrics.high) == wilson_interval(6, 10)
    assert metrics.histogram == {"A": 4, "B": 4}
    assert metrics.extra == {"flexible": 0.7}
    assert not metrics.collapsed and metrics.invalid_share == 0.2


def test_secondary_metrics_may_be_graded() -> None:
    rows = [prediction(0, True, f1=1.0), prediction(1, False, f1=0.25), prediction(2, False, valid=False)]
    assert summarise(rows).extra == {"f1": pytest.approx(1.25 / 3)}
    stored = Prediction.model_validate_json(rows[1].model_dump_json())
    assert stored.score.extra == {"f1": 0.25}
    for share in (-0.1, 1.1):
        with pytest.raises(ValidationError, match="extra"):
            prediction(3, False, f1=share)


@pytest.mark.parametrize(
    ("answers", "right", "collapsed"),
    [("A" * 95 + "B" * 5, 25, True), ("A" * 80 + "B" * 20, 25, False), ("A" * 95 + "B" * 5, 95, False), ("A" * 9, 0, False)],
)
def test_collapse(answers: str, right: int, collapsed: bool) -> None:
    metrics = summarise([prediction(i, i < right, letter) for i, letter in enumerate(answers)])
    assert metrics.collapsed is collapsed


def test_summary_of_nothing() -> None:
    metrics = summarise([])
    assert (metrics.n, metrics.accuracy, metrics.low, metrics.high, metrics.collapsed) == (0, 0.0, 0.0, 1.0, False)


def test_three_graded_rows_by_hand() -> None:
    """Of the eight ways to give +0.5, +0.25 and -0.125 their signs two add up to 0.625 or more."""
    before, after = {"a": 0.0, "b": 0.5, "c": 1.0}, {"a": 0.5, "b": 0.75, "c": 0.875}
    found = paired_test(before, after)
    assert (found.p_better, found.p, found.gains, found.losses) == (2 / 8, 4 / 8, 2, 1)
    assert found.difference == pytest.approx(0.625 / 3)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12))
def test_swapping_two_models_mirrors_their_comparison(rows: list[tuple[float, float]]) -> None:
    before, after = ({str(i): row[side] for i, row in enumerate(rows)} for side in (0, 1))
    one, other = paired_test(before, after), paired_test(after, before)
    assert one.p == pytest.approx(other.p) and one.difference == pytest.approx(-other.difference)
    assert (one.gains, one.losses) == (other.losses, other.gains) and 0 < one.p_better <= 1


def test_the_bootstrap_of_graded_scores_is_scipys() -> None:
    rng = np.random.default_rng(8)
    before = rng.random(80)
    after = np.clip(before + rng.normal(0.05, 0.2, 80), 0, 1)
    found = paired_bootstrap(before.tolist(), after.tolist())
    expected = stats.bootstrap((after - before,), np.mean, method="percentile", n_resamples=9999, rng=1).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.01)
    assert found.mean == pytest.approx(float(np.mean(after - before)))


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_the_interval_of_rights_and_wrongs_is_wilsons(right: list[bool]) -> None:
    rows = [f"r{i}" for i in range(len(right))]
    found = mean_interval([float(r) for r in right], rows)
    assert (found.low, found.high) == pytest.approx(wilson_interval(sum(right), len(right)), abs=1e-9)


def test_the_interval_of_a_mean_grade_holds_the_truth_as_often_as_it_says() -> None:
    """Grades of a triangle between 0 and 1, mean a third, drawn anew 400 times; ten equal rows a group make it wider."""
    rng, rows = np.random.default_rng(5), [f"r{i}" for i in range(60)]
    found = [mean_interval(rng.triangular(0, 0, 1, 60).tolist(), rows) for _ in range(400)]
    assert 0.92 <= np.mean([i.low <= 1 / 3 <= i.high for i in found]) <= 0.98
    few = rng.random(6).repeat(10).tolist()
    grouped = mean_interval(few, [f"g{i // 10}" for i in range(60)])
    alone = mean_interval(few, rows)
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)
    ends = mean_interval([1.0] * 60, rows)
    assert ends.high == 1 and ends.low < 0.95


def test_a_graded_split_is_measured_by_its_mean() -> None:
    grades = [0.9, 0.2, 0.6, 0.0]
    scores = [Score(correct=g >= 0.5, valid=True, grade=g) for g in grades]
    rows = [Prediction(id=str(i), split="test", prompt="", output="", reference="", score=s) for i, s in enumerate(scores)]
    found = summarise(rows)
    assert (found.accuracy, found.correct, found.measure) == (0.5, 2, "mean score")
    assert found.main == found.grade and found.main.mean == pytest.approx(0.425)
    assert found.main.low < 0.425 < found.main.high
    plain = summarise([prediction(0, True), prediction(1, False)])
    assert plain.grade is None and plain.measure == "accuracy" and plain.main == Interval(plain.accuracy, plain.low, plain.high)


@pytest.mark.parametrize("rows", [20, 60, 200, 1000])
def test_the_least_difference_that_a_test_shows(rows: int) -> None:
    """Against the power that studies are planned by, where how many rows differ is drawn too."""
    least = detectable_difference(rows)
    assert 0 < least < detectable_difference(rows // 2)
    assert mcnemar_power(rows, max(0.2, least), least) == pytest.approx(0.8, abs=0.001)


def test_a_few_rows_show_nothing() -> None:
    assert math.isinf(detectable_difference(5))
    assert detectable_difference(6) < 1
