"""Planted copies are found, rows that only share a template are not, and the file holds no text."""

import json
import random
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.separation.leakage import Fingerprints, screen_text

CONTEXT = (
    "The duchy of Westmark was founded in 1374 by Aldric Vane, who moved his court from the burnt abbey to a hill above the "
    "river and let the millers elect a council of nine."
)
TEST_ROWS = [
    ["Who moved the court of Westmark to a hill?", CONTEXT, "Aldric Vane"],
    ["What did the millers elect?", CONTEXT, "a council of nine"],
    ["Which abbey burnt?", "Short passage.", "Grimsby"],
]
VALIDATION_ROWS = [["How many eggs does Farmer Nils sell if his 12 hens lay 9 eggs each day for a week?"]]
TRAIN_ROWS = [
    ["How many eggs does a hen lay if it lays 2 a day?", "", "Old Abbey"],
    ["Who won in 1958?", "Carla Ostrova won.", "a dog and a cat"],
]


@pytest.fixture
def prints() -> Fingerprints:
    return Fingerprints.build({"validation": VALIDATION_ROWS, "test": TEST_ROWS}, TRAIN_ROWS)


class TestHits:
    @pytest.mark.parametrize("row", [*TEST_ROWS, *VALIDATION_ROWS])
    def test_the_rows_themselves(self, prints: Fingerprints, row: list[str]) -> None:
        assert prints.hits(row)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("WHICH abbey  burnt", "the same question as a test row"),
            (
                "He said: moved his court from the burnt abbey, to a hill above the river - so.",
                "13 words in common with a test row",
            ),
            ("Tell me who moved the court of Westmark to a hill today.", "8 words in common with a test row"),
            ("Sell if his 12 hens lay 9 eggs each day for a week, he says.", "13 words in common with a validation row"),
            ("the burnt abbey to a hill above the river", "an excerpt of a test row"),
        ],
    )
    def test_planted_copies(self, prints: Fingerprints, text: str, reason: str) -> None:
        assert prints.hits(text) == reason
        assert reason.startswith("the same question") or prints.hits(["A new question?", text]) == reason

    def test_twelve_words_of_a_long_text_are_too_few(self, prints: Fingerprints) -> None:
        assert prints.hits("Nils sold some; if his 12 hens lay 9 eggs each day for a week") == ""

    @pytest.mark.parametrize(
        "texts",
        [
            ["How many eggs does Farmer Berit sell if her 7 hens lay 5 eggs each day for a month?"],
            ["Who built the harbour of Eastmark?", "Another passage about a harbour.", "Grimsby"],
            ["What is left?", "An answer may be the same by chance.", "a council of nine"],
            ["Which burnt abbey?"],
            [""],
            [],
        ],
    )
    def test_other_rows_are_let_through(self, prints: Fingerprints, texts: list[str]) -> None:
        assert prints.hits(texts) == ""

    def test_what_training_rows_have_is_no_leak(self) -> None:
        template = "List the names of all customers who have placed more than {} orders since {}."
        held_out = {"test": [[template.format(7, "May")]]}
        training = [[template.format(n, "June")] for n in (2, 3)]
        assert Fingerprints.build(held_out).hits([template.format(7, "August")])
        assert Fingerprints.build(held_out, training).hits([template.format(9, "August")]) == ""
        assert Fingerprints.build(held_out, training).hits(held_out["test"][0])

    def test_own_lengths(self) -> None:
        prints = Fingerprints.build({"test": [["one two three four five six"]]}, ngram=5, short_ngram=3)
        assert prints.hits("so two three four five six it is") == "5 words in common with a test row"
        assert prints.hits("so two three four five seven it is") == ""

    WORDS = st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=6), min_size=8, max_size=40)

    @given(words=WORDS, before=WORDS, after=WORDS, data=st.data())
    def test_any_run_of_a_held_out_text_is_hit(self, words: list[str], before: list[str], after: list[str], data: Any) -> None:
        size = 13 if len(words) >= 13 else 8
        start = data.draw(st.integers(0, len(words) - size))
        run = words[start : start + size]
        prints = Fingerprints.build({"test": [["q", " ".join(words)]]})
        text = " ".join(before) + ", " + "  ".join(run).title() + ". " + " ".join(after)
        assert prints.hits(["another question", text])
        assert prints.hits(["another question", " ".join(before)]) == "" or set(before) & set(words)


