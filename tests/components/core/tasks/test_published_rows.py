"""What holds for every row of the public benchmarks, whichever the task; HumanEval has tests of its own."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.task import CodeResult, CodeRunner, Task

NAMES = ("squad", "arc_challenge", "hellaswag", "gsm8k")
Published = Callable[[str], list[dict[str, Any]]]

pytestmark = pytest.mark.data


@pytest.fixture(scope="module", params=NAMES)
def task(request: pytest.FixtureRequest) -> Task:
    return load_task(request.param, {})


@pytest.fixture(scope="module")
def rows(task: Task, published: Published) -> list[Fields]:
    return [task.read(raw) for raw in published(task.name)]


def test_gold_is_right_and_nothing_is_wrong(task: Task, rows: list[Fields], no_code: CodeRunner) -> None:
    for fields in rows:
        gold = task.score(fields, task.target(fields), no_code)
        assert (gold.correct, gold.valid, gold.detail) == (True, True, ""), fields
        for nothing in ("", "  \n"):
            empty = task.score(fields, nothing, no_code)
            assert not empty.correct and not empty.valid, fields


def test_the_prompt_does_not_hold_the_answer(task: Task, rows: list[Fields]) -> None:
    for fields in rows:
        (message,) = task.messages(fields)
        assert message["role"] == "user"
        assert not message["content"].rstrip().endswith(task.target(fields))
        assert "<<" not in message["content"] + task.target(fields) or task.name != "gsm8k"


def test_a_row_shown_to_the_teacher_comes_back_as_a_row_that_scores(task: Task, rows: list[Fields], no_code: CodeRunner) -> None:
    for fields in rows:
        again = task.fields_of(task.sample_of(fields), fields)
        assert task.Schema.model_validate(again).model_dump() == again
        assert task.score(again, task.target(again), no_code).correct
        json.dumps(task.sample_of(fields).model_dump())


def test_the_teachers_form_fits_nearly_all_real_rows(task: Task, rows: list[Fields]) -> None:
    fitting = 0
    for fields in rows:
        try:
            task.Sample.model_validate(task.sample_of(fields).model_dump())
            fitting += 1
        except ValueError:
            pass
    assert fitting > 0.8 * len(rows)


def test_verification_accepts_real_rows(task: Task, rows: list[Fields], no_code: CodeRunner) -> None:
    refused = [reason for fields in rows if (reason := task.verify(fields, no_code))]
    assert len(refused) < 0.02 * len(rows), refused[:10]  # the few: published solutions with slips of their own


def test_private_texts_hold_the_question_and_no_bare_answer(task: Task, rows: list[Fields]) -> None:
    for fields in rows[:200]:
        texts = task.private_texts(fields)
        assert fields["question"] in texts
        assert task.target(fields) not in texts


def test_unknown_options_are_named(task: Task) -> None:
    with pytest.raises(InputError, match="'databse' is not known"):
        load_task(task.name, {"databse": "x"})


@given(output=st.text(st.sampled_from("ABCDE abc.:()*#-,$0123456789\n"), max_size=60) | st.text(max_size=60))
def test_no_output_makes_scoring_fail(output: str) -> None:
    choices = {"question": "Why?", "options": ["x", "y", "z", "w"], "answer": "B"}
    fields: dict[str, Fields] = {
        "arc_challenge": choices,
        "hellaswag": choices,
        "squad": {"context": "The cat sat.", "question": "Who?", "answers": ["The cat"]},
        "gsm8k": {"question": "How many?", "answer": "2+2=4\n#### 4"},
        "humaneval": {"prompt": "def f():\n", "entry_point": "f", "canonical_solution": "    return 1", "test": ""},
    }
    for name, row in fields.items():
        score = load_task(name, {}).score(row, output, lambda program, seconds: CodeResult(passed=False, detail="no"))
        assert score.valid or not score.correct
