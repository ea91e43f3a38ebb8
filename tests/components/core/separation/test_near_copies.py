"""Edited questions are recognised, other questions from the same template are not."""

import hashlib
import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pada_agent.components.core.separation.leakage import Fingerprints
from pada_agent.components.core.separation.near_copies import CLOSE, NearCopies

SHORT = "How many hens does Farmer Nils sell each week?"
LONG = (
    "A baker fills three trays with rolls before noon and two more trays after lunch. If every tray holds 24 rolls and he "
    "gives a dozen to his neighbour, how many rolls are left for the shop?"
)


def hashed(run: Iterable[str]) -> bytes:
    return hashlib.sha256(" ".join(run).encode()).digest()[:8]


@pytest.fixture
def near() -> NearCopies:
    return NearCopies.build([SHORT, LONG, "Why?"], [], hashed)


@pytest.mark.parametrize(
    "text",
    [
        SHORT,
        "Each week, how many hens does Farmer Nils sell?",
        "How many hens did Farmer Nils sell in one week?",
        LONG.replace("three", "3").replace("24", "twenty-four"),
        LONG.replace("24", "36").replace("three", "5").replace("baker", "cook").replace("lunch", "dinner"),
        " ".join(reversed(LONG.split())),
    ],
)
def test_edited_questions_are_recognised(near: NearCopies, text: str) -> None:
    assert near.has(text)


@pytest.mark.parametrize(
    "text",
    [
        "How many hens does Farmer Berit sell each week?",
        "How many customers live in Oslo?",
        "A baker fills three trays with rolls. How many rolls are on each tray if there are 24 rolls?",
        "Why?",
        "",
    ],
)
def test_other_questions_are_not(near: NearCopies, text: str) -> None:
    assert not near.has(text)


def test_a_row_of_a_template_must_come_closer_than_training_rows_do() -> None:
    held_out, training = (
        "Turnover per category, only articles with high stock",
        "Turnover per category, only articles with low stock",
    )
    other = "Turnover per category, only articles with little stock"
    assert NearCopies.build([held_out], [], hashed).has(other)
    near = NearCopies.build([held_out], [training], hashed)
    assert not near.has(other) and not near.has(training)
    assert near.has(held_out)


def test_fingerprints_use_it_on_the_question_alone_and_keep_it_in_their_file() -> None:
    prints = Fingerprints.build({"test": [[LONG, "A context."]]}, [["Another question?"]])
    edited = " ".join(reversed(LONG.split()))
    assert prints.hits([edited, "Another context."]) == "nearly the words of a test row's question"
    assert prints.hits(["Another question?", edited]) == ""


def test_the_lookup_misses_no_close_question() -> None:
    rng = random.Random(0)
    vocabulary = [f"w{chr(97 + i // 26)}{chr(97 + i % 26)}x" for i in range(40)]
    texts = [" ".join(rng.sample(vocabulary, rng.randint(4, 14))) for _ in range(200)]
    near = NearCopies.build(texts, [], hashed)
    for text in (" ".join(rng.sample(vocabulary, rng.randint(1, 14))) for _ in range(200)):
        words = set(text.split())
        closest = max(len(words & set(t.split())) / len(words | set(t.split())) for t in texts)
        found = max((c for _, c in near._closeness(frozenset(hashed([w]) for w in words))), default=0.0)
        assert found == (pytest.approx(closest) if closest >= CLOSE else 0.0)


@given(st.text(max_size=60))
def test_any_text_is_answered(text: str) -> None:
    assert NearCopies.build([text], [text], hashed).has(text) is False
