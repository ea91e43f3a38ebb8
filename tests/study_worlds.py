"""Made-up studies whose truth is known: rows of different difficulty, runs that come out better or worse, and chance."""

import numpy as np
from numpy.typing import NDArray


def two_equal_methods(
    rng: np.random.Generator, seeds: int, rows: int, runs: float = 0.0, taste: float = 0.0, gain: float = 0.0
) -> NDArray[np.float64]:
    """Right or wrong of one method minus another's, shape (seeds, rows).

    A row is right where its ease, the method's own way with it (`taste`), the run's luck (`runs`) and the answer's add up to more
    than 0. All are normal, with these standard deviations. With `gain` 0 neither method is better.
    """
    ease = rng.normal(0, 1.5, rows)
    one, other = (
        ease + rng.normal(0, taste, rows) + rng.normal(0, runs, (seeds, 1)) + rng.normal(0, 0.5, (seeds, rows)) for _ in range(2)
    )
    return (one + gain > 0).astype(float) - (other > 0)


def scores(table: NDArray[np.float64]) -> dict[int, dict[str, float]]:
    """As the study's functions take them."""
    return {seed: {f"r{i}": float(x) for i, x in enumerate(row)} for seed, row in enumerate(table)}