class TestScreen:
    @pytest.mark.parametrize(
        ("text", "words", "split"),
        [
            ("Ask who let the millers elect a council of nine people.", "let the millers elect a council of nine", "test"),
            ("Use answers such as a council of nine.", "a council of nine", "test"),
            ("Write about what happened in 1374.", "1374", "test"),
            ("Practise questions about people like Aldric Vane.", "aldric vane", "test"),
            ("Ask about towns such as Grimsby.", "grimsby", "test"),
            ("Vary how many eggs a farm sells, as Farmer Nils does.", "farmer nils", "validation"),
        ],
    )
    def test_what_gives_a_row_away(self, prints: Fingerprints, text: str, words: str, split: str) -> None:
        assert screen_text(text, prints) == f"it has the words '{words}' of a {split} row"

    @pytest.mark.parametrize(
        "text",
        [
            "Generate questions whose answer is a person's name, with two candidates in the passage.",
            "Use numbers of up to 1000 and at least 2 steps each week.",
            "Train on who won in 1958, on Carla Ostrova and on the Old Abbey.",
            "Combine a dog and a cat in one question.",
            "Group By And Having: write queries that filter groups.",
            "",
        ],
    )
    def test_general_texts_pass(self, prints: Fingerprints, text: str) -> None:
        assert prints.screen_text(text) == ""


def test_a_round_number_names_no_row() -> None:
    prints = Fingerprints.build({"test": [["Is 1000 more than 1040?"]]})
    assert prints.screen_text("Use numbers above 1000.") == ""
    assert prints.screen_text("Use numbers above 1040.") != ""


class TestFile:
    def test_comes_back_and_is_the_same_for_the_same_rows(self, prints: Fingerprints, tmp_path: Path) -> None:
        (tmp_path / "f.json").write_text(prints.to_json())
        again = Fingerprints.load(tmp_path / "f.json")
        assert again.to_json() == prints.to_json()
        assert again.hits(TEST_ROWS[0]) == "the same question as a test row"
        assert again.screen_text("in 1374") == "it has the words '1374' of a test row"
        other_order = Fingerprints.build({"validation": VALIDATION_ROWS, "test": TEST_ROWS[::-1]}, TRAIN_ROWS[::-1])
        assert other_order.to_json() == prints.to_json()

    def test_holds_no_readable_text(self) -> None:
        draw = random.Random(3)
        words = ["".join(draw.choices("ghijklmnopqrstuvwxyz", k=6)) for _ in range(200)]  # no hexadecimal digits
        text = Fingerprints.build({"test": [[" ".join(words[i : i + 20])] for i in range(0, 200, 20)]}).to_json()
        assert not [word for word in words if word in text]
        near = json.loads(text)["splits"]["test"].pop("near")
        kinds = {kind: value for kind, value in json.loads(text)["splits"]["test"].items() if kind != "near"}
        values = [*kinds.values(), *(question["words"] for question in near)]
        assert len(near) == 10 and any(values)
        assert all(set(v) <= set(string.hexdigits) for v in values)

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 2, "splits": {"test": {"runs": "zz"}}}', "\ufffe"])
    def test_another_file_is_refused(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "f.json").write_text(content)
        with pytest.raises(InputError, match=r"f\.json: no fingerprints of held-out rows .*; run prepare_data again"):
            Fingerprints.load(tmp_path / "f.json")

    def test_another_version_is_refused(self, tmp_path: Path, prints: Fingerprints) -> None:
        (tmp_path / "f.json").write_text(prints.to_json().replace('"version": 2', '"version": 99'))
        with pytest.raises(InputError, match="fingerprints of version 99, not 2; run prepare_data again"):
            Fingerprints.load(tmp_path / "f.json")
