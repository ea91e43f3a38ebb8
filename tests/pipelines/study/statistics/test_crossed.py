"""Rows crossed with runs: against scipy where one does not vary, by hand where both do, by simulation for the level."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from study_worlds import scores, two_equal_methods

from pada_agent.components.core.statistics import hierarchical_bootstrap, mcnemar_exact
from pada_agent.pipelines.study.statistics.crossed import Crossed, Estimate, MeanSquares, average, bootstrap

TABLES = st.integers(2, 4).flatmap(
    lambda seeds: st.lists(st.lists(st.floats(-1, 1), min_size=seeds, max_size=seeds), min_size=2, max_size=8)
)


def test_mean_squares_by_hand() -> None:
    """Means: seeds 1 and 2, rows 1, 1 and 2.5; the rest is 0.5 or 0 off them."""
    table = Crossed.of(scores(np.array([[0.0, 1.0, 2.0], [2.0, 1.0, 3.0]])))
    assert table.mean_squares == MeanSquares(pytest.approx(1.5), pytest.approx(1.5), pytest.approx(0.5))
    found = table.estimate
    assert found.mean == 1.5
    assert found.parts == ((pytest.approx(1.5 / 6), 1), (pytest.approx((1.5 - 0.5) / 6), 2))
    assert found.degrees == pytest.approx((2.5 / 6) ** 2 / ((1.5 / 6) ** 2 + (1 / 6) ** 2 / 2))


@settings(deadline=None)
@given(TABLES, st.data())
def test_squares_add_up_to_all_there_is(columns: list[list[float]], data: st.DataObject) -> None:
    """Also where rows have groups: those of the scaled table."""
    values = np.array(columns).T
    groups = {f"r{i}": data.draw(st.sampled_from("abc")) for i in range(2, values.shape[1])} | {"r0": "a", "r1": "b"}
    table = Crossed.of(scores(values), groups)
    assert table.by_seed == pytest.approx(values.mean(axis=1))
    seeds, units = table.sums.shape
    scaled = (table.sums - table.sizes * values.mean()) * units / table.sizes.sum()
    squares = table.mean_squares
    added = squares.seeds * (seeds - 1) + squares.rows * (units - 1) + squares.residual * (seeds - 1) * (units - 1)
    assert added == pytest.approx(float((scaled**2).sum()), abs=1e-9)


def test_one_seed_is_students_test_over_rows() -> None:
    rows = np.random.default_rng(1).integers(-1, 2, (1, 40)).astype(float)
    found = Crossed.of(scores(rows)).estimate
    theirs = stats.ttest_1samp(rows[0], 0)
    assert found.p() == pytest.approx(theirs.pvalue)
    interval, expected = found.interval(0.9), theirs.confidence_interval(0.9)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_runs_that_differ_on_all_rows_alike_are_as_many_as_there_are_runs() -> None:
    gains = [0.01, 0.05, 0.03]
    found = Crossed.of(scores(np.repeat([gains], 500, axis=0).T)).estimate
    assert found.p() == pytest.approx(stats.ttest_1samp(gains, 0).pvalue)


def test_runs_that_all_answer_alike_are_worth_one() -> None:
    row = np.random.default_rng(2).integers(-1, 2, 60).astype(float)
    one, three = (Crossed.of(scores(np.repeat([row], n, axis=0))).estimate for n in (1, 3))
    assert three.p() == pytest.approx(one.p()) and three.variance == pytest.approx(one.variance)


def test_groups_are_millers_clustered_standard_error() -> None:
    rng = np.random.default_rng(3)
    rows, group = rng.normal(0.1, 1, 50), rng.integers(0, 12, 50)
    found = Crossed.of(scores(rows[None]), {f"r{i}": f"g{g}" for i, g in enumerate(group)}).estimate
    sums = [(rows[group == g] - rows.mean()).sum() for g in set(group)]
    miller = math.sqrt(sum(s * s for s in sums)) / 50
    assert math.sqrt(found.variance) == pytest.approx(miller * math.sqrt(len(sums) / (len(sums) - 1)))


def test_nothing_that_varies() -> None:
    assert Crossed.of(scores(np.zeros((3, 5)))).estimate.p() == 1
    assert Crossed.of(scores(np.ones((3, 5)))).estimate.p() == 0
    assert Estimate(0.2, ()).interval(0.95).high == 0.2


def test_an_average_is_welchs() -> None:
    rng = np.random.default_rng(4)
    one, other = rng.normal(0, 1, 9), rng.normal(0, 3, 15)
    both = average([Estimate(x.mean(), ((x.var(ddof=1) / len(x), len(x) - 1),)) for x in (one, -other)])
    assert both.p() == pytest.approx(stats.ttest_ind(one, other, equal_var=False).pvalue)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({}, "no seed"),
        ({0: {"a": 1.0, "b": 0.0}, 7: {"a": 1.0, "c": 0.0}}, r"seeds 0 and 7 .* 2 differ, e.g. b"),
        ({0: {"a": 1.0}}, "1 rows in 1 groups"),
        ({0: {"a": 1.0, "b": math.nan}}, "finite"),
    ],
)
def test_what_is_refused(bad: dict[int, dict[str, float]], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Crossed.of(bad)


def test_the_bootstrap_is_that_of_core() -> None:
    values = two_equal_methods(np.random.default_rng(5), 3, 150, runs=0.3, taste=0.5)
    groups = {f"r{i}": f"g{i * i % 40}" for i in range(150)}
    ours = bootstrap(Crossed.of(scores(values), groups), 0.9, resamples=8000)
    core = hierarchical_bootstrap(list(scores(values).values()), groups, 0.9, resamples=8000)
    assert ours.mean == pytest.approx(core.mean)
    assert (ours.low, ours.high) == pytest.approx((core.low, core.high), abs=0.005)


@pytest.mark.parametrize(
    ("seeds", "runs", "taste", "pooled", "rows_alone"),
    [(5, 0.0, 0.5, 0.12, 0.0), (3, 0.1, 0.0, 0.12, 0.12), (3, 0.1, 0.5, 0.14, 0.08), (5, 0.3, 0.0, 0.4, 0.4)],
)
def test_equal_methods_are_seldom_told_apart(seeds: int, runs: float, taste: float, pooled: float, rows_alone: float) -> None:
    """A level of 5 % is kept by the test over rows and runs, and by no other: `pooled` and `rows_alone` are what those exceed."""
    rng, wrong, studies = np.random.default_rng(6), np.zeros(3), 400
    for _ in range(studies):
        table = two_equal_methods(rng, seeds, 200, runs, taste)
        over_rows = table.sum(axis=0)
        one_seed = Crossed(over_rows[None], np.ones(200)).estimate.p()  # the sign flip's twin, and quicker
        together = mcnemar_exact(int((table > 0).sum()), int((table < 0).sum()))
        wrong += np.array([together, one_seed, Crossed(table, np.ones(200)).estimate.p()]) < 0.05
    shares = wrong / studies
    assert shares[0] > pooled and shares[1] >= rows_alone
    assert 0.02 < shares[2] < 0.1


@pytest.mark.parametrize(("seeds", "runs", "taste"), [(3, 0.0, 0.0), (3, 0.1, 0.5), (5, 0.3, 0.0)])
def test_intervals_hold_the_truth(seeds: int, runs: float, taste: float) -> None:
    """A true gain of 6 points or so."""
    rng, studies, held = np.random.default_rng(7), 400, 0
    truth = stats.norm.cdf(0.25 / math.hypot(1.5, taste, runs, 0.5)) - 0.5
    for _ in range(studies):
        found = Crossed(two_equal_methods(rng, seeds, 200, runs, taste, gain=0.25), np.ones(200)).estimate.interval(0.95)
        held += found.low <= truth <= found.high
    assert 0.9 < held / studies < 0.985


def test_rows_of_one_article_are_not_so_many() -> None:
    """60 groups of one to eight rows, liked by a method or not as a whole; two equal methods, three runs, 400 studies."""
    rng, wrong = np.random.default_rng(8), np.zeros(2)
    for _ in range(400):
        group = np.repeat(np.arange(60), rng.integers(1, 9, 60))
        table = np.sign(rng.normal(0, 1, 60)[group] + rng.normal(0, 0.5, len(group)) + rng.normal(0, 0.5, (3, len(group))))
        own = scores(table)
        names = {f"r{i}": f"g{g}" for i, g in enumerate(group)}
        wrong += [Crossed.of(own, g).estimate.p() < 0.05 for g in ({}, names)]
    assert wrong[0] / 400 > 0.12 and 0.02 < wrong[1] / 400 < 0.09
