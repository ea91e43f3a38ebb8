"""A cell's summary and two cells compared, against scipy's tests and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from study_worlds import scores, two_equal_methods

from pada_agent.components.core.statistics import holm, paired_test, wilson_interval
from pada_agent.pipelines.study.statistics.cells import compare_cells, holm_over, summarise_cell

OUTCOMES = st.integers(1, 3).flatmap(
    lambda seeds: st.lists(
        st.lists(st.tuples(st.booleans(), st.booleans()), min_size=seeds, max_size=seeds), min_size=2, max_size=9
    )
)


def sides(rows: list[list[tuple[bool, bool]]]) -> tuple[dict[int, dict[str, float]], dict[int, dict[str, float]]]:
    table = np.array(rows, dtype=float)  # rows, seeds, side
    return scores(table[:, :, 1].T), scores(table[:, :, 0].T)


@settings(max_examples=50, deadline=None)  # a slow machine is no error
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=40))
def test_one_seed_is_mcnemars_test_and_speaks_of_two_models(rows: list[tuple[bool, bool]]) -> None:
    found = compare_cells(*sides([[row] for row in rows]))
    gains, losses = sum(a > b for b, a in rows), sum(a < b for b, a in rows)
    expected = stats.binomtest(gains, gains + losses).pvalue if gains + losses else 1.0
    assert found.p == pytest.approx(expected) == found.p_rows == found.p_by_seed[0]
    assert found.p_runs is None
    assert found.noise.discordance == pytest.approx((gains + losses) / len(rows))


@settings(max_examples=50, deadline=None)
@given(OUTCOMES, st.booleans())
def test_rows_are_flipped_with_all_their_seeds(rows: list[list[tuple[bool, bool]]], grouped: bool) -> None:
    method, baseline = sides(rows)
    groups = {row: f"g{min(i // 2, 3)}" for i, row in enumerate(method[0])} if grouped and len(rows) > 2 else {}
    found = compare_cells(method, baseline, groups)
    sums: dict[str, float] = {}
    for row in method[0]:
        unit = groups.get(row, row)
        sums[unit] = sums.get(unit, 0) + sum(method[s][row] - baseline[s][row] for s in method)
    exact = stats.permutation_test((list(sums.values()),), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert found.p_rows == pytest.approx(exact.pvalue)
    assert found.p == max(found.p_rows, found.p_runs or 0)
    assert found.p_by_seed == {s: paired_test(baseline[s], method[s], groups).p for s in method}


def test_three_seeds_that_agree_are_no_more_than_one() -> None:
    method, baseline = np.array([1.0] * 12 + [0.0] * 8 + [1.0] * 20), np.array([0.0] * 12 + [1.0] * 3 + [0.0] * 5 + [1.0] * 20)
    one = compare_cells(scores(method[None]), scores(baseline[None]))
    three = compare_cells(scores(np.repeat([method], 3, axis=0)), scores(np.repeat([baseline], 3, axis=0)))
    assert one.p == pytest.approx(stats.binomtest(12, 15).pvalue) == three.p_rows == three.p
    assert stats.binomtest(36, 45).pvalue < 1e-4, "what pooling would have made of it"
    assert three.difference.low == pytest.approx(one.difference.low)


def test_a_gain_smaller_than_runs_differ_is_none() -> None:
    """Rows alone would be sure: 40 of 400 rows gained. But one run of three gained them all."""
    method = np.zeros((3, 400))
    method[0, :100], method[1, :15], method[2, :5] = 1, 1, 1
    found = compare_cells(scores(method), scores(np.zeros((3, 400))))
    assert found.difference.mean == pytest.approx(0.1)
    assert found.p_rows < 1e-6 and found.p_runs is not None and found.p == found.p_runs > 0.2
    assert found.difference.low < 0 < found.bootstrap.low, "the bootstrap has no tails to draw from"
    assert found.p_by_seed[2] == pytest.approx(2 / 2**5)


def test_runs_that_happen_to_be_equal_are_not_sure() -> None:
    """Both runs gain ten rows of 200, other ones: they differ by nothing, and their rows still do."""
    method = np.zeros((2, 200))
    method[0, :10], method[1, 10:20] = 1, 1
    found = compare_cells(scores(method), scores(np.zeros((2, 200)))).difference
    assert found.mean == pytest.approx(0.05)
    of_rows = method.mean(axis=0)
    half = stats.t.ppf(0.975, 199) * of_rows.std(ddof=1) / np.sqrt(200)
    assert (found.low, found.high) == pytest.approx((0.05 - half, 0.05 + half))


def test_a_few_rows_need_the_exact_test() -> None:
    """Five rows that every run gains: Student's test takes them for certain, and they are 1 in 16."""
    method = np.zeros((3, 300))
    method[:, :5] = 1
    found = compare_cells(scores(method), scores(np.zeros((3, 300))))
    assert found.p_runs is not None and found.p_runs < 0.05
    assert found.p == found.p_rows == pytest.approx(2 / 2**5)


