"""`pada init` on each kind of file: a config that is read, whose rows are read, and that says what it did."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from shape_files import FILES, as_json_lines, as_table, columns, write

from pada_agent.components.backends.artifacts.row_sources import read_all, read_rows
from pada_agent.components.backends.artifacts.task_files import open_task
from pada_agent.components.core.settings import ControlSettings
from pada_agent.components.core.tasks.trial import try_reading
from pada_agent.components.prepare_data.prepare import prepare
from pada_agent.pipelines import doctor
from pada_agent.pipelines.config import read_config
from pada_agent.pipelines.config_schema import SCHEMA_FILE, config_schema, schema_text
from pada_agent.pipelines.init.look import RUBRIC

SPLITS = ("train", "validation", "selection", "test")


@pytest.fixture
def init(pada, tmp_path, monkeypatch):
    """`init(FILE, options)`: what it says, and the config's path."""
    monkeypatch.chdir(tmp_path)

    def call(*words, code=0):
        got, out, said = pada("init", *words)
        assert got == code, (out, said)
        return out if code == 0 else said

    return call


@pytest.mark.parametrize("name", FILES)
def test_each_file_gets_a_config_that_is_clean(name, init, tmp_path):
    path = write(name, tmp_path)
    said = init(path, "--yes", "--output", "my.yaml")
    text = (tmp_path / "my.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=pada.schema.json\n# Written by `pada init`. ")
    jsonschema.validate(yaml.safe_load(text), json.loads((tmp_path / "pada.schema.json").read_text()))
    settings = read_config(tmp_path / "my.yaml")
    assert settings.task.options["scorer"] == FILES[name][1]
    task = open_task(settings.task)
    rows = {split: [row for _, row in read_rows(getattr(settings.task, split))] for split in SPLITS}
    whole = [row for _, row in read_rows(str(path))]
    assert sorted(map(json.dumps, whole)) == sorted(json.dumps(row) for part in rows.values() for row in part)
    for split in SPLITS:
        tried = try_reading(task, read_all(getattr(settings.task, split)), 1000)
        assert tried.fields and not tried.complaints
    checks = {check.name: check for check in doctor._rows(settings, [a for a in doctor.addresses(settings) if a.kind == "rows"])}
    assert [str(check) for check in checks.values() if not check.well] == []
    assert f"all {len(rows['train'])} are read" in checks["train rows"].found
    prepared = prepare(task, {split: read_all(getattr(settings.task, split)) for split in SPLITS}, _Prepare(settings.task))
    assert len(prepared.train) + sum(map(len, prepared.held_out.values())) + len(prepared.removed) == len(whole)
    assert f"The test split has {len(rows['test'])} rows" in said
    assert "rows looked at, read as " in said


class _Prepare:
    """The sections that prepare_data is given."""

    def __init__(self, task):
        self.task, self.control = task, ControlSettings()


def test_groups_are_never_divided(init, tmp_path):
    write("columns.csv", tmp_path)
    said = init("columns.csv", "--yes")
    settings = read_config(tmp_path / "columns.yaml")
    assert settings.task.options["group"] == "customer_id"
    groups = {split: {row["customer_id"] for _, row in read_rows(getattr(settings.task, split))} for split in SPLITS}
    assert sum(map(len, groups.values())) == len(set.union(*groups.values())) == 30
    assert "in 6 groups: " in said
    text = (tmp_path / "columns.yaml").read_text()
    assert "12 rows in 6 groups: what is reported; shows a difference of" in text
    assert "Answer with one of: account, billing, delivery." in settings.task.options["description"]


def test_the_same_file_is_divided_alike_whatever_its_order(init, tmp_path):
    for name, rows in (("a", columns()), ("b", columns()[::-1])):
        (tmp_path / f"{name}.jsonl").write_text(as_json_lines(rows))
        init(f"{name}.jsonl", "--yes")
    a, b = ({json.dumps(row) for _, row in read_rows(str(tmp_path / f"{n}-splits" / "test.jsonl"))} for n in "ab")
    assert a == b


