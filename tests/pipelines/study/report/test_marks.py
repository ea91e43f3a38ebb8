"""Where the marks of a figure stand."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pada_agent.components.core.statistics import Interval
from pada_agent.pipelines.study.report.marks import EDGE, Axis, Bar, dot, slots, stacked


def test_an_axis_holds_zero_and_leaves_its_edges_free():
    axis = Axis.over([4.0, 12.0])
    assert (axis.low, axis.high) == (0.0, 12.0)
    assert (axis.at(0), axis.at(6), axis.at(12)) == (EDGE, 50, 100 - EDGE)
    assert Axis.over([]).at(0) == EDGE, "an axis of nothing has a width"


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_ticks_are_few_within_the_axis_and_have_zero(low, width):
    axis = Axis.over([low, low + width])
    ticks = axis.ticks
    assert 2 <= len(ticks) <= 6 and 0 in ticks
    assert all(axis.low <= t <= axis.high for t in ticks)


def test_ticks_are_round():
    assert Axis.over([-42, 57]).ticks == [-40, -20, 0, 20, 40]
    assert Axis.over([0.11]).ticks == pytest.approx([0, 0.025, 0.05, 0.075, 0.1])


def test_a_dot_stands_in_its_interval():
    mark = dot(Axis(-10, 10), Interval(0, -10, 5), "alt", "0.0", hollow=True)
    assert (mark.dot, mark.interval, mark.hollow) == (50, (EDGE, 73.5), True)


def test_bars_follow_each_other():
    axis = Axis(0, 94)
    assert stacked(axis, [("a", 40), ("b", 0), ("c", 54)]) == [Bar("a", EDGE, 40), Bar("c", EDGE + 40, 54)]


@given(st.lists(st.floats(0, 100), max_size=10))
def test_names_do_not_overlap_and_keep_their_order(wanted):
    placed = slots(wanted, 10)
    assert all(p - 5 >= -1e-9 and p + 5 <= 100 + 1e-9 for p in placed)
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    assert all(placed[b] - placed[a] >= 10 - 1e-9 for a, b in pairwise(order))


def test_a_name_with_room_stands_where_it_wants():
    assert slots([80, 20, 50], 10) == [80, 20, 50]
