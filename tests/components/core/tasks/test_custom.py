"""A user's own rows: reading, each scorer, new rows, and options that are wrong."""

import random
from pathlib import Path
from typing import Any

import pytest

from pada_agent.components.backends.sandbox.run import run_code
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.tasks.custom import Custom
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.task import CodeRunner, OptionFile, Task

SCORER = """
import math

def close(output: str, answer: str) -> bool:
    return math.isclose(float(output), float(answer), abs_tol=0.1)
"""


def options(scorer: str = "exact", **more: Any) -> dict[str, Any]:
    return {"prompt": "question", "answer": "answer", "scorer": scorer, "description": "Short questions."} | more


def load(scorer: str = "exact", **more: Any) -> Task:
    return load_task("custom", options(scorer, **more))


def judged(task: Task, answer: str, output: str, run: CodeRunner = run_code) -> tuple[bool, bool]:
    fields = task.read({"question": "What is asked here?", "answer": answer})
    score = task.score(fields, output, run)
    return score.correct, score.valid


def test_a_template_is_filled_and_a_system_message_sent() -> None:
    task = load(prompt="Translate into {language}: {text}", answer="translation", system="Be short.", group="sign")
    raw = {"language": "Danish", "text": "No entry", "translation": "Ingen adgang", "sign": 7, "unused": [1]}
    fields = task.read(raw)
    assert fields == {"inputs": {"language": "Danish", "text": "No entry"}, "answer": "Ingen adgang", "choices": []}
    assert task.messages(fields) == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Translate into Danish: No entry"},
    ]
    assert task.target(fields) == task.reference(fields) == "Ingen adgang"
    assert task.question(fields) == "language: Danish\ntext: No entry"
    assert task.group(raw) == "7"
    assert task.options_of(fields) == []


def test_a_single_field_is_the_prompt() -> None:
    task = load()
    fields = task.read({"question": "How {odd} is this?", "answer": 5})
    assert task.messages(fields) == [{"role": "user", "content": "How {odd} is this?"}]
    assert task.question(fields) == "How {odd} is this?"
    assert task.private_texts(fields) == ["How {odd} is this?"]
    assert fields["answer"] == "5"


def test_short_fields_are_no_private_text() -> None:
    task = load(prompt="Into {language}: {text}")
    fields = task.read({"language": "Danish", "text": "The museum is closed on Mondays", "answer": "x"})
    assert task.private_texts(fields) == ["The museum is closed on Mondays"]


@pytest.mark.parametrize(
    ("scorer", "more", "answer", "output", "verdict"),
    [
        ("exact", {}, "Ingen adgang", " Ingen\n adgang ", (True, True)),
        ("exact", {}, "Ingen adgang", "ingen adgang", (False, True)),
        ("exact", {}, "Ingen adgang", "", (False, False)),
        ("numeric", {}, "1,234", "It is 7, no, 1234.0!", (True, True)),
        ("numeric", {}, "1,234", "It is 1235", (False, True)),
        ("numeric", {}, "1,234", "It is a lot", (False, False)),
        ("regex", {"regex": r"Label: (\w+)"}, "Label: spam", "Label: ham\nLabel: spam", (True, True)),
        ("regex", {"regex": r"Label: (\w+)"}, "Label: spam", "Label: ham", (False, True)),
        ("regex", {"regex": r"Label: (\w+)"}, "Label: spam", "spam", (False, False)),
        ("regex", {"regex": "spam|ham"}, "spam", "this is spam.", (True, True)),
    ],
)
def test_scorers(
    scorer: str, more: dict[str, Any], answer: str, output: str, verdict: tuple[bool, bool], no_code: CodeRunner
) -> None:
    task = load(scorer, **more)
    assert judged(task, answer, output, no_code) == verdict
    assert judged(task, answer, answer, no_code) == (True, True)
    assert judged(task, answer, "", no_code) == (False, False)


def test_multiple_choice(no_code: CodeRunner) -> None:
    task = load("multiple_choice", choices="options")
    raw = {"question": "Which floats?", "options": ["iron", "cork", "lead"]}
    for key in ("cork", "B", 1, "1"):
        fields = task.read(raw | {"answer": key})
        assert fields["answer"] == "B"
    assert task.messages(fields)[0]["content"].startswith("Which floats?\n\nA. iron\nB. cork\nC. lead\n\n")
    assert task.score(fields, task.target(fields), no_code).correct
    assert task.score(fields, "A", no_code).predicted == "A"
    assert not task.score(fields, "", no_code).valid
    assert task.options_of(fields) == ["A", "B", "C"]
    assert task.reference(fields) == "B. cork"
    again = task.fields_of(task.sample_of(fields), fields)
    assert again["choices"]["ABC".index(again["answer"])] == "cork"
    with pytest.raises(InputError, match="answer: answer key 'glass' is none of the labels"):
        task.read(raw | {"answer": "glass"})
    with pytest.raises(InputError, match="options: must be a list"):
        task.read({"question": "x", "answer": "A", "options": "iron, cork"})