def test_splits_that_are_there_are_taken(init, tmp_path):
    for split in ("train", "dev", "test"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{split}.csv").write_text(as_table(columns()))
    init("data", "--yes")
    task = read_config(tmp_path / "data.yaml").task
    assert [Path(place).name for place in (task.train, task.validation, task.test)] == ["train.csv", "dev.csv", "test.csv"]
    assert not task.selection and not (tmp_path / "data-splits").exists()
    init("data/train.csv", "--test", "data/test.csv", "--yes", "--output", "two.yaml")
    task = read_config(tmp_path / "two.yaml").task
    assert task.test == str(tmp_path / "data" / "test.csv")
    assert task.validation == str(tmp_path / "two-splits" / "validation.jsonl")


def test_columns_of_unusual_names_are_guessed_or_asked_for(init, tmp_path, monkeypatch):
    rows = [
        {"was der Kunde schreibt": row["user query"], "Ort": f"Ort {n}", "Thema": row["Category"]}
        for n, row in enumerate(columns())
    ]
    (tmp_path / "odd.csv").write_text(as_table(rows, ";"))
    init("odd.csv", "--yes")
    options = read_config(tmp_path / "odd.yaml").task.options
    assert (options["prompt"], options["answer"]) == ("was der Kunde schreibt", "Thema")
    asked = []

    def answer(question, proposed):
        asked.append((question, proposed))
        return {"Which column is the answer": "was der Kunde schreibt", "Which column is the prompt": "Ort"}.get(
            question.partition("?")[0], proposed
        )

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.prompt", answer)
    init("odd.csv", "--output", "asked.yaml")
    options = read_config(tmp_path / "asked.yaml").task.options
    assert (options["prompt"], options["answer"]) == ("Ort", "was der Kunde schreibt")
    assert [question.partition("?")[0] for question, _ in asked] == [
        "Which column is the prompt",
        "Which column is the answer",
        "How is an answer scored",
        "What is asked, and what is a good answer",
        "Which small model is to be tuned",
        "Address of the teacher, which speaks the OpenAI API",
    ]
    init(
        "odd.csv",
        "--output",
        "named.yaml",
        "--yes",
        "--prompt",
        "Frage: {was der Kunde schreibt}",
        "--answer",
        "Thema",
        "--scorer",
        "regex",
        code=1,
    )
    init("odd.csv", "--output", "named.yaml", "--yes", "--prompt", "Frage: {was der Kunde schreibt}", "--answer", "Thema")
    assert read_config(tmp_path / "named.yaml").task.options["prompt"] == "Frage: {was der Kunde schreibt}"


def test_a_teacher_at_an_address(init, tmp_path):
    write("chat.jsonl", tmp_path)
    words = ["chat.jsonl", "--yes", "--teacher-url", "https://llm.example/v1", "--teacher", "big"]
    assert "two models' names, which differ: --teacher and --judge" in init(*words, code=1)
    init(*words, "--judge", "other", "--slm", "org/slm")
    settings = read_config(tmp_path / "chat.yaml")
    assert (settings.teacher.base_url, settings.judge.base_url) == ("https://llm.example/v1",) * 2
    assert (settings.teacher.model, settings.judge.model, settings.slm.model) == ("big", "other", "org/slm")
    assert settings.control == ControlSettings()


@pytest.mark.parametrize("words", [(), ("--teacher-url", "https://llm.example/v1", "--teacher", "big", "--judge", "other")])
def test_an_llm_as_scorer_gets_a_rubric_and_is_named(init, tmp_path, words):
    write("chat.jsonl", tmp_path)
    init("chat.jsonl", "--yes", "--scorer", "judge", *words)
    text = (tmp_path / "chat.yaml").read_text()
    jsonschema.validate(yaml.safe_load(text), json.loads((tmp_path / "pada.schema.json").read_text()))
    settings = read_config(tmp_path / "chat.yaml")
    assert settings.scorer.model == settings.judge.model and settings.scorer.same_as == "judge"
    assert settings.task.options["rubric"] == RUBRIC and open_task(settings.task).rubric == RUBRIC
    assert settings.control.solve == "off" and "solves each new row" not in text


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("few.csv", "question,answer\na,b\nc,d\n", "2 rows in 2 groups are too few to be divided"),
        ("none.csv", "question,answer\n", "none.csv: it has no rows"),
        ("bad.jsonl", "x\ny\n", "bad.jsonl:1: not JSON"),
        ("one.csv", "text\n" + "a\n" * 30, "there is no column '' for the answer; there are the columns 'text'"),
        ("same.csv", "question,answer\n" + "a,b\n" * 30, "30 rows in 1 groups are too few"),
        ("gone.csv", None, "no such file"),
    ],
)
def test_what_no_config_can_be_made_of(init, tmp_path, name, text, complaint):
    if text is not None:
        (tmp_path / name).write_text(text)
    said = init(name, "--yes", code=1)
    assert complaint in said
    assert not list(tmp_path.glob("*.yaml")) and not list(tmp_path.glob("*-splits"))


