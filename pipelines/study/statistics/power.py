"""What difference a design can see, and how many seeds and rows see a given one.

With 500 rows and one seed, of which 20 % differ between two models, exact McNemar at 5 % sees 6 points in four of five studies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from pada_agent.pipelines.study.statistics.crossed import Crossed, Estimate

MAX_ROWS = 1_000_000


@dataclass(frozen=True)
class Noise:
    """What makes a paired difference vary, as variances of shares.

    `rows`, of one row: what the method does to it in every run. `seeds`: how much better one run is on all rows; None when one
    seed was measured. `residual`, of one row in one run: the rest. `discordance`: the share of rows that differ in one run, None
    of graded scores, where how much they differ counts. Where rows have groups, `rows` and `residual` hold the design effect of
    groups as large as those measured.
    """

    rows: float
    seeds: float | None
    residual: float
    discordance: float | None

    @staticmethod
    def measured(differences: Crossed, discordance: float | None) -> "Noise":
        """Variance components by the method of moments; none is below 0."""
        seeds, groups = differences.sums.shape
        squares, size = differences.mean_squares, float(differences.sizes.mean())
        return Noise(
            rows=max(0.0, squares.rows - squares.residual) / seeds * size,
            seeds=max(0.0, squares.seeds - squares.residual) / groups if seeds > 1 else None,
            residual=squares.residual * size,
            discordance=discordance,
        )


def pooled(noises: Sequence[Noise]) -> Noise:
    """Several comparisons' noise in the mean: three seeds alone say little about how much runs differ. ValueError for none."""
    if not noises:
        raise ValueError("there is no comparison to take the noise from")
    seeds = [n.seeds for n in noises if n.seeds is not None]
    rows, residual = (float(np.mean([getattr(n, name) for n in noises])) for name in ("rows", "residual"))
    shares = [n.discordance for n in noises if n.discordance is not None]
    differing = float(np.mean(shares)) if len(shares) == len(noises) else None
    return Noise(rows, float(np.mean(seeds)) if seeds else None, residual, differing)


def mcnemar_power(rows: int, discordance: float, difference: float, alpha: float = 0.05) -> float:
    """Chance that exact McNemar's p is at most `alpha` where a share `discordance` of rows differs, at least `difference`."""
    discordance = max(discordance, difference)
    differing = np.arange(rows + 1)
    critical = stats.binom.ppf(alpha / 2, differing, 0.5)
    critical -= stats.binom.cdf(critical, differing, 0.5) > alpha / 2  # the most losses that are still significant
    gained = (1 + difference / discordance) / 2
    seen = stats.binom.cdf(critical, differing, 1 - gained) + stats.binom.cdf(critical, differing, gained)
    return float(stats.binom.pmf(differing, rows, discordance) @ seen)


def design_power(rows: int, seeds: int, noise: Noise, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest difference, as a share, that `seeds` runs on `rows` rows show at level `alpha` with the given power.

    Above 1 no difference is. For the first of m comparisons under Holm give alpha / m. One seed: exact McNemar, about these two
    models; of graded scores Student's t over rows. More: the test over rows and runs. Raises ValueError for less than one seed
    or two rows, or if how much runs differ is needed and was not measured.
    """
    if seeds < 1 or rows < 2:
        raise ValueError(f"{seeds} seeds on {rows} rows: at least one seed and two rows are needed")
    if seeds == 1 and noise.discordance is None:
        alone = Estimate(0.0, (((noise.rows + noise.residual) / rows, rows - 1),))
        return float(_noncentrality(alone.degrees, alpha, power) * np.sqrt(alone.variance))
    if seeds == 1:
        assert noise.discordance is not None
        if mcnemar_power(rows, 0.0, 1.0, alpha) < power:
            raise ValueError(f"{rows} rows are too few for any difference at level {alpha:g}")
        found: float = optimize.brentq(lambda d: mcnemar_power(rows, noise.discordance, d, alpha) - power, 1e-9, 1.0)
        return found
    if noise.seeds is None:
        raise ValueError("one seed does not tell how much runs differ; measure the noise with at least two")
    expected = Estimate(
        0.0,
        ((noise.seeds / seeds + noise.residual / (seeds * rows), seeds - 1), (noise.rows / rows, rows - 1)),
    )
    return float(_noncentrality(expected.degrees, alpha, power) * np.sqrt(expected.variance))


def _noncentrality(degrees: float, alpha: float, power: float) -> float:
    """How many standard errors off zero a mean must be for a two-sided t test to have this power."""
    degrees = min(degrees, 1e6)
    critical = stats.t.isf(alpha / 2, degrees)
    tail = (1 - power) / 2  # at `far` a test fails to reject only by one of two events, each of this chance
    far = critical * np.sqrt(stats.chi2.isf(tail, degrees) / degrees) + stats.norm.isf(tail)
    found: float = optimize.brentq(lambda nc: stats.nct.sf(critical, degrees, nc) - power, 0.0, far)
    return found


def seeds_and_rows_for(
    noise: Noise, difference: float = 0.03, seeds: Sequence[int] = (3, 5, 10, 20), alpha: float = 0.05, power: float = 0.8
) -> dict[int, int | None]:
    """For each number of seeds the least number of rows that shows `difference`; None where no number of rows does."""
    return {count: _least_rows(count, noise, difference, alpha, power) for count in seeds}


def _least_rows(seeds: int, noise: Noise, difference: float, alpha: float, power: float) -> int | None:
    low, high = 1, MAX_ROWS
    if design_power(high, seeds, noise, alpha, power) > difference:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if design_power(middle, seeds, noise, alpha, power) > difference:
            low = middle
        else:
            high = middle
    return high
