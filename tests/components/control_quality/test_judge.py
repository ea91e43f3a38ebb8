"""What the judge is asked for, and what is made of its replies."""

import pytest

from pada_agent.components.control_quality.judge import ErrorJudgement, PatternJudgement, solve_request
from pada_agent.components.core.quality.rules import mean_score
from pada_agent.components.core.records import Provenance, SyntheticRow
from pada_agent.components.core.settings import ControlSettings
from pada_agent.components.core.tasks.registry import load_task


def test_the_error_branch_has_no_adherence():
    scores = ErrorJudgement.read({"adherence": 1, "utility": 8, "relevance": 9, "feedback": "x"}).scores
    assert scores == {"utility": 8, "relevance": 9}
    assert mean_score(scores) == 8.5
    scores = PatternJudgement.read({"adherence": 1, "utility": 8, "relevance": 9}).scores
    assert mean_score(scores) == 6


@pytest.mark.parametrize(
    "value",
    [{}, [], {"utility": "good", "relevance": 5}, {"utility": 0, "relevance": 5}, {"utility": 11, "relevance": 5}],
)
def test_scores_that_are_missing_or_out_of_range_are_errors_not_zeros(value):
    with pytest.raises(ValueError):
        ErrorJudgement.read(value)


def test_scores_may_come_as_text_and_none_is_no_feedback():
    judgement = ErrorJudgement.read({"utility": "7.5", "relevance": 8, "feedback": "None."})
    assert (judgement.scores, judgement.feedback) == ({"utility": 7.5, "relevance": 8.0}, "")
    assert ErrorJudgement.read({"utility": 7, "relevance": 8, "feedback": None}).feedback == ""


@pytest.mark.parametrize("reply", [PatternJudgement, ErrorJudgement])
def test_a_judge_is_asked_for_whole_numbers_and_then_for_feedback(reply):
    score = {"type": "integer", "minimum": 1, "maximum": 10}
    dimensions = [name for name in ("adherence", "utility", "relevance") if name in reply.model_fields]
    properties = {**dict.fromkeys(dimensions, score), "feedback": {"type": "string", "maxLength": 300}}
    asked = reply.schema_asked()
    assert asked == {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    assert list(asked["properties"]) == list(properties), "the order is that of writing"


def test_a_blind_answer_is_one_of_the_rows_labels():
    task = load_task("arc_challenge", {})
    fields = task.read({"question": "Q?", "choices": {"text": ["a", "b", "c"], "label": ["A", "B", "C"]}, "answerKey": "C"})
    provenance = Provenance(branch="error", parent_ids=["t"], iteration=1, batch_id="b", attempt=0, request_hash="h")
    request = solve_request(task, SyntheticRow(id="r", fields=fields, provenance=provenance), ControlSettings())
    assert request.schema == {
        "type": "object",
        "properties": {"answer": {"type": "string", "enum": ["A", "B", "C"]}},
        "required": ["answer"],
        "additionalProperties": False,
    }
    assert request.parse({"answer": " B "}).answer == "B"
    with pytest.raises(ValueError, match=r"answer: .*'A', 'B' or 'C'"):
        request.parse({"answer": "D"})
