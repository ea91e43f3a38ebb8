"""Means of training runs that share their test rows: how sure they are on new rows and in new runs.

Scores of two seeds on four rows, and what varies in them:

    seed 0: r1 1  r2 0  r3 1  r4 1      some rows are hard for every run (rows), some runs are better on all rows (seeds),
    seed 1: r1 1  r2 0  r3 0  r4 1      the rest is chance (residual)

Rows are crossed with seeds, as cases are with readers in diagnostic studies, and the analysis is theirs: mean squares of seeds,
rows and residual, both seeds and rows random (Dorfman, Berbaum and Metz, Investigative Radiology 27, 1992; degrees of freedom
after Hillis, Statistics in Medicine 26, 2007). Rows of a group (a SQuAD article) are one unit (Miller, arXiv 2411.00640).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pada_agent.components.core.statistics import RESAMPLES, Interval

Scores = Mapping[int, Mapping[str, float]]  # seed -> row id -> score; the same rows for every seed
Groups = Mapping[str, str]  # row id -> group; a row without one, or with "", is a group of its own


@dataclass(frozen=True)
class Estimate:
    """A mean and the independent parts of its variance, each with its degrees of freedom."""

    mean: float
    parts: tuple[tuple[float, float], ...]

    @property
    def variance(self) -> float:
        """Variance of the mean."""
        return sum(variance for variance, _ in self.parts)

    @property
    def degrees(self) -> float:
        """Satterthwaite's degrees of freedom; infinite where nothing varies."""
        weight = sum(variance**2 / degrees for variance, degrees in self.parts)
        return self.variance**2 / weight if weight else math.inf

    def interval(self, confidence: float) -> Interval:
        """Student's interval."""
        half = float(stats.t.ppf(0.5 + confidence / 2, self.degrees)) * math.sqrt(self.variance)
        return Interval(self.mean, self.mean - half, self.mean + half)

    def p(self) -> float:
        """Two-sided p of the null that the mean is 0."""
        if not self.variance:
            return float(self.mean == 0)
        return float(2 * stats.t.sf(abs(self.mean) / math.sqrt(self.variance), self.degrees))


def average(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of independent estimates."""
    n = len(estimates)
    return Estimate(sum(e.mean for e in estimates) / n, tuple((v / n**2, df) for e in estimates for v, df in e.parts))


@dataclass(frozen=True)
class MeanSquares:
    """Of a table of seeds x groups, scaled so that the table's mean is the mean over rows. One seed: only `rows`."""

    seeds: float
    rows: float
    residual: float


@dataclass(frozen=True)
class Crossed:
    """`sums`: score added up over each group's rows, shape (seeds, groups). `sizes`: rows of each group, shape (groups,)."""

    sums: NDArray[np.float64]
    sizes: NDArray[np.float64]

    @staticmethod
    def of(scores: Scores, groups: Groups | None = None) -> "Crossed":
        """Raises ValueError if the seeds' rows differ, a score is no finite number, or there are fewer than two groups."""
        if not scores:
            raise ValueError("there is no seed")
        first, rows = next(iter(scores.items()))
        for seed, own in scores.items():
            if own.keys() != rows.keys():
                other = sorted(own.keys() ^ rows.keys())
                raise ValueError(
                    f"seeds {first} and {seed} were not scored on the same rows: {len(other)} differ, e.g. {other[0]}"
                )
        names = [(groups or {}).get(row) or f"row {row}" for row in rows]
        if len(set(names)) < 2:
            raise ValueError(
                f"{len(rows)} rows in {len(set(names))} groups: at least two groups are needed to see how much they vary"
            )
        _, unit = np.unique(names, return_inverse=True)
        values = np.array([[own[row] for row in rows] for own in scores.values()], dtype=float)
        if not np.isfinite(values).all():
            raise ValueError("a score is not a finite number")
        return Crossed(np.array([np.bincount(unit, own) for own in values]), np.bincount(unit).astype(float))

    @property
    def by_seed(self) -> NDArray[np.float64]:
        """Mean over rows, shape (seeds,)."""
        return np.asarray(self.sums.sum(axis=1) / self.sizes.sum())

    @property
    def mean_squares(self) -> MeanSquares:
        """Of deviations from the mean: sizes of groups are as much by chance as their scores (ratio estimator)."""
        seeds, groups = self.sums.shape
        values = (self.sums - self.sizes * self.by_seed.mean()) * groups / self.sizes.sum()
        of_seeds, of_groups = values.mean(axis=1), values.mean(axis=0)
        rows = seeds * float((of_groups**2).sum()) / (groups - 1)
        if seeds == 1:
            return MeanSquares(0.0, rows, 0.0)
        rest = values - of_seeds[:, None] - of_groups
        return MeanSquares(
            groups * float((of_seeds**2).sum()) / (seeds - 1), rows, float((rest**2).sum()) / ((seeds - 1) * (groups - 1))
        )

    @property
    def row_part(self) -> tuple[float, float]:
        """Variance of the mean that new rows would bring, beyond what shows between seeds, and its degrees of freedom."""
        seeds, groups = self.sums.shape
        squares = self.mean_squares
        return max(0.0, squares.rows - squares.residual) / (seeds * groups), groups - 1

    @property
    def estimate(self) -> Estimate:
        """The mean over seeds and rows. One seed: only rows vary, so it speaks of this run's model alone."""
        return Estimate(float(self.by_seed.mean()), (*seed_part(self.by_seed), self.row_part))


def seed_part(by_seed: Sequence[float] | NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    """Variance of the mean over seeds, with its degrees of freedom; none for one seed."""
    n = len(by_seed)
    return ((float(np.var(by_seed, ddof=1)) / n, n - 1),) if n > 1 else ()


def bootstrap(crossed: Crossed, confidence: float, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Percentile interval of the hierarchical bootstrap: seeds and groups of rows drawn anew, the same rows for all seeds.

    Owen's pigeonhole bootstrap (Annals of Applied Statistics 1, 2007). No bootstrap is exact for crossed data: this one is too
    wide where runs differ by chance only (the residual is counted three times), and too narrow where few runs differ much,
    since three seeds have no tails to draw from.
    """
    seeds, groups = crossed.sums.shape
    rng = np.random.default_rng(seed)
    rows = rng.multinomial(groups, np.full(groups, 1 / groups), resamples)
    runs = rng.multinomial(seeds, np.full(seeds, 1 / seeds), resamples)
    means = ((rows @ crossed.sums.T) * runs).sum(axis=1) / (rows @ crossed.sizes * seeds)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(crossed.by_seed.mean()), float(low), float(high))