def test_a_true_gain_is_seen() -> None:
    table = two_equal_methods(np.random.default_rng(8), 4, 500, runs=0.05, gain=0.5)
    found = compare_cells(scores((table > 0).astype(float)), scores((table < 0).astype(float)))
    assert found.p < 0.001 and found.difference.low > 0.04
    assert found.difference.mean == pytest.approx(table.mean()) == found.bootstrap.mean


def test_graded_scores_are_flipped_at_random() -> None:
    rng = np.random.default_rng(9)
    before = rng.random((2, 40))
    after = np.clip(before + rng.normal(0.01, 0.15, (2, 40)), 0, 1)
    found = compare_cells(scores(after), scores(before))
    theirs = stats.permutation_test(
        ((after - before).sum(axis=0),), np.sum, permutation_type="samples", n_resamples=20_000, rng=1
    )
    assert found.p_rows == pytest.approx(theirs.pvalue, abs=0.015) and 0.02 < found.p_rows < 0.5
    assert found.difference.mean == pytest.approx(float((after - before).mean()))


def test_seeds_are_paired_by_their_number() -> None:
    method, baseline = (scores(np.eye(4)[list(order)]) for order in ((0, 1, 2), (0, 1, 2)))
    assert compare_cells(method, {1: baseline[1], 2: baseline[2], 9: baseline[0]}).seeds == (1, 2)
    assert compare_cells(method, baseline).difference.mean == 0
    assert compare_cells(method, baseline).p == 1
    with pytest.raises(ValueError, match=r"no seed in common: \[0\] and \[1\]"):
        compare_cells({0: method[0]}, {1: baseline[1]})
    with pytest.raises(ValueError, match=r"seed 1: .* 1 differ, e.g. extra"):
        compare_cells(method, {**baseline, 1: {**baseline[1], "extra": 1.0}})


def test_a_difference_is_never_beyond_all_rows() -> None:
    some, none = scores(np.array([[1.0, 1, 1, 0], [0, 1, 0, 0]])), scores(np.zeros((2, 4)))
    assert compare_cells(some, none).difference.high == 1.0
    assert compare_cells(none, some).difference.low == -1.0


def test_a_cell() -> None:
    found = summarise_cell(scores(np.array([[1.0, 1, 0, 0, 1], [1, 0, 0, 0, 0], [1, 1, 0, 0, 0]])))
    assert found.by_seed == pytest.approx({0: 0.6, 1: 0.2, 2: 0.4})
    assert found.mean.mean == pytest.approx(0.4) and found.sd == pytest.approx(0.2) and found.rows == 5
    assert 0 < found.mean.low < 0.2 and 0.6 < found.mean.high < 1


def test_a_cell_of_one_seed_has_wilsons_interval() -> None:
    found = summarise_cell(scores(np.array([[1.0] * 60 + [0.0] * 140])))
    assert found.sd is None
    assert (found.mean.low, found.mean.high) == pytest.approx(wilson_interval(60, 200), abs=0.002)


@pytest.mark.parametrize("answer", [0.0, 1.0])
def test_a_cell_at_the_end_of_the_scale_is_not_certain(answer: float) -> None:
    found = summarise_cell(scores(np.full((3, 100), answer)), groups={f"r{i}": f"g{i // 2}" for i in range(100)})
    assert (found.mean.low, found.mean.high) == pytest.approx(wilson_interval(50 * answer, 50)), "50 groups, not 300 answers"


def test_cells_hold_their_mean() -> None:
    """95 % intervals of a method's accuracy over new runs and rows, in 400 studies: three runs, which differ by 12 points."""
    rng, held = np.random.default_rng(10), 0
    truth = stats.norm.cdf(0.8 / np.sqrt(1.5**2 + 0.6**2 + 0.5**2))
    for _ in range(400):
        ease = rng.normal(0.8, 1.5, 100) + rng.normal(0, 0.6, (3, 1)) + rng.normal(0, 0.5, (3, 100))
        found = summarise_cell(scores((ease > 0).astype(float))).mean
        held += found.low <= truth <= found.high
    assert 0.9 < held / 400 < 0.99


def test_the_family_is_all_that_is_compared() -> None:
    gained = {"one": 12, "two": 6, "none": 0}
    found = {}
    for name, count in gained.items():
        found["gsm8k", name] = compare_cells(scores(np.array([[1.0] * count + [0.0] * 30])), scores(np.zeros((1, 30 + count))))
    raw = [2 / 2**12, 2 / 2**6, 1.0]
    assert holm_over(found) == pytest.approx(dict(zip(found, holm(raw), strict=True)))
    assert holm_over(found)["gsm8k", "two"] == pytest.approx(2 * 2 / 2**6)
