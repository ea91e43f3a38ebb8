"""The loss curve of a training, small enough for a state, and as the path of an SVG."""

import itertools
import math
from collections.abc import Sequence
from statistics import fmean

POINTS = 60
WIDTH, HEIGHT = 100.0, 20.0  # of the picture that the path is drawn in
LEAST = 1e-4  # a loss below has no more to say, and 0 has no logarithm


def thinned(losses: Sequence[float], most: int = POINTS) -> list[float]:
    """The mean loss of at most `most` spans of the steps, equal but for one step."""
    count = min(most, len(losses))
    ends = [round(i * len(losses) / count) for i in range(count + 1)] if count else []
    return [round(fmean(losses[start:end]), 5) for start, end in itertools.pairwise(ends)]


def path(losses: Sequence[float], everyone: Sequence[Sequence[float]]) -> str:
    """An SVG path from left to right, in a logarithmic scale that holds `everyone`'s losses; a level line for a single one."""
    logs = [math.log10(max(loss, LEAST)) for curve in everyone for loss in curve]
    low, span = min(logs), (max(logs) - min(logs)) or 1.0
    last = max(1, len(losses) - 1)
    points = [
        (WIDTH * i / last, HEIGHT * (0.95 - 0.9 * (math.log10(max(loss, LEAST)) - low) / span)) for i, loss in enumerate(losses)
    ]
    return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in points) + ("h100" if len(points) == 1 else "")