def test_a_python_scorer_runs_in_the_sandbox_and_travels_with_the_data(tmp_path: Path) -> None:
    script, assets = tmp_path / "own.py", tmp_path / "assets"
    script.write_text(SCORER)
    task = load("python", python=f"{script}:close")
    assert judged(task, "3.14", "3.1") == (True, True)
    assert judged(task, "3.14", "3.5") == (False, True)
    assert judged(task, "3.14", "many") == (False, True)
    assert task.option_files({"python": f"{script}:close"}) == {"python": OptionFile(str(script), "scorer.py", ":close")}
    ((name, source),) = task.assets().items()
    assets.mkdir()
    (assets / name).write_text(source)
    script.unlink()
    elsewhere = load_task("custom", options("python", python=f"{script}:close"), assets)
    assert judged(elsewhere, "3.14", "3.1") == (True, True)
    assert "could not convert" in elsewhere.score({"inputs": {}, "answer": "1", "choices": []}, "many", run_code).detail


def test_a_python_scorer_cannot_pass_by_leaving_early(tmp_path: Path) -> None:
    script = tmp_path / "own.py"
    script.write_text("import os\ndef score(output, answer):\n    os._exit(0)\n")
    assert judged(load("python", python=f"{script}:score"), "1", "2") == (False, True)


def test_quotes_in_an_output_stay_in_it(tmp_path: Path) -> None:
    script = tmp_path / "own.py"
    script.write_text("def same(output, answer):\n    return output == answer\n")
    task = load("python", python=f"{script}:same")
    for text in ("'''\nimport os\n'''", '"""', "{output}", "\\", "a\nb", "é\u2028"):
        assert judged(task, text, text) == (True, True)
        assert judged(task, text, text + "x") == (False, True)


def test_a_scorer_named_by_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_scorers").mkdir()
    (tmp_path / "own_scorers" / "__init__.py").write_text("")
    (tmp_path / "own_scorers" / "near.py").write_text(SCORER)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert judged(load("python", python="own_scorers.near:close"), "3.14", "3.1") == (True, True)


def test_a_new_row_is_read_as_the_scorer_reads(no_code: CodeRunner) -> None:
    task = load("numeric", prompt="{story} {question}")
    fields = task.read({"story": "There are 3 cats.", "question": "How many?", "answer": "3"})
    assert task.sample_of(fields).model_dump() == {"story": "There are 3 cats.", "question": "How many?", "answer": "3"}
    again = task.fields_of(task.sample_of(fields), fields)
    assert again == fields
    assert task.verify(again, no_code) == ""
    with pytest.raises(InputError, match="answer: 'three' has no number in it"):
        task.fields_of(task.Sample(story="s", question="q", answer="three"), fields)
    with pytest.raises(InputError, match="story: is empty"):
        task.fields_of(task.Sample(story=" ", question="q", answer="3"), fields)


def test_a_field_called_answer_in_the_prompt_does_not_collide() -> None:
    task = load(prompt="Is '{answer}' right?", answer="verdict")
    fields = task.read({"answer": "4", "verdict": "yes"})
    assert task.fields_of(task.sample_of(fields), fields) == fields


def test_a_field_may_be_called_as_pydantic_calls_things_itself() -> None:
    task = load(prompt="{schema} {json} {copy}")
    fields = task.read({"schema": "s", "json": "j", "copy": "c", "answer": "x"})
    assert task.fields_of(task.Sample(schema="s", json="j", copy="c", answer="x"), fields) == fields


