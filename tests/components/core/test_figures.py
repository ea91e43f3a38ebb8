"""Numbers as people read them."""

import pytest

from pada_agent.components.core.figures import bare, count, duration, listed, p_value, percent, plural, points


def test_shares_and_differences() -> None:
    assert [percent(0.705), percent(1, 0)] == ["70.5\u00a0%", "100\u00a0%"]
    assert [points(0.11), points(-0.015), points(-0.0001)] == ["+11.0", "−1.5", "0.0"]


@pytest.mark.parametrize(
    ("p", "text"), [(0.0004, "<\u00a00.001"), (0.0123, "=\u00a00.012"), (0.5, "=\u00a00.50"), (1, "=\u00a01.00")]
)
def test_p(p: float, text: str) -> None:
    assert p_value(p) == text
    assert bare(text) == text.replace("=\u00a0", "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (185, "3 min 5 s"), (120, "2 min"), (3599.7, "1 h 0 min"), (7300, "2 h 1 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts() -> None:
    assert [count(12345), plural(1, "row"), plural(2, "row"), plural(3, "batch")] == [
        "12\u202f345",
        "1 row",
        "2 rows",
        "3 batches",
    ]


def test_numbers_stand_before_what_they_count() -> None:
    counted = {"steps": 1300, "rows let in": 1, "batches open": 1, "training errors": 1, "patterns": 0}
    assert listed(counted) == "1,300 steps, 1 row let in, 1 batch open, 1 training error, 0 patterns"


def test_other_facts_stand_behind_their_name() -> None:
    other = {"last loss": 0.41234, "USD": 1234.5, "go on": False, "test": "70.0 % of 200", "why not": ""}
    assert listed(other) == "last loss 0.412, USD 1,234.50, go on no, test 70.0 % of 200"
