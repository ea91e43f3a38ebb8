"""What the figures of a made-up study show, and what they say of it."""

import pytest
from study_facts import made_up

from pada_agent.pipelines.study.compare import compare
from pada_agent.pipelines.study.outcomes import Spent, StudyFacts
from pada_agent.pipelines.study.places import MATCHED
from pada_agent.pipelines.study.report.figures import figures
from pada_agent.pipelines.study.report.marks import Bar

ACCURACY = {"untuned": 0.1, "vanilla": 0.4, "step-matched": 0.4, "pada": 0.9, "auggpt": 0.2}


def facts(**more):
    given = {"rows": 60, "seeds": (0, 1), "regimes": (300, 600), "iterations": 2, **more}
    return made_up(ACCURACY, {"sql": 0.0}, **given)


@pytest.fixture(scope="module")
def found():
    return compare(facts())


@pytest.fixture(scope="module")
def drawn(found):
    return figures(found)


def test_gains_stand_on_their_side_of_zero_with_their_interval(found, drawn):
    (figure,) = drawn["comparisons"]
    (panel,) = figure.panels
    (zero,) = [tick.at for tick in panel.ticks if tick.zero]
    assert panel.columns == ["300 rows", "600 rows"]
    assert [(s.name, s.first) for s in panel.series] == [("pada", True), ("auggpt", False)]
    better, worse = (series.marks for series in panel.series)
    assert all(m.interval[0] <= m.dot <= m.interval[1] for m in (*better, *worse))
    assert all(m.dot > zero for m in better) and all(m.dot < zero for m in worse)
    (c,) = [c for c in found.comparisons if (c.regime, c.method, c.baseline) == (600, "pada", MATCHED)]
    assert better[1].value == f"{100 * c.found.difference.mean:+.1f}"
    assert better[1].alt.startswith(f"pada, 600 training rows: {better[1].value} points, interval ")


def test_a_dot_is_filled_where_the_two_are_told_apart(found, drawn):
    marks = [(s.name, r, m) for s in drawn["comparisons"][0].panels[0].series for r, m in zip((300, 600), s.marks, strict=True)]
    for method, regime, mark in marks:
        (c,) = [c for c in found.comparisons if (c.regime, c.method, c.baseline) == (regime, method, MATCHED)]
        assert mark.hollow == (c.p_holm >= 0.05)
        assert mark.alt.endswith("not told apart") == mark.hollow
    even = compare(made_up({**ACCURACY, "pada": 0.4, "auggpt": 0.4}, {"sql": 0.0}, rows=60, seeds=(0, 1)))
    assert all(m.hollow for s in figures(even)["comparisons"][0].panels[0].series for m in s.marks)


def test_a_cell_that_is_missing_leaves_its_place_empty():
    whole = facts()
    left = [c for c in whole.cells if (c.regime, c.method) != (300, "pada")]
    drawn = figures(compare(whole.model_copy(update={"cells": left})))
    for key in ("comparisons", "counts"):
        (panel,) = drawn[key][0].panels
        assert [[mark is None for mark in series.marks] for series in panel.series] == [[True, False], [False, False]]
    assert [[p.name for p in s.points] for s in drawn["costs"][0].scatters] == [["auggpt"], ["pada", "auggpt"]]


def test_bars_of_samples_are_as_long_as_their_numbers(drawn):
    mark = drawn["counts"][0].panels[0].series[0].marks[0]
    kept, mended, thrown, asked = mark.bars
    assert [bar.kind for bar in mark.bars] == ["kept", "mended", "thrown", "asked"] == list(drawn["counts"][0].keys)
    assert kept.width / mended.width == pytest.approx(100 / 20) and thrown.width / mended.width == pytest.approx(70 / 20)
    assert mended.start == pytest.approx(kept.start + kept.width)
    assert asked.start == pytest.approx(kept.start + 1.5 * kept.width) and asked.width == 0
    assert (mark.value, mark.told) == ("120", "100 at once, 20 repaired, 70 rejected")


def test_a_pattern_is_drawn_from_where_it_was_found():
    whole = made_up({**ACCURACY, "pada": 0.5}, {"sql": 0.0}, rows=100, seeds=(0, 1), iterations=2)
    (figure,) = figures(compare(whole))["patterns"]
    (panel,) = figure.panels
    assert panel.title == "sql, 300 training rows: pada, seed 0"
    assert panel.columns == ["start", "after iteration 1", "after iteration 2"]
    assert [s.name for s in panel.series] == ["Joins", "Dates | times"] * 2
    first, later = panel.series[0].marks, panel.series[2].marks
    assert [bar.kind for bar in first[0].bars] == ["failing"], "all of its rows failed where it was found"
    assert later[0] is None and later[1].value == "7"
    whole, part = first[0].bars[0].width, [bar for bar in first[2].bars if bar.kind == "failing"]
    assert sum(bar.width for bar in part) == pytest.approx(whole * int(first[2].value) / 7)


def test_of_many_patterns_the_largest_are_drawn_and_the_rest_is_told():
    whole = facts(regimes=(300,))
    cell = next(c for c in whole.cells if c.patterns)
    many = [cell.patterns[0].model_copy(update={"name": f"p{i}", "rows": cell.patterns[0].rows[: 1 + i % 7]}) for i in range(20)]
    cells = [c.model_copy(update={"patterns": many}) if c is cell else c for c in whole.cells]
    panel = figures(compare(whole.model_copy(update={"cells": cells})))["patterns"][0].panels[0]
    assert len(panel.series) == 12 and "p0" not in {s.name for s in panel.series}
    assert "8 more are in the table" in panel.note


def priced(usd):
    """The study with other prices: `usd` by method."""
    whole = facts(regimes=(300,))
    spent = {m: {"generate_data": Spent(calls=9, input_tokens=3_000 if m == "auggpt" else 9_000, usd=usd[m])} for m in usd}
    return compare(
        whole.model_copy(update={"cells": [c.model_copy(update={"spent": spent.get(c.method, {})}) for c in whole.cells]})
    )


def test_costs_are_tokens_where_not_all_have_a_price():
    (figure,) = figures(priced({"pada": 1.0, "auggpt": 0.0}))["costs"]
    (plot,) = figure.scatters
    pada, auggpt = plot.points
    zero = next(tick.at for tick in plot.across if tick.zero)
    assert plot.unit == "thousand tokens" and "pada: 9.00 thousand tokens, +" in plot.alt
    assert pada.x - zero == pytest.approx(3 * (auggpt.x - zero))
    assert pada.y < next(tick.at for tick in plot.up if tick.zero) < auggpt.y, "higher is better"
    assert pada.interval[0] <= pada.y <= pada.interval[1] and pada.first and not auggpt.first


def test_costs_are_money_where_all_that_asked_have_paid():
    (plot,) = figures(priced({"pada": 1.0, "auggpt": 4.0}))["costs"][0].scatters
    assert plot.unit == "USD" and "auggpt: 4.00 USD" in plot.alt


def test_a_study_with_nothing_in_it_has_no_figures():
    assert not any(figures(compare(StudyFacts(methods=["pada"], seeds=[0], regimes={}))).values())


def test_a_bar_of_nothing_is_not_drawn(drawn):
    bars = [bar for s in drawn["patterns"][0].panels[0].series for mark in s.marks if mark for bar in mark.bars]
    assert bars and all(isinstance(bar, Bar) and bar.width > 0 for bar in bars)
