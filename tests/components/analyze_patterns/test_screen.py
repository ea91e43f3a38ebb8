"""What a text about the failures may say, and what gives a validation row away."""

import pytest

from pada_agent.components.analyze_patterns.screen import answer_screen, first_hit, word_screen
from pada_agent.components.core.records import Prediction, Score, TrainRow
from pada_agent.components.core.tasks.registry import load_task

SQUAD = load_task("squad", {})
PASSAGES = {
    "a": "The gland makes prostaglandins, and a fever may follow. Doctors in Grimsby saw it first.",
    "b": "The river froze in Grimsby. A windlass pulled the ferry, and a windlass sank it.",
    "c": "A windlass stands by the lock, and a quern beside it.",
}


def prediction(id: str, context: str, answer: str, correct: bool = False, group: str = "") -> Prediction:
    fields = {"context": context, "question": "What happened there?", "answers": [answer]}
    score = Score(correct=correct, valid=True)
    return Prediction(id=id, split="validation", prompt="", output="", reference=answer, score=score, fields=fields, group=group)


@pytest.fixture
def rows() -> list[Prediction]:
    return [
        prediction("a", PASSAGES["a"], "a fever", group="medicine"),
        prediction("b", PASSAGES["b"], "the ferry", group="ferries"),
        prediction("c", PASSAGES["c"], "the lock", correct=True, group="locks"),
    ]


TRAIN = [TrainRow(id="t", fields={"context": "A ferry crosses the river.", "question": "What crosses?", "answers": ["A ferry"]})]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Prostaglandins", "prostaglandins"),
        ("Write about a prostaglandin.", "prostaglandin"),
        ("Write about Grimsby.", "grimsby"),  # a name, though two rows have it
    ],
)
def test_a_word_that_tells_of_one_failure_is_struck(rows: list[Prediction], text: str, word: str) -> None:
    assert word_screen(SQUAD, rows, TRAIN)(text) == f"it has the word '{word}' of a validation row"


@pytest.mark.parametrize(
    "text",
    [
        "Questions about a ferry on a river.",  # a training row has them
        "Questions about a windlass.",  # two rows have it, and it is no name
        "Questions about a quern.",  # of a row that the model answers right, which no teacher sees
        "The model copies a whole sentence; practise the shortest phrase, and follow the passage.",
        "",
    ],
)
def test_other_words_are_not(rows: list[Prediction], text: str) -> None:
    assert word_screen(SQUAD, rows, TRAIN)(text) == ""


def test_rows_of_one_group_count_as_one(rows: list[Prediction]) -> None:
    one = [row.model_copy(update={"group": "boats"}) for row in rows]
    assert "windlass" in word_screen(SQUAD, one, TRAIN)("Questions about a windlass.")


def test_an_answer_is_quoted_by_four_words_of_it() -> None:
    rows = [prediction("a", "The council said nothing at all.", "a council of nine millers")]
    assert answer_screen(SQUAD, rows, TRAIN)("Ask for a council of nine millers.") != ""
    assert answer_screen(SQUAD, rows, TRAIN)("Ask for a council.") == ""


def test_the_first_screen_that_has_something_to_say_says_it() -> None:
    assert first_hit([lambda _: "", lambda _: "one", lambda _: "two"], "text") == "one"
    assert first_hit([lambda _: ""], "text") == ""
