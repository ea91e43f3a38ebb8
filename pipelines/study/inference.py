"""The statistics of a study's comparisons. All that the tables take from `core.statistics` goes through here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pada_agent.components.core.statistics import hierarchical_bootstrap, holm, paired_test

Outcomes = Mapping[int, Mapping[str, bool]]  # seed -> row id -> right


@dataclass(frozen=True)
class Difference:
    """Mean difference in accuracy with its interval, shares; `p` is two-sided."""

    mean: float
    low: float
    high: float
    p: float


def compare_cells(outcomes: Outcomes, baseline: Outcomes, groups: Mapping[str, str], confidence: float) -> Difference:
    """`outcomes` minus `baseline`, both of the same seeds and rows.

    The interval is a bootstrap's over seeds and rows (by group). p is exact over the rows alone, given these seeds: all seeds'
    answers to the rows of a group are flipped together. With one seed and no groups it is McNemar's.
    """
    seeds = sorted(outcomes)
    pairs = {seed: {row: (baseline[seed][row], after) for row, after in outcomes[seed].items()} for seed in seeds}
    interval = hierarchical_bootstrap(
        [{row: float(after) - float(before) for row, (before, after) in pairs[seed].items()} for seed in seeds],
        groups,
        confidence,
    )
    together = {f"{seed}/{row}": pair for seed in seeds for row, pair in pairs[seed].items()}
    test = paired_test(
        {key: before for key, (before, _) in together.items()},
        {key: after for key, (_, after) in together.items()},
        {f"{seed}/{row}": groups.get(row) or f"row {row}" for seed in seeds for row in pairs[seed]},
    )
    return Difference(interval.mean, interval.low, interval.high, test.p)


def adjusted(p_values: Sequence[float]) -> list[float]:
    """p values corrected for their number (Holm), in the order given."""
    return holm(p_values)
