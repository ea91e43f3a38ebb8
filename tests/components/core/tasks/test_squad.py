"""Exact match as in the official script, and new rows."""

from typing import Any

import pytest

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.squad import SquadSample, normalise
from pada_agent.components.core.tasks.task import CodeRunner

SQUAD = load_task("squad", {})
CONTEXT = (
    "The Saale bridge at Harnau was opened on 4 May 1871. It is 212 metres long and was designed by Ida Brandt, "
    "who had built two smaller bridges before. Trains crossed it until 1968, when the line was closed."
)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("The cat!", "cat"),
        ("a  CAT, an the", "cat"),
        ("U.S.", "us"),
        ("rock-'n'-roll", "rocknroll"),
        ("theatre and anthem", "theatre and anthem"),
        ("$5.00", "500"),
        ("“quoted”", "“quoted”"),
        ("the", ""),
    ],
)
def test_normalisation(text: str, same: str) -> None:
    assert normalise(text) == same


def fields(*answers: str, question: str = "Who designed the bridge?", context: str = CONTEXT) -> dict[str, Any]:
    return {"context": context, "question": question, "answers": list(answers)}


@pytest.mark.parametrize(
    ("output", "correct", "valid", "detail"),
    [
        ("Ida Brandt", True, True, ""),
        ("the ida brandt.\nShe built two others.", True, True, ""),
        ("\n Brandt", True, True, ""),
        ("Ida Brandt, who had built two", False, True, "says more"),
        ("Ida", False, True, "says less"),
        ("Karl Meyer", False, True, "not copied"),
        ("Harnau", False, True, "another part"),
        ("The", False, True, "right is 'Ida Brandt'"),
        ("", False, False, "empty"),
        (" \n ", False, False, "empty"),
    ],
)
def test_scores(output: str, correct: bool, valid: bool, detail: str, no_code: CodeRunner) -> None:
    score = SQUAD.score(fields("Ida Brandt", "Brandt"), output, no_code)
    assert (score.correct, score.valid) == (correct, valid)
    assert detail in score.detail


@pytest.mark.parametrize(
    ("output", "f1"),
    [
        ("Ida Brandt", 1),
        ("brandt, the Ida", 1),
        ("Ida", 2 / 3),
        ("Ida Brandt, who had built two", 4 / 8),
        ("Brandt Brandt", 2 / 4),
        ("Brandt!\nIda", 2 / 3),
        ("the", 0),
        ("Harnau", 0),
        ("", 0),
    ],
)
def test_the_best_f1_of_all_gold_answers_stands_beside(output: str, f1: float, no_code: CodeRunner) -> None:
    assert SQUAD.score(fields("Karl", "Ida Brandt"), output, no_code).extra == {"f1": pytest.approx(f1)}


def test_rows_are_read_and_grouped_by_article() -> None:
    raw = {
        "id": "1",
        "title": "Bridges",
        "context": "c",
        "question": "q",
        "answers": {"text": ["a1", "b"], "answer_start": [0, 1]},
    }
    assert SQUAD.read(raw) == {"context": "c", "question": "q", "answers": ["a1", "b"]}
    assert SQUAD.group(raw) == "Bridges"
    without = {k: v for k, v in raw.items() if k != "title"}
    assert SQUAD.group(without) == SQUAD.group({"context": "c"}) != SQUAD.group({"context": "d"})


@pytest.mark.parametrize("answers", [{"text": [], "answer_start": []}, [], None, {"text": ["the"]}, "x", {"text": [1]}])
def test_rows_without_an_answer_are_named(answers: Any) -> None:
    with pytest.raises(InputError, match="answers"):
        SQUAD.read({"context": "c", "question": "q", "answers": answers})


def sample(answer: str, question: str = "Who designed the bridge at Harnau?", context: str = CONTEXT) -> SquadSample:
    return SquadSample(context=context, question=question, answer=answer)


def test_a_new_answer_must_be_a_span(no_code: CodeRunner) -> None:
    new = SQUAD.fields_of(sample("ida brandt."), {})
    assert new["answers"] == ["Ida Brandt"]
    assert new["answers"][0] in new["context"]
    assert SQUAD.verify(new, no_code) == ""
    for wrong in ("Karl Meyer", "The", "Ida Brandt (architect)"):
        with pytest.raises(InputError, match="copy it from there word for word"):
            SQUAD.fields_of(sample(wrong), {})


def test_a_question_that_gives_its_answer_away_is_refused(no_code: CodeRunner) -> None:
    assert "gives its answer" in SQUAD.verify(SQUAD.fields_of(sample("Harnau"), {}), no_code)


def test_the_example_for_the_teacher_has_the_whole_context() -> None:
    long = "Nothing of note happened in that year. " * 100 + "Ida Brandt built it."
    assert SQUAD.sample_of(fields("Ida Brandt", context=long)).context == long


@pytest.mark.parametrize(
    ("question", "answer", "features"),
    [
        ("Who designed it?", "Ida Brandt", {"who question", "name as answer"}),
        ("When was it opened?", "4 May 1871", {"when question", "date as answer"}),
        ("How many metres is it long?", "212", {"how many question", "number as answer"}),
        ("How much did it cost?", "two million", {"how many question", "number as answer"}),
        ("In what decade?", "1860s", {"what question", "date as answer"}),
        ("Why did it close?", "because the line was given up by then", {"why question", "answer of more than five words"}),
        ("Name the material.", "stone", {"question without a question word", "word or phrase as answer"}),
    ],
)
def test_features(question: str, answer: str, features: set[str]) -> None:
    assert SQUAD.features(fields(answer, question=question)) == features
