"""What the judge is asked for, and what is made of its replies."""

import pytest

from pada_agent.components.control_quality.judge import BATCH_LENGTH, Judgement, item, judgement_reply, read_judgement, room
from pada_agent.components.core.quality.rules import mean_score
from pada_agent.components.core.tasks.registry import load_task


def read(value, branch="error", rows=1):
    return read_judgement(judgement_reply(branch, rows), branch, value)


def test_the_error_branch_has_no_adherence():
    judgement = read({"adherence": [1], "utility": [8], "relevance": [9], "feedback": []})
    assert judgement.rows == [{"utility": 8, "relevance": 9}]
    assert mean_score(judgement.scores) == 8.5
    judgement = read({"adherence": [1, 9], "utility": [8, 8], "relevance": [9, 8]}, "pattern", 2)
    assert [mean_score(row) for row in judgement.rows] == [6, 25 / 3]
    assert judgement.scores == {"adherence": 5, "utility": 8, "relevance": 8.5}, "the means"


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"utility": ["good"], "relevance": [5]},
        {"utility": [0], "relevance": [5]},
        {"utility": [11], "relevance": [5]},
        {"utility": [5, 5], "relevance": [5]},
        {"utility": [], "relevance": []},
    ],
)
def test_scores_that_are_missing_or_out_of_range_are_errors_not_zeros(value):
    with pytest.raises(ValueError):
        read(value)


def test_one_score_is_for_all_and_a_sentence_for_the_batch():
    assert read({"utility": "7.5", "relevance": 8, "feedback": "None."}, rows=2) == Judgement(
        [{"utility": 7.5, "relevance": 8.0}] * 2, {}
    )
    assert read({"utility": 7, "relevance": 8, "feedback": None}).changes == {}
    assert read({"utility": 7, "relevance": 8, "feedback": "Vary the tables."}).changes == {0: "Vary the tables."}


@pytest.mark.parametrize("branch", ["pattern", "error"])
def test_a_judge_is_asked_for_whole_numbers_of_each_and_then_for_feedback(branch):
    score = {"type": "integer", "minimum": 1, "maximum": 10}
    dimensions = ["adherence", "utility", "relevance"][branch == "error" :]
    asked = judgement_reply(branch, 4).schema_asked()
    for name in dimensions:
        assert asked["properties"][name] == {"type": "array", "items": score, "minItems": 4, "maxItems": 4}
    assert list(asked["properties"]) == asked["required"] == [*dimensions, "feedback"], "the order is that of writing"
    assert asked["properties"]["feedback"]["maxItems"] == 4


def test_the_judge_sees_all_that_an_answer_depends_on_at_a_bounded_length():
    squad = load_task("squad", {})
    context = "Oslo lies in Norway. " + "Much is told of it. " * 900 + "It has a harbour."
    fields = {"context": context, "question": "Where does Oslo lie?", "answers": ["Norway"]}
    shown = item(squad, fields, length=room(5))["question"]
    assert shown.startswith("Oslo lies in Norway.") and shown.endswith("Question: Where does Oslo lie?")
    assert len(shown) <= BATCH_LENGTH / 5 + 10
    options = {"prompt": "In {language}: {text}", "answer": "a", "scorer": "exact", "description": "Translate."}
    custom = load_task("custom", options)
    assert item(custom, custom.read({"language": "Danish", "text": "No entry", "a": "x"}))["question"] == "In Danish: No entry"
