"""The loss curve: thinned for the state, drawn in the report."""

import re

import pytest

from pada_agent.components.core.report.losses import path, thinned
from pada_agent.components.core.report.page import render
from pada_agent.components.core.state import State


def test_a_long_training_is_told_by_means_of_spans() -> None:
    assert thinned([3.0, 1.0, 2.0]) == [3.0, 1.0, 2.0]
    assert thinned([4.0, 2.0, 1.0, 0.0], most=2) == [3.0, 0.5]
    found = thinned([float(i) for i in range(1000)])
    assert len(found) == 60 and sum(found) / 60 == pytest.approx(499.5, abs=1) and found == sorted(found)
    assert thinned([]) == []


def test_curves_share_one_logarithmic_scale() -> None:
    everyone = [[1.0, 0.1, 0.01], [0.1]]
    heights = [float(y) for y in re.findall(r" ([\d.]+)", path(everyone[0], everyone))]
    assert heights == [1.0, 10.0, 19.0]
    assert path(everyone[1], everyone) == "M0.00 10.00h100"
    assert "nan" not in path([0.0, 0.0], [[0.0, 0.0]])


def test_the_report_draws_them(finished_state: State) -> None:
    assert "Loss while training" not in render(finished_state)
    first, *others = finished_state.models
    models = [first, *(m.model_copy(update={"losses": [2.0, 0.5, 0.02], "steps": 9}) for m in others)]
    page = render(finished_state.model_copy(update={"models": models}))
    assert page.count('class="curve"') == len(others)
    assert "loss 2 at first, 0.02 at the end of 9 steps" in page
