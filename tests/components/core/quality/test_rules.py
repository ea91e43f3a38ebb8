"""Who may judge, what a score is, what is sent back."""

import pytest

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.quality.rules import DIMENSIONS, check_judge, feedback_text, mean_score, parse_scores
from pada_agent.components.core.settings import LlmSettings


def test_a_judge_that_is_the_teacher_is_refused_unless_named():
    teacher = LlmSettings(model="big", base_url="http://a/v1")
    with pytest.raises(InputError, match=r"judge\.model: 'big' is the teacher too"):
        check_judge(teacher, LlmSettings(model="big", base_url="http://b/v1"), "")
    with pytest.raises(InputError):
        check_judge(teacher, teacher, "other")
    check_judge(teacher, teacher, "big")
    check_judge(teacher, LlmSettings(model="other"), "")


def test_the_error_branch_has_no_adherence():
    scores, _ = parse_scores({"adherence": 1, "utility": 8, "relevance": 9, "feedback": "x"}, DIMENSIONS["error"])
    assert scores == {"utility": 8, "relevance": 9}
    assert mean_score(scores) == 8.5
    scores, _ = parse_scores({"adherence": 1, "utility": 8, "relevance": 9}, DIMENSIONS["pattern"])
    assert mean_score(scores) == 6


@pytest.mark.parametrize(
    "value",
    [{}, [], {"utility": "good", "relevance": 5}, {"utility": 0, "relevance": 5}, {"utility": 11, "relevance": 5}],
)
def test_scores_that_are_missing_or_out_of_range_are_errors_not_zeros(value):
    with pytest.raises(ValueError):
        parse_scores(value, DIMENSIONS["error"])


def test_scores_may_come_as_text_and_none_is_no_feedback():
    assert parse_scores({"utility": "7.5", "relevance": 8, "feedback": "None."}, DIMENSIONS["error"]) == (
        {"utility": 7.5, "relevance": 8.0},
        "",
    )


def test_no_scores_are_never_averaged():
    with pytest.raises(ValueError):
        mean_score({})


def test_feedback_names_each_reason_once():
    assert feedback_text(["wrong answer: x", "wrong answer: x", "off the pattern."], "Vary more.") == (
        "wrong answer: x. off the pattern. Vary more."
    )
