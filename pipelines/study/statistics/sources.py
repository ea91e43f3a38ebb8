"""What runs differ by: writing the data anew or training anew, and how much validation flatters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from pada_agent.components.core.statistics import Interval
from pada_agent.pipelines.study.statistics.cells import difference
from pada_agent.pipelines.study.statistics.crossed import Crossed, Estimate, Groups, Scores, seed_part


@dataclass(frozen=True)
class Sources:
    """Standard deviations of a run's accuracy, as shares. None where the runs do not tell.

    `training`: between runs that share a pool of synthetic rows. `generation`: what pools add to it.
    """

    training: float | None
    generation: float | None


def split_variance(pools: Mapping[str, Sequence[float]]) -> Sources:
    """`pools`: for each pool of synthetic rows, the accuracies of the runs trained on it, all on the same test rows.

    One-way random effects by the method of moments; pools may have any number of runs. Three seeds of one pool and three pools of
    one seed give an order of magnitude, no more.
    """
    runs = {pool: list(own) for pool, own in pools.items() if len(own)}
    total, between = sum(map(len, runs.values())), len(runs) - 1
    within = total - len(runs)
    if within < 1:
        return Sources(None, None)
    noise = sum((x - fmean(own)) ** 2 for own in runs.values() for x in own) / within
    if between < 1:
        return Sources(noise**0.5, None)
    mean = sum(map(sum, runs.values())) / total
    square = sum(len(own) * (fmean(own) - mean) ** 2 for own in runs.values()) / between
    size = (total - sum(len(own) ** 2 for own in runs.values()) / total) / between
    return Sources(noise**0.5, max(0.0, (square - noise) / size) ** 0.5)


@dataclass(frozen=True)
class Gap:
    """Validation minus test accuracy after one iteration, as shares; `growth`: by how much more than after the first given.

    The two splits may differ in difficulty, which `gap` shows from the start on; `growth` is what steering by validation did.
    """

    gap: Interval
    growth: Interval | None


def validation_gaps(
    validation: Mapping[int, Scores],
    test: Mapping[int, Scores],
    groups: Groups | None = None,
    confidence: float = 0.95,
) -> dict[int, Gap]:
    """By iteration, the first one the start. Raises ValueError if iterations or, within one, seeds differ, or as `Crossed.of`."""
    if validation.keys() != test.keys():
        raise ValueError(f"iterations differ: validation has {sorted(validation)}, test {sorted(test)}")
    found: dict[int, Gap] = {}
    for iteration in sorted(validation):
        gap, growth = _gap(validation[iteration], test[iteration], groups).interval(confidence), None
        if (first := min(validation)) != iteration:
            changes = [difference(split[iteration], split[first]) for split in (validation, test)]
            growth = _gap(changes[0], changes[1], groups).interval(confidence)
        found[iteration] = Gap(gap, growth)
    return found


def _gap(validation: Scores, test: Scores, groups: Groups | None) -> Estimate:
    """The same runs on two sets of rows."""
    if validation.keys() != test.keys():
        raise ValueError(f"seeds differ: validation has {sorted(validation)}, test {sorted(test)}")
    one, other = (Crossed.of({seed: split[seed] for seed in sorted(validation)}, groups) for split in (validation, test))
    gaps = one.by_seed - other.by_seed
    return Estimate(float(np.mean(gaps)), (*seed_part(gaps), one.row_part, other.row_part))
