"""Means over tasks, against the paper's own column and by hand."""

from collections.abc import Mapping
from statistics import fmean

import numpy as np
import pytest
from study_worlds import scores

from pada_agent.pipelines.study.statistics.across_tasks import macro
from pada_agent.pipelines.study.statistics.cells import compare_cells


def mean_relative_gain(accuracy: Mapping[str, float], baseline: Mapping[str, float]) -> float:
    """The column "Averaged" of the paper's Table 1, as a share."""
    return fmean(accuracy[task] / baseline[task] - 1 for task in accuracy)


@pytest.mark.parametrize(
    ("vanilla", "hellaswag", "others", "reported"),
    [
        (24.2, 45.2, -1.7, 20.4), (24.2, 47.4, -1.6, 22.8), (24.2, 51.2, 5.4, 32.0),
        (21.6, 32.4, -1.4, 11.5), (21.6, 35.2, 3.1, 18.0), (21.6, 40.8, 5.8, 26.5),
        (24.6, 27.6, -8.4, -3.1), (24.6, 28.0, 8.5, 9.9), (24.6, 32.6, 11.0, 16.5),
    ],
)  # fmt: skip
def test_the_papers_average(vanilla: float, hellaswag: float, others: float, reported: float) -> None:
    """AugGPT, LLMs-as-Instructors and PaDA-Agent at 1000, 600 and 300 rows; the three other tasks by their mean relative gain."""
    start = {"hellaswag": vanilla, "arc": 51.0, "gsm8k": 25.0, "squad": 65.0}
    reached = {task: accuracy * (1 + others / 100) for task, accuracy in start.items()} | {"hellaswag": hellaswag}
    assert 100 * mean_relative_gain(reached, start) == pytest.approx(reported, abs=0.17), "cells and column are rounded"


def test_the_papers_headline_is_no_gain_over_its_rival() -> None:
    """+32.0 over vanilla less the rival's +22.8 is 9.2 points; over the rival itself it is less."""
    start, rival, ours = ({"a": x, "b": y} for x, y in ((24.2, 50.0), (47.4, 49.2), (51.2, 52.7)))
    apart = mean_relative_gain(ours, start) - mean_relative_gain(rival, start)
    assert apart == pytest.approx(0.1135, abs=0.0005)
    assert mean_relative_gain(ours, rival) == pytest.approx(0.0757, abs=0.0005)


def study(rng: np.random.Generator, rates: tuple[float, float], seeds: int = 3, rows: int = 150) -> tuple[dict, dict]:
    draws = rng.random((seeds, rows))
    return scores((draws < rates[1]).astype(float)), scores((draws[:, ::-1] < rates[0]).astype(float))


def test_a_task_counts_as_much_as_another() -> None:
    rng = np.random.default_rng(1)
    arc, squad = study(rng, (0.3, 0.4), rows=100), study(rng, (0.5, 0.5), rows=400)
    pairs = {"arc": arc, "squad": squad}
    found = macro({t: p[0] for t, p in pairs.items()}, {t: p[1] for t, p in pairs.items()}, {}, {"arc": 0.25})
    each = [compare_cells(*pair).difference for pair in pairs.values()]
    assert found.gain.mean == pytest.approx((each[0].mean + each[1].mean) / 2)
    assert found.chance_corrected_gain.mean == pytest.approx((each[0].mean / 0.75 + each[1].mean) / 2)
    accuracy = [{t: np.mean([list(own.values()) for own in p[i].values()]) for t, p in pairs.items()} for i in (0, 1)]
    assert found.relative_gain is not None
    assert found.relative_gain.mean == pytest.approx(mean_relative_gain(*accuracy))
    assert found.gain.high - found.gain.low < max(e.high - e.low for e in each), "two tasks say more than the less certain one"


def test_one_task_is_its_comparison() -> None:
    method, baseline = study(np.random.default_rng(2), (0.4, 0.5))
    groups = {f"r{i}": f"g{i // 3}" for i in range(150)}
    found, one = macro({"t": method}, {"t": baseline}, {"t": groups}, {}), compare_cells(method, baseline, groups)
    assert found.gain.mean == pytest.approx(one.difference.mean)
    assert one.difference.low <= found.gain.low and found.gain.high <= one.difference.high, (
        "a comparison is as sure as both its tests"
    )
    assert found.p == pytest.approx(one.p_runs)
    assert found.chance_corrected_gain == found.gain


def test_intervals_over_tasks_hold_the_truth() -> None:
    """Three tasks, one of which gains much from little; 300 studies."""
    rng, held, studies = np.random.default_rng(3), np.zeros(2), 300
    rates = {"a": (0.25, 0.4), "b": (0.5, 0.55), "c": (0.7, 0.68)}
    points = np.mean([new - old for old, new in rates.values()])
    relative = np.mean([new / old - 1 for old, new in rates.values()])
    for _ in range(studies):
        pairs = {t: study(rng, both) for t, both in rates.items()}
        found = macro({t: p[0] for t, p in pairs.items()}, {t: p[1] for t, p in pairs.items()}, {}, {})
        assert found.relative_gain is not None
        held += [i.low <= truth <= i.high for i, truth in ((found.gain, points), (found.relative_gain, relative))]
    assert (held / studies > 0.91).all() and (held / studies < 0.995).all()


def test_nothing_is_relative_to_nothing() -> None:
    method, baseline = scores(np.array([[1.0, 0, 1]])), scores(np.zeros((1, 3)))
    found = macro({"t": method}, {"t": baseline}, {}, {})
    assert found.relative_gain is None and found.gain.mean == pytest.approx(2 / 3)


def test_what_is_refused() -> None:
    one = scores(np.eye(3))
    with pytest.raises(ValueError, match="same ones on both sides"):
        macro({"a": one}, {"b": one}, {}, {})
    with pytest.raises(ValueError, match="a: no seed in common"):
        macro({"a": {0: one[0]}}, {"a": {1: one[1]}}, {}, {})
    with pytest.raises(ValueError, match=r"b: seed 0: .* not scored on the same rows"):
        macro({"a": one, "b": one}, {"a": one, "b": {0: {"other": 1.0}}}, {}, {})
