"""One method against one baseline over several tasks, of which each counts as much as another.

    macro mean +2.1 points (95 % interval -0.3 to +4.5); mean relative gain +9.8 %; chance-corrected +2.9 points

The paper's headline is the mean *relative* gain over vanilla, to which a task at chance level adds most: 24 % doubled to 48 %
adds 25 % to the mean of four. Points are the measure here, the other two stand beside them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from pada_agent.components.core.statistics import Interval
from pada_agent.pipelines.study.statistics.cells import difference
from pada_agent.pipelines.study.statistics.crossed import Crossed, Estimate, Groups, Scores, average


@dataclass(frozen=True)
class AcrossTasks:
    """All as shares. `p` is of `gain`, about new rows and runs of these tasks. No `relative_gain` where a baseline is at 0."""

    tasks: tuple[str, ...]
    gain: Interval
    p: float
    relative_gain: Interval | None
    chance_corrected_gain: Interval


def macro(
    method: Mapping[str, Scores],
    baseline: Mapping[str, Scores],
    groups: Mapping[str, Groups],
    chance: Mapping[str, float],
    confidence: float = 0.95,
) -> AcrossTasks:
    """Each mapping is by task; `chance` is the accuracy of guessing, 0 where there are no options to guess from.

    Runs of different tasks are independent. Relative gains are linearised at the mean (delta method). Raises ValueError if the
    tasks differ, or, with the task's name, as `compare_cells`.
    """
    if not method or method.keys() != baseline.keys():
        raise ValueError(f"a mean over tasks needs the same ones on both sides: {sorted(method)} and {sorted(baseline)}")
    points, relative, corrected = [], [], []
    for task, scores in method.items():
        try:
            differences = difference(scores, baseline[task])
            gain = Crossed.of(differences, groups.get(task)).estimate
        except ValueError as e:
            raise ValueError(f"{task}: {e}") from e
        points.append(gain)
        corrected.append(_scaled(gain, 1 / (1 - chance.get(task, 0.0))))
        relative.append(_relative(scores, baseline[task], list(differences), groups.get(task)))
    whole = average(points)
    known = [r for r in relative if r is not None]
    return AcrossTasks(
        tasks=tuple(method),
        gain=whole.interval(confidence),
        p=whole.p(),
        relative_gain=average(known).interval(confidence) if len(known) == len(relative) else None,
        chance_corrected_gain=average(corrected).interval(confidence),
    )


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    return Estimate(estimate.mean * factor, tuple((variance * factor**2, df) for variance, df in estimate.parts))


def _relative(scores: Scores, baseline: Scores, seeds: list[int], groups: Groups | None) -> Estimate | None:
    """The ratio of the two means, less 1; each row's part in it is (score - ratio * baseline) / mean of the baseline."""
    reached, start = (fmean(fmean(s[seed].values()) for seed in seeds) for s in (scores, baseline))
    if not start:
        return None
    ratio = reached / start
    parts = {seed: {row: (score - ratio * baseline[seed][row]) / start for row, score in scores[seed].items()} for seed in seeds}
    return Estimate(ratio - 1, Crossed.of(parts, groups).estimate.parts)
