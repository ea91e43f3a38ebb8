"""The scorer `judge` of a custom task: what it takes, and that it gives no verdict itself."""

from pathlib import Path

import advice_rows
import pytest

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Prediction, Score, TrainRow, check_scored
from pada_agent.components.core.statistics import summarise
from pada_agent.components.core.tasks.custom import Custom
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.task import OptionFile
from pada_agent.components.core.tasks.trial import try_scorer


def load(**more):
    return load_task("custom", advice_rows.options(**more))


def never(program, seconds):
    pytest.fail("nothing is run")


def test_a_score_is_pending_and_that_of_an_empty_answer_is_zero():
    task = load()
    fields = task.read(advice_rows.row("train", 1))
    score = task.score(fields, "Any answer.", never)
    assert (score.pending, score.correct, score.valid, score.grade) == (True, False, True, None)
    for empty in ("", " \n", "<think>What to say?</think> "):
        score = task.score(fields, empty, never)
        assert (score.pending, score.correct, score.valid, score.grade) == (False, False, False, 0.0)
    try_scorer(task, [TrainRow(id="a", fields=fields)], never)
    assert task.verify(fields, never) == "", "a teacher's sample is not refused for want of a verdict"
    assert (task.rubric, task.threshold) == (advice_rows.RUBRIC, 0.75)


def test_no_verdict_may_be_read_out_of_a_pending_score():
    for wrong in ({"correct": True}, {"correct": False, "grade": 0.5}):
        with pytest.raises(ValueError, match="a score that is pending is neither right nor graded"):
            Score(valid=True, pending=True, **wrong)
    waiting = Score(correct=False, valid=True, pending=True)
    rows = [Prediction(id=str(i), split="test", prompt="", output="", reference="", score=waiting) for i in range(2)]
    with pytest.raises(InputError, match="there: 2 answers are not scored yet"):
        check_scored(rows, "there")
    with pytest.raises(InputError, match="metrics: 2 answers are not scored yet"):
        summarise(rows)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rubric": ""}, "task.options: rubric: belongs to scorer judge, and it needs it"),
        ({"rubric": "  "}, "task.options.rubric: is empty; say what makes an answer good"),
        ({"rubric": "nowhere.md"}, "task.options.rubric: nowhere.md: cannot be read (No such file or directory)"),
        (
            {"scorer": "exact", "threshold": 0.5, "rubric": ""},
            "threshold: belongs to scorer f1 and rouge and json and judge, not",
        ),
        ({"scorer": "f1"}, "rubric: belongs to scorer judge, and it needs it"),
        ({"scorer": "f1", "rubric": "", "human_score": "x"}, "human_score: belongs to scorer judge, not to f1"),
        ({"labels": ["a", "b"]}, "labels: belongs to scorer exact, not to judge"),
        ({"threshold": 0}, "threshold: Input should be greater than 0"),
    ],
)
def test_options_that_are_wrong(options, said):
    with pytest.raises(InputError) as caught:
        load(**options)
    assert said in str(caught.value)


def test_a_rubric_is_a_file_if_it_is_one_line_that_ends_like_one(tmp_path):
    file = tmp_path / "my rubric.txt"
    file.write_text(" Be kind. \n")
    options = advice_rows.options(rubric=str(file))
    assert Custom.option_files(options) == {"rubric": OptionFile(str(file), "rubric.txt")}
    task = load_task("custom", options)
    assert task.rubric == "Be kind." and task.assets() == {"rubric.txt": "Be kind."}
    assets = tmp_path / "assets"
    assets.mkdir()
    (assets / "rubric.txt").write_text("As it went with the data.")
    assert load_task("custom", options, assets).rubric == "As it went with the data."
    for text in ("Good is what is in rules.md\nand more", "Be kind.", "5 points: good. See notes.txt "):
        task = load_task("custom", advice_rows.options(rubric=text))
        assert task.rubric == text.strip() and task.assets() == {} and Custom.option_files(task.options.model_dump()) == {}
    Path(file).write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8 text; save it as UTF-8"):
        load_task("custom", options)


def test_what_people_said_of_a_row_is_read_where_it_is_there():
    task, row = load(human_score="human"), advice_rows.row("train", 1)
    for value, score in (("4", 4.0), (0, 0.0), ("-1.5", -1.5)):
        fields = task.read({**row, "human": value})
        assert fields["human_score"] == score
        assert task.Schema.model_validate(fields).model_dump()["human_score"] == score
        assert str(score) not in task.question(fields) + task.reference(fields) + task.sample_of(fields).model_dump_json()
    for nothing in ("", None):
        assert "human_score" not in task.read({**row, "human": nothing})
    for wrong in ("good", "nan", [4]):
        with pytest.raises(InputError, match=r"human: .* is no number; correct it, or leave it empty"):
            task.read({**row, "human": wrong})


def test_all_accepted_answers_are_right_ones():
    task = load()
    fields = task.read({"question": "How?", "answer": ["So.", "<think>or</think>Thus."]})
    assert task.references(fields) == ["So.", "Thus."]
