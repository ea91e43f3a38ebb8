"""Numbers as people write them, and what only looks like one."""

import time
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pada_agent.components.core.tasks.scorers.written_numbers import Number, numbers, same


def read(text: str, fractions: bool = False) -> list[str]:
    return [str(number) for number in numbers(text, fractions)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18", "18"),
        ("18.00", "18"),
        ("-3", "-3"),
        ("+3", "3"),
        ("\u22123", "-3"),
        ("x = \u20133", "-3"),
        ("(-3)", "-3"),
        ("Answer:3", "3"),
        ("Answer: **3**.", "3"),
        (r"\boxed{3}", "3"),
        ("$3$", "3"),
        (".5", "0.5"),
        ("1,000.5", "1000.5"),
        ("1 000", "1000"),
        ("12\u202f345\u202f678", "12345678"),
        ("1\u00a0000,5", "1000.5"),
        ("1'000", "1000"),
        ("1’000.25", "1000.25"),
        ("1,00,000", "100000"),
        ("1.000,5", "1000.5"),
        ("1.000.000", "1000000"),
        ("1.000", "1"),
        ("0,5", "0.5"),
        ("0,125", "0.125"),
        ("12,75", "12.75"),
        (r"1{,}000", "1000"),
        ("1.5e3", "1500"),
        ("2E-3", "0.002"),
        ("1.5 × 10³", "1500"),
        (r"2 \times 10^{-4}", "0.0002"),
        ("3*10^2", "300"),
        ("10^6", "1000000"),
        ("50 %", "50 %"),
        ("50%", "50 %"),
        (r"50\%", "50 %"),
        ("12.5 per cent", "12.5 %"),
        ("50 percent", "50 %"),
        ("$12", "12"),
        (r"\$12", "12"),
        ("-$12", "-12"),
        ("$-12.50", "-12.5"),
        ("US$ 1,200", "1200"),
        ("€12", "12"),
        ("12 €", "12"),
        ("12kg", "12"),
        ("the 5th", "5"),
        ("20m2", "20"),
        ("½", "0.5"),
        ("1½ cups", "1.5"),
        ("-½", "-0.5"),
        (r"\frac{3}{4}", "0.75"),
        (r"2\dfrac{1}{2}", "2.5"),
        ("１２", "12"),
        ("٣", "3"),
        ("a 5-year plan", "5"),
    ],
)
def test_a_number_is_read(text: str, value: str) -> None:
    assert read(text) == [value]


NO_NUMBERS = """
none|2024-05-17|17.05.2024|05/17/2024|12:30|12:30:05|3-5|3–5|$3-$5|1.2.3|v1.2|10.0.0.1|192.168.100.200|A4|GPT-4|COVID-19|0x1F
3f2a9|Python3|5'11|1,2,3|1,234,56|3/4|1 3/4|24 / 7|1e99999999|10^999999
"""


@pytest.mark.parametrize("text", ["", "1" * 500, *NO_NUMBERS.strip().replace("\n", "|").split("|")])
def test_what_is_no_number(text: str) -> None:
    assert read(text) == []


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("3/4", ["0.75"]),
        ("it is 3 / 4", ["0.75"]),
        ("1 3/4 cups", ["1.75"]),
        ("-1 3/4", ["-1.75"]),
        ("2/3", ["2/3"]),
        ("6/3", ["2"]),
        ("3/0", []),
        ("05/17/2024", []),
        ("3/4 of 12 is 9", ["0.75", "12", "9"]),
    ],
)
def test_fractions_where_they_are_said_to_be_numbers(text: str, values: list[str]) -> None:
    assert read(text, fractions=True) == values


def test_numbers_of_a_sentence_stand_in_their_order() -> None:
    text = "In 2020 300 of 1,200 people (25 %) paid $5, 3 or -1; see 12:30."
    assert read(text) == ["2020", "300", "1200", "25 %", "5", "3", "-1"]
    assert read("8 - 5 = 3, 12 345 6789") == ["8", "5", "3", "12345", "6789"]


def test_a_per_cent_sign_is_a_unit_or_a_hundredth() -> None:
    fifty, half = Number(Fraction(50), percent=True), Number(Fraction(1, 2))
    assert same(fifty, half)
    assert same(half, fifty)
    assert same(fifty, Number(Fraction(50)))
    assert same(fifty, fifty)
    assert not same(half, Number(Fraction(50)))
    assert not same(fifty, Number(Fraction(1, 2), percent=True))


@given(st.fractions(min_value=-(10**9), max_value=10**9, max_denominator=10**4))
def test_a_number_is_read_as_it_is_written(value: Fraction) -> None:
    assert [number.value for number in numbers(f"so {Number(value)}.", fractions=True)] == [value]


@given(st.text(alphabet="0123456789.,-+/⁄eE%$ 'x^×½\u2212a", max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    for number in numbers(text, fractions=True):
        assert str(number)


@pytest.mark.parametrize("part", ["1", "1,", "1 000 ", "1.", "1/", "-", "10^", "9 9/", "1,22", "$", "1e", "½"])
def test_reading_takes_time_in_proportion(part: str) -> None:
    """Not with the square of the length, as where an expression backtracks."""
    seconds = []
    for length in (4_000, 32_000):
        tries = []
        for _ in range(3):  # other processes slow one down at times
            start = time.process_time()
            list(numbers(f"{part * length}x9", fractions=True))
            tries.append(time.process_time() - start)
        seconds.append(min(tries))
    assert all(later < 0.5 or later < 24 * max(earlier, 0.01) for earlier, later in pairwise(seconds))
