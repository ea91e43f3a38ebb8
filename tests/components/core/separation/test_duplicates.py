"""What counts as the same text, and above all what does not."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pada_agent.components.core.separation import duplicates
from pada_agent.components.core.separation.duplicates import NearDuplicates, normalise, tokens

PASSAGE = " ".join(
    f"In the {w} part of the long valley, people who had settled early kept {w} goats and traded cheese for salt." for w in
    ("northern", "southern", "eastern", "western", "upper", "lower")
)  # fmt: skip


def closest(known: str, text: str, threshold: float = 0.85) -> tuple[str, float] | None:
    seen = NearDuplicates(threshold)
    seen.add("known", known)
    return seen.closest(text)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  How   MANY\ncustomers?", "how many customers"),
        ("“Curly” quotes—don’t", '"Curly" quotes - don\'t'),
        ("ﬁne", "fine"),
        ("$1,000.50", "$1000.50"),
        ("well-known", "well known"),
        ("Größe", "GRÖSSE"),
    ],
)
def test_normalise_makes_one_of_these(text: str, normal: str) -> None:
    assert normalise(text) == normalise(normal)


@pytest.mark.parametrize(
    ("one", "other"), [("3 + 5", "3 - 5"), ("x > 5", "x < 5"), ("3.5", "35"), ("a = b", "a b"), ("7", "-7"), ("北京", "北海")]
)
def test_normalise_keeps_these_apart(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


def test_signs_without_spaces_are_words() -> None:
    assert tokens("東京は首都") == list("東京は首都")


@given(st.text())
def test_normalise_twice_is_normalise_once(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize(
    ("known", "text"),
    [
        ("How many customers live in Oslo?", "how many customers  live in Oslo"),
        ("How many customers live in Oslo?", "How many of the customers live in Oslo?"),
        ("List the customer of each city.", "List the customers of each city."),
        ("Which colour is the sky at noon?", "Which color is the sky at noon?"),
        (PASSAGE, PASSAGE.replace("cheese", "butter", 1)),
    ],
)
def test_the_same(known: str, text: str) -> None:
    twin = closest(known, text)
    assert twin is not None
    assert twin[0] == "known"


@pytest.mark.parametrize(
    ("known", "text"),
    [
        ("How many customers live in Oslo?", "How many customers live in Paris?"),
        ("How many customers live in Austria?", "How many customers live in Australia?"),
        ("Orders with the status 'pending' in May", "Orders with the status 'spending' in May"),
        ("List the 10 most expensive products.", "List the 20 most expensive products."),
        ("Tom has 3 apples and 5 pears. How many fruits?", "Tom has 5 apples and 3 pears. How many fruits?"),
        ("Which planet is the largest of all planets?", "Which planet is the smallest of all planets?"),
        ("Which of these animals is a mammal?", "Which of these animals is not a mammal?"),
        ("Is this reaction possible at room temperature?", "Is this reaction impossible at room temperature?"),
        ("Name customers who ordered before the sale.", "Name customers who ordered after the sale."),
        ("Did Anna beat Tom in the final match?", "Did Tom beat Anna in the final match?"),
        (PASSAGE, PASSAGE.replace("goats", "sheep", 1).replace("cheese", "butter", 1)),
        (PASSAGE + "\nWhat did they trade?", PASSAGE + "\nWhat did they keep?"),
    ],
)
def test_not_the_same(known: str, text: str) -> None:
    assert closest(known, text) is None
    assert closest(text, known) is None


def test_the_threshold_counts() -> None:
    assert closest("the cat of the house", "cat of house", 0.6) is not None
    assert closest("the cat of the house", "cat of house", 0.9) is None


def test_parts_must_all_agree() -> None:
    seen = NearDuplicates(0.9)
    seen.add("a", "When was it founded?", "Oslo was founded around the year 1040 by Harald.")
    assert seen.closest("When was it founded?", "Rome was founded long before.") is None
    assert seen.closest("When was it founded?", "Oslo was founded around year 1040 by Harald.") is not None
    assert seen.closest("When was it founded?") is None


def test_an_exact_copy_has_similarity_one_and_the_closest_wins() -> None:
    seen = NearDuplicates(0.6)
    seen.add("far", "show me the names of all the customers")
    seen.add("near", "show me the names of all customers")
    assert seen.closest("Show me the names of all customers!") == ("near", 1.0)
    twin = seen.closest("show me the name of all customers")
    assert twin is not None
    assert twin[0] == "near"
    assert 0.9 < twin[1] < 1


@given(st.text(), st.text())
def test_symmetric_on_any_text(one: str, other: str) -> None:
    assert (closest(one, other) is None) == (closest(other, one) is None)
    assert closest(one, one) == ("known", 1.0)


PIECES = (
    ("customers", "customer", "Customers"), ("the", "", "of the"), ("7", "8", "7"), ("17", "1,000", "17"),
    ("Oslo", "oslo", "Oslo"), ("-5", "5", "- 5"), ("x2", "x2", "x3"), ("\n", " ", "-\n"),
    ("colour", "color", "½"), ("'8'", "'8'", "8"),
)  # fmt: skip


def test_rows_with_other_numbers_need_no_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same is found as by a comparison with each row."""
    draw, found = random.Random(0), {}
    sets = []
    for _ in range(150):
        base = [draw.choice(PIECES) for _ in range(draw.randint(3, 9))]
        varied = [[piece[draw.choice((0, 0, 0, 1, 2))] for piece in base] for _ in range(8)]
        sets.append([(" ".join(row), " ".join(row[::-1])) for row in varied])
    for how in ("by numbers", "plainly"):
        if how == "plainly":
            monkeypatch.setattr(duplicates, "_numbers", lambda row: ())
        found[how] = [twins(rows) for rows in sets]
    assert found["by numbers"] == found["plainly"]
    similar = [twin for of in found["plainly"] for twin in of if twin and twin[1] < 1]
    assert len(similar) > 100, "rows that are the same in other words are among them"


def twins(rows: list[tuple[str, str]]) -> list[tuple[str, float] | None]:
    """What each row repeats of those before it."""
    seen, found = NearDuplicates(0.6), []
    for i, parts in enumerate(rows):
        found.append(seen.closest(*parts))
        seen.add(str(i), *parts)
    return found
