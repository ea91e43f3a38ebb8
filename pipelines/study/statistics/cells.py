"""One cell of a study (a task, a regime, a method) and two of them compared.

A comparison over three seeds and 200 rows:

    difference +3.2 points, 95 % interval -0.4 to +6.8; p = 0.07 (rows alone 0.01; seed by seed 0.03, 0.21, 0.40)

**Which test, and why.** Three are at hand, and the first is never used:

1. McNemar's on all seeds' rows pooled takes a row that three runs get right for three rows. Where a method helps on certain
   rows it calls two equal methods different in 10 to 23 % of studies of three seeds, and in 16 to 34 % of five, instead of 5 %.
2. `p_rows`: the seeds' differences are added up row by row (group by group where rows have groups), and the sign of each sum is
   flipped, all ways. It is exact, keeps its level however the seeds' answers hang together, and with one seed it is McNemar's.
   But it speaks of *these trained models* on new rows. Train the same recipe again and it comes out a point or two better or
   worse, so two equal methods do differ as models: where runs differ by 3 to 4 points it calls them different in 9 to 23 % of
   studies, and more rows make it worse.
3. `p_runs`: Student's t with both rows and runs random (`crossed`). It speaks of *the method*: new rows and new runs. It errs
   in 5 to 8 % of studies with three seeds (10 % where runs differ by 6 points and rows by as much), 4 to 7 % with five. But it
   leans on normality, which a handful of changed rows does not have.

`p` is the greater of 2 and 3: a method wins only if these models win on rows, and by more than runs differ. It errs in 2 to 7 %
(9 % in that worst case). With one seed there is no `p_runs`; `p` is then McNemar's and speaks of two models. `p_by_seed` is
McNemar's test of each seed alone (by groups), to be shown beside it, never chosen from. For graded scores the same signs are
flipped, at random where there are many (`core.statistics`): a permutation test in McNemar's place.

**Which interval.** `difference` holds that of 3 and Student's over rows alone, as `p` is the greater of two: runs that happen to
be equal would else look sure. `bootstrap`, hierarchical over seeds and rows, is given beside it: with three seeds it misses the
truth in 0 to 18 % of studies instead of 5 %.

The shares are of simulated studies of 200 rows; a few of them are in the tests.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TypeVar

import numpy as np
from scipy import stats

from pada_agent.components.core.statistics import Interval, holm, paired_test, wilson_interval
from pada_agent.pipelines.study.statistics.crossed import Crossed, Groups, Scores, bootstrap
from pada_agent.pipelines.study.statistics.power import Noise

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Cell:
    """Scores are shares, 0 to 1. `mean` is over seeds; `sd` between seeds, None for one; `by_seed` each seed's mean."""

    rows: int
    mean: Interval
    sd: float | None
    by_seed: dict[int, float]


@dataclass(frozen=True)
class Comparison:
    """A method minus its baseline, paired by seed and row, as shares. The module says what each p and interval means."""

    rows: int
    seeds: tuple[int, ...]
    difference: Interval
    bootstrap: Interval
    p: float
    p_rows: float
    p_runs: float | None
    p_by_seed: dict[int, float]
    noise: Noise


def summarise_cell(outcomes: Scores, confidence: float = 0.95, groups: Groups | None = None) -> Cell:
    """Mean and spread of one cell. Raises ValueError if the seeds' rows differ.

    The interval is Wilson's for the number of independent rows that would be as sure (Korn and Graubard 1998), so that it has a
    width at 0 and at 1 too.
    """
    table = Crossed.of(outcomes, groups)
    by_seed = {seed: fmean(own.values()) for seed, own in outcomes.items()}
    found, mean, effective = table.estimate, fmean(by_seed.values()), float(len(table.sizes))
    if found.variance and 0 < mean < 1:
        few = (stats.norm.ppf(0.5 + confidence / 2) / stats.t.ppf(0.5 + confidence / 2, found.degrees)) ** 2
        effective = float(few) * mean * (1 - mean) / found.variance
    low, high = wilson_interval(mean * effective, effective, confidence)
    spread = stdev(by_seed.values()) if len(by_seed) > 1 else None
    return Cell(int(table.sizes.sum()), Interval(mean, low, high), spread, by_seed)


def compare_cells(outcomes: Scores, baseline: Scores, groups: Groups | None = None, confidence: float = 0.95) -> Comparison:
    """`outcomes` minus `baseline`. Raises ValueError as `difference` and `Crossed.of`.

    A baseline that does not depend on the seed, such as the untuned model, is given for each seed.
    """
    differences = difference(outcomes, baseline)
    seeds = list(differences)
    table = Crossed.of(differences, groups)
    found = table.estimate
    nothing = dict.fromkeys(differences[seeds[0]], 0.0)
    summed = {row: sum(differences[seed][row] for seed in seeds) for row in nothing}
    of_rows = Crossed.of({0: {row: total / len(seeds) for row, total in summed.items()}}, groups).estimate
    both = [estimate.interval(confidence) for estimate in (found, of_rows)]
    p_rows = paired_test(nothing, summed, groups).p
    p_runs = found.p() if len(seeds) > 1 else None
    return Comparison(
        rows=int(table.sizes.sum()),
        seeds=tuple(seeds),
        difference=Interval(found.mean, max(-1.0, min(i.low for i in both)), min(1.0, max(i.high for i in both))),
        bootstrap=bootstrap(table, confidence),
        p=max(p_rows, p_runs or 0.0),
        p_rows=p_rows,
        p_runs=p_runs,
        p_by_seed={seed: paired_test(nothing, differences[seed], groups).p for seed in seeds},
        noise=Noise.measured(table, _discordance(differences)),
    )


def _discordance(differences: Scores) -> float | None:
    """The share of rows that differ, in all runs; None of graded scores."""
    found = [d for own in differences.values() for d in own.values()]
    return None if any(d % 1 for d in found) else float(np.mean([d != 0 for d in found]))


def difference(scores: Scores, baseline: Scores) -> dict[int, dict[str, float]]:
    """Row by row, for each seed that both have. Raises ValueError if there is none, or the rows differ."""
    seeds = sorted(scores.keys() & baseline.keys())
    if not seeds:
        raise ValueError(f"no seed in common: {sorted(scores)} and {sorted(baseline)}")
    for seed in seeds:
        if other := sorted(scores[seed].keys() ^ baseline[seed].keys()):
            raise ValueError(f"seed {seed}: the two were not scored on the same rows: {len(other)} differ, e.g. {other[0]}")
    return {seed: {row: score - baseline[seed][row] for row, score in scores[seed].items()} for seed in seeds}


def holm_over(comparisons: Mapping[Key, Comparison]) -> dict[Key, float]:
    """Holm's adjusted `p` of each comparison; the family is all that are given, those that are no news included.

    Means over tasks (`across_tasks`) are another question, asked once for each regime and pair, and are no part of it.
    """
    return dict(zip(comparisons, holm([c.p for c in comparisons.values()]), strict=True))