def test_verify_runs_the_scorer_on_the_answer_itself(tmp_path: Path) -> None:
    script = tmp_path / "own.py"
    script.write_text(SCORER)
    task = load("python", python=f"{script}:close")
    assert task.verify(task.read({"question": "q", "answer": "3"}), run_code) == ""
    assert "refuses the answer itself" in task.verify(task.read({"question": "q", "answer": "three"}), run_code)


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ({"answer": "x"}, "question: is missing"),
        ({"question": "q"}, "answer: is missing"),
        ({"question": "q", "answer": ""}, "answer: is empty; fill it in, or leave the row out"),
        ({"question": ["q"], "answer": "x"}, "question: must be a text or a number"),
    ],
)
def test_broken_rows_are_named(raw: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        load().read(raw)


def test_an_answer_the_scorer_cannot_read_is_named() -> None:
    with pytest.raises(InputError, match="the regex finds nothing in 'spam'; the model is trained to write this text"):
        load("regex", regex=r"Label: (\w+)").read({"question": "q", "answer": "spam"})


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (options(scoer="exact"), "'scoer' is not known; custom takes prompt, answer, description"),
        ({"prompt": "q"}, "scorer: Field required"),
        (options("fuzzy"), "scorer: Input should be"),
        (options("regex"), "regex: belongs to scorer regex"),
        (options("exact", regex="x"), "regex: belongs to scorer regex"),
        (options("regex", regex="("), "regex: missing"),
        (options("exact", choices="options"), "choices: belongs"),
        (options("python", python="close"), "is not file.py:function"),
        (
            options("python", python="/nowhere/own.py:close"),
            "/nowhere/own.py: cannot be read .No such file or directory.; give the address of a Python file",
        ),
        (options("python", python="no_such_package.module:close"), "there is no module 'no_such_package.module'"),
        (options("python", python="sys:exit"), "there is no module 'sys' that is one Python file"),
        (options("python", python=f"{__file__}:nothing_here"), "defines no function 'nothing_here'"),
        (options(prompt="say something: {}"), "names no field"),
        (options(prompt="{a} {b}", context="c"), "context: the prompt has no field 'c'; name the one"),
        (options(prompt="on {a}", context="a"), "context: the prompt has no other field"),
        (options(max_new_tokens=0), "max_new_tokens: "),
    ],
)
def test_wrong_options_are_named(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match="task.options.*" + complaint) as caught:
        Custom(given)
    assert "\n" not in str(caught.value)


LABELS = ["spam", "not spam", "unsure"]


def test_labels_are_the_only_answers_there_are() -> None:
    task = load(labels=LABELS)
    fields = task.read({"question": "Win a car!", "answer": "spam"})
    with pytest.raises(InputError, match=r"answer: 'Spam' is none of task\.options\.labels"):
        task.read({"question": "Win a car!", "answer": "Spam"})
    with pytest.raises(ValueError, match="'spam', 'not spam' or 'unsure'"):
        task.Sample.model_validate({"question": "Win a boat!", "answer": "advert"})
    assert (
        task.fields_of(task.Sample.model_validate({"question": "Win a boat!", "answer": "not spam"}), fields)["answer"]
        == "not spam"
    )
    assert judged(task, "spam", "not spam") == (False, True)
    assert judged(task, "spam", "It is spam") == (False, False), "no label is no answer"
    assert judged(task, "not spam", " not\nspam") == (True, True)


def test_labels_are_what_failures_are_counted_by_and_what_a_solver_chooses_from() -> None:
    task = load(labels=LABELS)
    fields = task.read({"question": "Win a car!", "answer": "spam"})
    assert task.features(fields) == {"the answer 'spam'"}
    assert load().features(fields) == set()
    assert task.options_of(fields) == LABELS
    assert {task.spoil(fields, random.Random(i)) for i in range(20)} == {"not spam", "unsure"}
    assert "work" not in task.Solved.model_fields and "work" in load().Solved.model_fields


def test_what_labels_mean_is_told_and_asked_for() -> None:
    meanings = {"spam": "sells something", "ham": "from a person", "odd": ""}
    task = load(labels=meanings)
    assert task.description == "Short questions.\nWhat the answers mean:\n- spam: sells something\n- ham: from a person\n- odd"
    assert load(labels={**meanings, "odd": None}).description == task.description, "a meaning that YAML has nothing for"
    assert load(labels=LABELS).description == "Short questions.\nThe answers there are:\n- spam\n- not spam\n- unsure"
    fields = task.read({"question": "Win a car!", "answer": "spam"})
    assert task.features(fields) == {"the answer 'spam' (sells something)"}
    assert task.features({**fields, "answer": "odd"}) == {"the answer 'odd'"}
    assert task.sample_of(fields).model_dump() == {"answer": "spam", "question": "Win a car!"}
    assert [*task.sample_of(fields).model_dump()] == [*task.Sample.model_fields] == ["answer", "question"], "the label first"
    assert task.options_of(fields) == ["spam", "ham", "odd"]


@pytest.mark.parametrize(
    ("scorer", "more", "message"),
    [
        ("numeric", {"labels": ["1", "2"]}, "labels: belongs to scorer exact, not to numeric"),
        ("exact", {"labels": ["spam"]}, "labels: must be two or more"),
        ("exact", {"labels": ["spam", "ham", "spam"]}, "labels: .*each must occur once"),
        ("exact", {"labels": ["spam", " "]}, "none of them empty"),
        ("exact", {"labels": ["spam", "ham "]}, "with space around it"),
    ],
)
def test_labels_that_are_none(scorer: str, more: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(scorer, **more)
