"""`pada init` on each kind of file: a config that is read, whose rows are read, and that says what it did."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from shape_files import FATES, FILES, as_json_lines, as_table, columns, complaint, sums, topic, write

from pada_agent.components.backends.artifacts.row_sources import read_all, read_rows
from pada_agent.components.backends.artifacts.task_files import open_task
from pada_agent.components.core.settings import FEW_STEPS, ControlSettings, GenerateSettings
from pada_agent.components.core.tasks.trial import try_reading
from pada_agent.components.prepare_data.prepare import prepare
from pada_agent.pipelines import doctor
from pada_agent.pipelines.config import read_config
from pada_agent.pipelines.config_schema import SCHEMA_FILE, config_schema, schema_text
from pada_agent.pipelines.init.config_text import effect
from pada_agent.pipelines.init.look import RUBRIC

README = Path(__file__).parents[3] / "README.md"
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
    labels = sorted(FATES) if not name.startswith("gaps.") else ["0", "1", "2"]
    is_labelled = FILES[name][1] == "exact" and name != "several.json"  # where a row accepts two answers
    assert settings.task.options.get("labels", {}) == (dict.fromkeys(labels, "") if is_labelled else {})
    assert ("The answers are 3 labels: " in said) is is_labelled
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
    assert f"in 6 groups: {effect(6)}." in said and effect(6) != effect(12)
    text = (tmp_path / "columns.yaml").read_text()
    assert f"12 rows in 6 groups: what is reported; {effect(6)}\n" in text
    assert "    labels:  # all answers there are; what one means, in a few words behind it (label: meaning), helps" in text
    assert "      account: ''\n      billing: ''\n      delivery: ''\n" in text
    assert open_task(settings.task).description == (
        "Each text gets one label.\nThe answers there are:\n- account\n- billing\n- delivery"
    )


def test_a_question_that_comes_twice_is_in_one_split(init, tmp_path):
    rows = [{"question": complaint(n // 2), "answer": topic(n // 2), "note": f"asked {n}"} for n in range(60)]
    (tmp_path / "rows.jsonl").write_text(as_json_lines(rows))
    init("rows.jsonl", "--yes")
    task = read_config(tmp_path / "rows.yaml").task
    asked = [{row["question"] for _, row in read_rows(getattr(task, split))} for split in SPLITS]
    assert sum(map(len, asked)) == len(set.union(*asked)) == 30


def rows_with(answers, column="answer"):
    return [{"question": complaint(n), column: answer} for n, answer in enumerate(answers)]


WORKED = [f"It sells {sums(n)[1] - n} <<a={sums(n)[1]}>>a week.\n#### {sums(n)[1]:,}" for n in range(60)]


@pytest.mark.parametrize(
    ("rows", "scorer", "labels"),
    [
        (rows_with(WORKED), "numeric", 0),
        (rows_with([f"{answer} parcels" for answer in WORKED]), "numeric", 0),
        (rows_with([f"Each takes {n} minutes, so the answer is \\boxed{{{n + 4}}}." for n in range(60)]), "numeric", 0),
        (rows_with([f"In {1990 + n} it was founded by two sisters who sold bread to the town." for n in range(60)]), "rouge", 0),
        (rows_with([f"{n}/7" for n in range(60)]), "exact", 0),
        (rows_with([n % 5 for n in range(60)]), "numeric", 0),
        (rows_with([n % 5 for n in range(60)], "label"), "exact", 5),
        (rows_with("ABCD"[n % 4] for n in range(60)), "exact", 0),
        (rows_with(("ABCD"[n % 4] for n in range(60)), "class"), "exact", 4),
        (rows_with([n % 2 == 0 for n in range(60)]), "exact", 2),
        (rows_with(json.dumps({"topic": topic(n)}) for n in range(60)), "json", 0),
        (rows_with([f"Kind {n % 12}" for n in range(60)]), "exact", 0),  # of which the training rows have fewer than five each
        (rows_with(["no", "A message in which a customer says no to us"][n % 2] for n in range(60)), "exact", 2),
        (rows_with([f"A kind of message in which the customer is not happy{'!' * (n % 2)}" for n in range(60)]), "rouge", 0),
    ],
)  # fmt: skip
def test_what_answers_are_taken_for(init, tmp_path, rows, scorer, labels):
    (tmp_path / "rows.jsonl").write_text(as_json_lines(rows))
    init("rows.jsonl", "--yes")
    task = read_config(tmp_path / "rows.yaml").task
    assert (task.options["scorer"], len(task.options.get("labels", {}))) == (scorer, labels)
    own = open_task(task)
    for split in SPLITS:
        tried = try_reading(own, read_all(getattr(task, split)), 1000)
        assert tried.fields and not tried.complaints
        assert all(own.score(fields, own.target(fields), None).correct for fields in tried.fields)


def test_labels_are_all_answers_of_all_rows_or_none(init, tmp_path):
    rows = columns()
    known = "The answers are 3 labels: account, billing, delivery."
    (tmp_path / "rows.csv").write_text(as_table(rows))
    (tmp_path / "other.csv").write_text(as_table([*rows[:5], rows[5] | {"Category": "a rare one"}]))
    for split in ("--validation", "--test"):
        name = f"by{split}"
        said = init("rows.csv", "--yes", split, "other.csv", "--output", f"{name}.yaml")
        assert known not in said and f"a row of {split[2:]} has the answer 'a rare one', which no training row has" in said
        task = read_config(tmp_path / f"{name}.yaml").task
        assert "labels" not in task.options and "a rare one" not in str(task.options)
    said = init("rows.csv", "--yes", "--test", "rows.csv")
    assert known in said
    many = [{"text": complaint(n), "label": topic(n) if n < 2000 else f"kind {n % 30}"} for n in range(2300)]
    (tmp_path / "many.jsonl").write_text(as_json_lines(many))
    said = init("many.jsonl", "--yes")
    assert "labels" not in said and "labels" not in read_config(tmp_path / "many.yaml").task.options


def test_labels_that_may_be_one_and_letters_that_may_be_options_are_told(init, tmp_path):
    topics = ["Wrong item", "wrong-item", "billing"]
    (tmp_path / "slips.csv").write_text(as_table(rows_with(topics[n % 3] for n in range(60))))
    said = init("slips.csv", "--yes")
    assert "Note: the labels 'Wrong item' and 'wrong-item' count as different answers; if they are one, write them alike." in said
    (tmp_path / "signs.csv").write_text(as_table(rows_with([">50K", "<=50K", "-1", "1"][n % 4] for n in range(60))))
    assert "Note:" not in init("signs.csv", "--yes")
    (tmp_path / "letters.csv").write_text(as_table(rows_with("ABC"[n % 3] for n in range(60))))
    said = init("letters.csv", "--yes")
    assert "Note: the answers are letters: if they name options, bring these as a column each or as a list (--choices)." in said
    (tmp_path / "parts.csv").write_text(as_table(rows_with(f"{n}/7" for n in range(60))))
    assert "`fractions: true`" in init("parts.csv", "--yes")


def test_the_readme_and_the_config_say_the_same_of_what_a_test_split_shows():
    said = re.search(r"with ([\d,]+) rows about (\d+) points, with ([\d,]+) about (\d+)\.", README.read_text())
    for rows, points in zip(said.groups()[::2], said.groups()[1::2], strict=True):
        assert effect(int(rows.replace(",", ""))).startswith(f"shows a difference of {points} points or more")


@pytest.mark.parametrize(("rows", "small", "large"), [(60, 42, 11), (319, 219, 55), (900, 0, 0)])
def test_few_rows_are_trained_on_in_small_steps(init, tmp_path, rows, small, large):
    (tmp_path / "rows.jsonl").write_text(as_json_lines(rows_with(["yes", "no"][n % 2] for n in range(rows))))
    init("rows.jsonl", "--yes")
    text, train = (tmp_path / "rows.yaml").read_text(), read_config(tmp_path / "rows.yaml").train
    given = len((tmp_path / "rows-splits" / "train.jsonl").read_text().splitlines())
    assert (f"{given} rows are few: {small} small steps teach more than {large} large ones" in text) is bool(small)
    assert train.accumulate == (1 if small else 4) and (train.steps(given) == small or train.steps(given) >= FEW_STEPS)


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


TOPICS = [(complaint(n), topic(n)) for n in range(60)]
RAGGED = [  # a table as some have it, the columns that are taken, what is said of it
    ([{"question": q, "answer": a} for q, a in TOPICS], "question", "answer", "read as prompt from 'question', answer from"),
    ([{"question": "", "text": q, "label": a} for q, a in TOPICS], "text", "label", "read as prompt from 'text'"),
    ([{"": n, "a": q, "b": a} for n, (q, a) in enumerate(TOPICS)], "a", "b", "answer from 'b'; scorer exact"),
    ([{"question\n(all)": q, "label": a} for q, a in TOPICS], "question (all)", "label", ""),
    ([{"Frage": q, "delivery": a} for q, a in TOPICS], "Frage", "delivery", "'delivery' has its own name as a value"),
    (rows_with(["N/A", "NaN", "no"][n % 3] for n in range(60)), "question", "answer", "'N/A' and 'NaN' may stand for"),
]


@pytest.mark.parametrize(("rows", "prompt", "answer", "told"), RAGGED)
def test_files_as_some_people_have_them(init, tmp_path, rows, prompt, answer, told):
    (tmp_path / "rows.csv").write_text(as_table(rows), encoding="utf-8-sig")
    assert told in init("rows.csv", "--yes")
    options = read_config(tmp_path / "rows.yaml").task.options
    assert (options["prompt"], options["answer"], options["scorer"]) == (prompt, answer, "exact")
    assert len(options["labels"]) == 3


def test_a_prompt_of_two_lines_is_one_in_a_comment(init, tmp_path):
    write("columns.csv", tmp_path)
    said = init("columns.csv", "--yes", "--prompt", "Topic of this?\n{user query}")
    assert "read as prompt from 'Topic of this? {user query}'" in said
    assert read_config(tmp_path / "columns.yaml").task.options["prompt"] == "Topic of this?\n{user query}"


def test_ids_that_repeat_and_gaps_do_no_harm(init, tmp_path):
    rows = [{"id": n % 7, "question": complaint(n), "answer": topic(n) if n % 20 else None, "note": None} for n in range(60)]
    (tmp_path / "rows.jsonl").write_text(as_json_lines(rows))
    said = init("rows.jsonl", "--yes")
    assert "Left out: 3 rows cannot be used:\n  rows.jsonl:1: answer: is empty" in said and "3 labels" in said
    task = read_config(tmp_path / "rows.yaml").task
    prepared = prepare(open_task(task), {split: read_all(getattr(task, split)) for split in SPLITS}, _Prepare(task))
    ids = [row.id for part in (prepared.train, *prepared.held_out.values()) for row in part]
    assert len(ids) == len(set(ids)) == 57


def test_a_column_that_many_rows_lack_ties_none_together(init, tmp_path):
    rows = columns()
    for row in rows[::5]:
        del row["customer_id"]
    (tmp_path / "rows.jsonl").write_text(as_json_lines(rows))
    said = init("rows.jsonl", "--yes")
    assert "'customer_id' ties rows together, but 12 of 60 rows have no such column" in said
    assert "group" not in read_config(tmp_path / "rows.yaml").task.options
    (tmp_path / "one.jsonl").write_text(as_json_lines([rows[0], *columns()[1:]]))
    assert "Left out: one.jsonl:1: customer_id: is missing" in init("one.jsonl", "--yes")
    assert read_config(tmp_path / "one.yaml").task.options["group"] == "customer_id"


def test_labels_are_written_so_that_yaml_reads_them_as_they_are(init, tmp_path):
    labels = ["a: b", "#c", "- d", "null", "*e", "{f}", "'g", '"h"', "~", "1.0", "yes", "ø"]
    rows = [{"text": f"{complaint(n)} {n}", "label": labels[n % 12]} for n in range(240)]
    (tmp_path / "rows.csv").write_text(as_table(rows))
    init("rows.csv", "--yes")
    assert read_config(tmp_path / "rows.yaml").task.options["labels"] == dict.fromkeys(sorted(labels), "")


def test_a_slip_among_worked_answers_is_left_out(init, tmp_path):
    (tmp_path / "rows.jsonl").write_text(as_json_lines(rows_with(["I cannot tell.", *WORKED[1:]])))
    said = init("rows.jsonl", "--yes")
    assert "scorer numeric" in said and "Left out: rows.jsonl:1: answer: 'I cannot tell.' has no number in it" in said


def test_a_teacher_at_an_address(init, tmp_path):
    write("chat.jsonl", tmp_path)
    words = ["chat.jsonl", "--yes", "--teacher-url", "https://llm.example/v1", "--teacher", "big"]
    assert "two models' names, which differ: --teacher and --judge" in init(*words, code=1)
    init(*words, "--judge", "other", "--slm", "org/slm")
    settings = read_config(tmp_path / "chat.yaml")
    assert (settings.teacher.base_url, settings.judge.base_url) == ("https://llm.example/v1",) * 2
    assert (settings.teacher.model, settings.judge.model, settings.slm.model) == ("big", "other", "org/slm")
    assert settings.control == ControlSettings() and settings.generate == GenerateSettings()


def test_rows_of_a_reply(init, tmp_path):
    long = [{"prompt": f"{n} {'word ' * 150}", "answer": f"{n} {'word ' * 80}"} for n in range(60)]
    (tmp_path / "long.jsonl").write_text(as_json_lines(long))
    address, batches = ("--teacher-url", "https://llm.example/v1", "--teacher", "a", "--judge", "b"), {}
    for name, words in {"small": (), "named": address}.items():
        init("long.jsonl", "--yes", "--scorer", "f1", "--output", f"{name}.yaml", *words)
        batches[name] = read_config(tmp_path / f"{name}.yaml").generate.batch
    assert batches == {"small": 1, "named": 4}


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
        (
            "one.csv",
            "text\n" + "a\n" * 30,
            "no column looks like the answer; with something in them there are the columns 'text'",
        ),
        ("same.csv", "question,answer\n" + "a,b\n" * 30, "30 rows in 1 group are too few"),
        ("gone.csv", None, "no such file"),
        ("blank.csv", "question,answer\n" + "".join(f"q{n},\n" for n in range(30)), "no column looks like the answer"),
        ("twice.csv", "question,answer,answer\na,b,c\n", "two columns are called 'answer'"),
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
        (lambda c: c["task"]["options"].update(labels=["a", "b"]), True),
        (lambda c: c["task"]["options"].update(labels={"a": "one", "b": None}), True),
        (lambda c: c["task"]["options"].update(labels="a, b"), False),
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
