"""Power against the numbers of known designs and against simulated studies."""

import numpy as np
import pytest
from scipy import stats
from study_worlds import scores, two_equal_methods

from pada_agent.components.core.statistics import mcnemar_exact
from pada_agent.pipelines.study.statistics.cells import compare_cells
from pada_agent.pipelines.study.statistics.crossed import Crossed
from pada_agent.pipelines.study.statistics.power import Noise, design_power, mcnemar_power, pooled, seeds_and_rows_for


@pytest.mark.parametrize(
    ("rows", "discordance", "points"),
    [(500, 0.1, 4.5), (500, 0.2, 6.0), (500, 0.3, 7.5), (1319, 0.1, 2.5), (1319, 0.2, 4.0), (1319, 0.3, 4.5)],
)
def test_what_one_run_can_show(rows: int, discordance: float, points: float) -> None:
    """Exact McNemar, 80 %: the published numbers are in steps of half a point."""
    found = 100 * design_power(rows, 1, Noise(discordance, None, 0.0, discordance))
    assert points - 0.5 < found <= points


@pytest.mark.parametrize(("rows", "discordance", "difference"), [(60, 0.3, 0.15), (500, 0.1, 0.04)])
def test_mcnemars_power_is_how_often_it_rejects(rows: int, discordance: float, difference: float) -> None:
    rng = np.random.default_rng(1)
    up, down = (discordance + difference) / 2, (discordance - difference) / 2
    studies = rng.multinomial(rows, [up, down, 1 - discordance], 4000)
    seen = np.mean([mcnemar_exact(int(gains), int(losses)) <= 0.05 for gains, losses, _ in studies])
    assert mcnemar_power(rows, discordance, difference) == pytest.approx(seen, abs=0.025)


def test_without_a_difference_mcnemar_keeps_its_level() -> None:
    assert 0.02 < mcnemar_power(500, 0.2, 0.0) <= 0.05


def test_more_rows_differ_than_the_difference() -> None:
    """Two models that differ in no row yet: what would be seen are rows that one of them alone gets right."""
    found = design_power(100, 1, Noise(0.0, None, 0.0, 0.0))
    assert 0.06 < found < 0.1 and mcnemar_power(100, 0.0, found) == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize(
    ("rows", "seeds", "noise"),
    [
        (300, 3, Noise(0.05, 0.0, 0.1, 0.15)),
        (300, 3, Noise(0.02, 0.02**2, 0.1, 0.12)),
        (500, 5, Noise(0.1, 0.01**2, 0.05, 0.15)),
        (200, 10, Noise(0.1, 0.03**2, 0.1, 0.2)),
    ],
)
def test_four_of_five_studies_show_what_the_design_can(rows: int, seeds: int, noise: Noise) -> None:
    assert noise.seeds is not None
    difference = design_power(rows, seeds, noise)
    rng, studies, seen = np.random.default_rng(2), 600, 0
    for _ in range(studies):
        table = (
            difference
            + rng.normal(0, noise.rows**0.5, rows)
            + rng.normal(0, noise.seeds**0.5, (seeds, 1))
            + rng.normal(0, noise.residual**0.5, (seeds, rows))
        )
        seen += Crossed(table, np.ones(rows)).estimate.p() <= 0.05
    assert seen / studies == pytest.approx(0.8, abs=0.07)


def test_noise_is_measured_as_it_is() -> None:
    """Means over 200 studies of the variance components, groups of two equal rows among them."""
    rng, found = np.random.default_rng(3), []
    for _ in range(200):
        table = rng.normal(0, 0.3, 100) + rng.normal(0, 0.05, (4, 1)) + rng.normal(0, 0.2, (4, 100))
        found.append(Noise.measured(Crossed(2 * table, np.full(100, 2.0)), 0.5))
    mean = pooled(found)
    assert mean.rows == pytest.approx(2 * 0.09, rel=0.1), "two equal rows are worth one"
    assert mean.residual == pytest.approx(2 * 0.04, rel=0.1)
    assert mean.seeds == pytest.approx(0.0025, rel=0.25)


def test_a_comparison_carries_its_noise_on() -> None:
    """From a small study to what a larger one would see, which then sees it."""
    rng = np.random.default_rng(4)
    pilot = []
    for _ in range(30):
        table = two_equal_methods(rng, 3, 200, runs=0.1, taste=0.3)
        pilot.append(compare_cells(scores((table > 0).astype(float)), scores((table < 0).astype(float))).noise)
    noise = pooled(pilot)
    reachable = design_power(500, 5, noise)
    means = [two_equal_methods(rng, 5, 500, runs=0.1, taste=0.3).mean() for _ in range(400)]
    assert reachable == pytest.approx(3.6 * float(np.std(means)), rel=0.25), "a t of about 10 degrees of freedom"


def test_how_many_seeds_and_rows() -> None:
    noise = Noise(0.03, 0.015**2, 0.12, 0.15)
    found = seeds_and_rows_for(noise, 0.03)
    assert found[3] is None, "runs differ too much for three"
    assert found[5] is not None and found[10] is not None and found[20] is not None
    assert found[5] > found[10] > found[20]
    for seeds in (5, 10, 20):
        rows = found[seeds] or 0
        assert design_power(rows, seeds, noise) <= 0.03 < design_power(rows - 1, seeds, noise)


def test_a_stricter_level_and_more_power_need_more() -> None:
    noise = Noise(0.05, 0.01**2, 0.1, 0.15)
    usual = design_power(500, 5, noise)
    assert design_power(500, 5, noise, alpha=0.05 / 12) > usual < design_power(500, 5, noise, power=0.9)
    many = Noise(0.05, 0.0, 0.0, 0.15)
    z = stats.norm.isf(0.025) + stats.norm.isf(0.2)
    assert design_power(100_000, 50, many) == pytest.approx(z * (0.05 / 100_000) ** 0.5, rel=1e-3), "normal in the end"


def test_what_cannot_be_said() -> None:
    with pytest.raises(ValueError, match="how much runs differ"):
        design_power(500, 3, Noise(0.1, None, 0.0, 0.1))
    with pytest.raises(ValueError, match="too few for any difference"):
        design_power(5, 1, Noise(0.1, None, 0.0, 0.1))
    with pytest.raises(ValueError, match="at least one seed"):
        design_power(500, 0, Noise(0.1, 0.0, 0.0, 0.1))
    with pytest.raises(ValueError, match="no comparison"):
        pooled([])


def test_one_run_of_graded_scores_sees_what_a_paired_t_test_would() -> None:
    """Grades that differ by 0.2 a row, give or take: McNemar has no say, and the simulated t tests reject as often as planned."""
    rng = np.random.default_rng(2)
    found = design_power(100, 1, Noise(0.04, None, 0.0, None))
    p = stats.ttest_1samp(rng.normal(found, 0.2, (4000, 100)), 0, axis=1).pvalue
    assert np.mean(p <= 0.05) == pytest.approx(0.8, abs=0.03)


def test_graded_scores_have_no_discordance() -> None:
    rows = {f"r{i}": i / 50 for i in range(50)}
    half = {row: score / 2 for row, score in rows.items()}
    graded = compare_cells({0: rows}, {0: half})
    assert graded.noise.discordance is None and pooled([graded.noise]).discordance is None
    assert graded.p == pytest.approx(2 / 10_000) and graded.difference.mean == pytest.approx(0.245)
    whole = compare_cells({0: {r: float(s > 0.3) for r, s in rows.items()}}, {0: {r: float(s > 0.5) for r, s in rows.items()}})
    assert whole.noise.discordance == pytest.approx(0.2)
