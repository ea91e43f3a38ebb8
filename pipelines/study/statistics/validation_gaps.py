"""How much validation, which steers what is written, flatters."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pada_agent.components.core.statistics import Interval
from pada_agent.pipelines.study.statistics.cells import difference
from pada_agent.pipelines.study.statistics.crossed import Crossed, Estimate, Groups, Scores, seed_part


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
