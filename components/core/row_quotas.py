"""How many synthetic rows an iteration may write, and for which strategy."""

import math
from dataclasses import dataclass

from pada_agent.components.core.settings import GenerateSettings


@dataclass(frozen=True)
class Allocation:
    """Rows one iteration may write: for each strategy, and around training errors."""

    per_strategy: list[int]
    error_rows: int

    @property
    def total(self) -> int:
        """All rows of the iteration."""
        return sum(self.per_strategy) + self.error_rows


def iteration_rows(generate: GenerateSettings, train_rows: int, iteration: int, iterations: int) -> int:
    """Synthetic rows of one iteration (from 1): `share` of the training rows, of which `total` gives each iteration its part.

    Raises ValueError for an iteration outside 1..iterations.
    """
    if not 1 <= iteration <= iterations:
        raise ValueError(f"iteration {iteration} is not within 1..{iterations}")
    rows = _rounded(generate.share * train_rows)
    return rows if generate.scope == "per_iteration" else even_split(rows, iterations)[iteration - 1]


def allocation(
    generate: GenerateSettings, train_rows: int, iteration: int, iterations: int, patterns: int, errors: int
) -> Allocation:
    """How the rows of an iteration spread: `pattern_share` of them evenly over `patterns` strategies, the rest on errors.

    Without patterns all go to the errors, without errors all to the patterns, without both there are none. What has a share of
    none gets none, whatever there is of the other.
    """
    rows = iteration_rows(generate, train_rows, iteration, iterations)
    on_patterns, on_errors = bool(patterns) and generate.pattern_share > 0, bool(errors) and generate.pattern_share < 1
    if not on_patterns:
        return Allocation([0] * patterns, rows if on_errors else 0)
    pattern_rows = _rounded(rows * generate.pattern_share) if on_errors else rows
    return Allocation(even_split(pattern_rows, patterns), rows - pattern_rows)


def even_split(rows: int, parts: int) -> list[int]:
    """`rows` over `parts` as evenly as possible, the remainder to the first ones."""
    each, left = divmod(rows, parts)
    return [each + (i < left) for i in range(parts)]


def _rounded(value: float) -> int:
    """Half up, not to even: 2.5 and 3.5 rows must not round in opposite directions."""
    return math.floor(value + 0.5)
