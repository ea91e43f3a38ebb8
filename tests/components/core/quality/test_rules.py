"""Who may judge, what a score is, what is sent back."""

import pytest

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.quality.rules import check_judge, feedback_text, mean_score
from pada_agent.components.core.settings import ControlSettings, LlmSettings


def test_a_judge_that_is_the_teacher_is_refused_unless_named():
    teacher = LlmSettings(model="big", base_url="http://a/v1")
    with pytest.raises(InputError, match=r"judge\.model: 'big' is the teacher too"):
        check_judge(teacher, LlmSettings(model="big", base_url="http://b/v1"), ControlSettings())
    with pytest.raises(InputError):
        check_judge(teacher, teacher, ControlSettings(allow_judge="other"))
    check_judge(teacher, teacher, ControlSettings(allow_judge="big"))
    check_judge(teacher, teacher, ControlSettings(verdict="checks"))
    check_judge(teacher, LlmSettings(model="other"), ControlSettings())


def test_no_scores_are_never_averaged():
    with pytest.raises(ValueError):
        mean_score({})


def test_feedback_names_each_reason_once_and_then_what_the_judge_says():
    assert feedback_text(["sql: is empty.", "sql: is empty", "off"], "Vary more.") == "sql: is empty. off. Vary more."
    assert feedback_text([str(n) for n in range(9)], "") == "0. 1. 2. 3."
    assert feedback_text([], "") == ""