def test_rows_that_cannot_be_used_are_left_out_and_told(init, tmp_path):
    rows = [{"question": row["user query"], "answer": row["Category"]} for row in columns()]
    rows[6]["answer"] = rows[10]["answer"] = ""
    (tmp_path / "t.csv").write_text(as_table(rows))
    said = init("t.csv", "--yes")
    assert (
        "Left out: 2 rows cannot be used:\n  t.csv:8: answer: is empty; fill it in, or leave the row out\n  t.csv:12: answer:"
        in said
    )
    task = read_config(tmp_path / "t.yaml").task
    assert sum(1 for split in SPLITS for _ in read_rows(getattr(task, split))) == 58
    for row in rows[:30]:
        row["answer"] = None
    (tmp_path / "u.csv").write_text(as_table(rows))
    said = init("u.csv", "--yes", code=1)
    assert (
        said.startswith("pada: 30 rows cannot be used:")
        and "u.csv:21:" in said
        and "u.csv:22:" not in said
        and "and 10 more" in said
    )


def test_nothing_is_overwritten_and_nobody_is_asked_without_a_terminal(init, tmp_path):
    write("columns.csv", tmp_path)
    assert "no terminal to ask at; say --yes" in init("columns.csv", code=1)
    init("columns.csv", "--yes")
    before = (tmp_path / "columns.yaml").read_bytes()
    assert "columns.yaml: is there already" in init("columns.csv", "--yes", code=1)
    (tmp_path / "columns.yaml").unlink()
    assert "columns-splits: is there already" in init("columns.csv", "--yes", code=1)
    assert before


def test_the_schema_is_the_codes_own():
    assert SCHEMA_FILE.read_text() == schema_text(), "python -m pada_agent.pipelines.config_schema writes it anew"


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        (lambda c: c, True),
        (lambda c: c["task"]["options"].update(scorrer="exact"), False),
        (lambda c: c["task"]["options"].update(shape="chat"), True),
        (lambda c: c["task"]["options"].update(shape="table"), False),
        (lambda c: c.update(slm={"model": "m", "max_length": 4}), False),
        (lambda c: c.update(trian={}), False),
        (lambda c: c["task"].update(name="gsm8k", options={"any": 1}), True),
    ],
)
def test_the_schema_tells_right_from_wrong(change, fits):
    options = {"scorer": "exact", "description": "d"}
    config = {"task": {"name": "custom", "train": "a", "validation": "b", "test": "c", "options": options}}
    config |= {"slm": {"model": "m"}, "teacher": {"model": "t"}, "judge": {"model": "j"}}
    change(config)
    checker = jsonschema.Draft202012Validator(config_schema())
    assert checker.is_valid(config) == fits
