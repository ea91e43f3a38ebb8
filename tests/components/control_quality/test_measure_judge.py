"""Known-good and known-bad batches measure the judge, from training rows alone, and change nothing else."""

import json
import re
from pathlib import Path

import pytest
import yaml

from pada_agent.components.backends.llm.client import open_llm
from pada_agent.components.backends.record_files import read_json, read_records, write_json, write_records
from pada_agent.components.control_quality.__main__ import run
from pada_agent.components.control_quality.measure_judge import OFF_TASK, known_batches, measure_judge
from pada_agent.components.core.quality.judge_check import JudgeCheck
from pada_agent.components.core.records import Batch, Provenance, Sample, SyntheticRow, TrainRow
from pada_agent.components.core.settings import BudgetSettings
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.generate_data.__main__ import run as generate

ITEM = re.compile(r"\d+\. Question: (.*)\n   Answer: (.*)\n?")
KINDS = ["good"] * 4 + ["subtle", "off_pattern", "exchanged", "cut"]
SQL = "SELECT city FROM customers GROUP BY city HAVING COUNT(*) > "


@pytest.fixture
def train(data):
    return read_records(data["train_data"] / "train.jsonl", TrainRow)


@pytest.fixture
def settings(sql_settings):
    return sql_settings.model_copy(update={"control": sql_settings.control.model_copy(update={"judge_checks": 4})})


def batch(**changes) -> Batch:
    provenance = Provenance(branch="error", parent_ids=["t"], iteration=1, batch_id="b1", attempt=0, request_hash="h")
    rows = [
        SyntheticRow(
            id=f"b1-{n}",
            fields={"question": f"Cities with more than {n} customers", "sql": f"{SQL}{n}", "family": ""},
            provenance=provenance,
        )
        for n in (2, 3, 4)
    ]
    values = {"id": "b1", "branch": "error", "seed_ids": ["t"], "wanted": 3, "samples": [Sample(row=r) for r in rows]}
    return Batch.model_validate({**values, **changes})


@pytest.fixture
def check(stage, data, tmp_path):
    """check(settings, batches, carried=JudgeCheck, iteration=n) -> (checked batches, usage, what was measured or None)."""

    def start(settings, batches, carried=None, **parameters):
        source = tmp_path / "batches"
        source.mkdir(exist_ok=True)
        (source / "strategies.yaml").write_text(yaml.safe_dump([]))
        write_records(source / "training_errors.jsonl", [])
        write_json(source / "spent.json", {})
        write_records(source / "batches.jsonl", batches)
        write_json(source / "usage.json", {})
        (source / "judge_check.json").unlink(missing_ok=True)
        if carried:
            write_json(source / "judge_check.json", carried)
        inputs = {"train_data": data["train_data"], "batches": source}
        outputs, _ = stage(run, settings, inputs, **parameters)
        folder = outputs["checked_batches"]
        found = folder / "judge_check.json"
        measured = JudgeCheck.model_validate(read_json(found)) if found.exists() else None
        return read_records(folder / "batches.jsonl", Batch), read_json(folder / "usage.json")["control_quality"], measured

    return start


def attentive(train):
    """Scores what it is shown: are these training pairs, and do their answers hold what the plan asks for?"""
    answers = {r.fields["question"]: r.fields["sql"] for r in train}

    def judge(ask):
        needed = re.search(r"The plan: .*whose answer needs (\w+)", ask.last)
        shown = ITEM.findall(ask.last)
        fits = all(answers.get(q) == a or a.startswith(SQL) for q, a in shown)
        on_pattern = not needed or all(needed[1] in a for _, a in shown)
        score = {"utility": 9 if fits else 2, "relevance": 9 if fits else 2, "feedback": "none"}
        return {"adherence": 9 if on_pattern else 1, **score} if needed else score

    return judge


def test_a_judge_that_looks_is_told_from_one_that_does_not(check, settings, train, llm_stub):
    llm_stub.on("", reply=attentive(train))
    _, usage, measured = check(settings, [batch()])
    assert [b.kind for b in measured.batches] == KINDS
    # off the pattern: (1 + 9 + 9) / 3 = 6.3, below 7
    assert [b.passed for b in measured.batches] == [True] * 4 + [False] * 4
    assert {b.branch for b in measured.batches if b.kind == "good"} == {"error", "pattern"}
    facts = measured.facts(0.95).model_dump()
    assert (facts["accuracy"], facts["weak"]) == (1.0, False) and facts["gap"] > 4
    assert usage["calls"] == llm_stub.paid == 1 + 8


@pytest.mark.parametrize(("high", "passed"), [(1, False), (2, True)])
def test_a_batch_passes_if_more_than_half_of_it_would_be_let_in(train, sql_settings, llm_stub, high, passed):
    llm_stub.on("", reply=lambda ask: dict.fromkeys(ask.schema["required"][:-1], [9] * high + [2] * (3 - high)))
    llm = open_llm(sql_settings.judge, BudgetSettings(), "")
    control = sql_settings.control.model_copy(update={"judge_checks": 2})
    task = load_task(sql_settings.task.name, sql_settings.task.options)
    assert {b.passed for b in measure_judge(task, train, control, 3, 0, llm).batches} == {passed}


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_a_batch_off_the_pattern_is_off_one_whatever_the_number(train, sql_settings, number):
    task = load_task(sql_settings.task.name, sql_settings.task.options)
    known = known_batches(task, train, number, 2, 0)
    assert [k.kind == "good" for k in known] == [True] * number + [False] * number
    assert all(k.strategy for k in known if k.kind == "off_pattern")


def test_what_is_let_in_is_the_same_with_and_without(check, settings, sql_settings, train, llm_stub):
    llm_stub.on("", reply=attentive(train))
    measured, _, _ = check(settings, [batch()])
    plain, usage, found = check(sql_settings, [batch()])
    assert found is None and usage["calls"] == 1
    assert measured == plain and len(plain[0].accepted) == 3


def test_the_judge_is_asked_as_it_is_for_batches_and_sees_training_rows_only(check, settings, train, data, llm_stub):
    llm_stub.on("", reply=attentive(train))
    check(settings, [batch()])
    real, *checks = llm_stub.asks
    known = {r.fields["question"] for r in train} | {question for question, _ in OFF_TASK}
    for ask in checks:
        assert ask.messages[0] == real.messages[0] or "adherence" in ask.messages[0]["content"]
        assert ask.temperature == real.temperature and ask.body["max_tokens"] == real.body["max_tokens"]
        assert set(real.schema["properties"]) <= set(ask.schema["properties"])
        for question, _ in ITEM.findall(ask.last):
            assert any(k == question or k.startswith(question) for k in known), question
    held = [json.loads(line)["fields"]["question"] for f in data["heldout_data"].glob("*.jsonl") for line in f.open()]
    assert not [q for q in held if any(f"Question: {q}\n" in ask.text for ask in checks)]


def test_the_same_rows_and_seed_give_the_same_batches(train):
    task = load_task("text_to_sql", {"database": str(Path(__file__).parents[3] / "pipelines/examples/text_to_sql/shop.sql")})
    first = known_batches(task, train, 4, 5, seed=3)
    assert first == known_batches(task, train, 4, 5, seed=3) != known_batches(task, train, 4, 5, seed=4)
    sql = {r.fields["question"]: r.fields["sql"] for r in train}
    by_kind = {k.kind: k for k in first}
    assert all(sql[i["question"]] == i["reference"] for i in by_kind["good"].items)
    assert all(sql[i["question"]] != i["reference"] for i in by_kind["exchanged"].items)
    assert all(len(i["question"].split()) == 2 for i in by_kind["cut"].items)
    assert all(sql[i["question"]] != i["reference"] for i in by_kind["subtle"].items)
    assert all(task.gives(sql[i["question"]]) != i["result"] for i in by_kind["subtle"].items), "the wrong one was run"
    assert all(len(k.parents) == 3 and not {p["question"] for p in k.parents} & {i["question"] for i in k.items} for k in first)
    asked = re.search(r"needs (\w+)", by_kind["off_pattern"].strategy)[1]
    assert all(asked not in i["reference"] for i in by_kind["off_pattern"].items)


def test_a_task_without_features_is_measured_in_the_error_branch():
    fields = [{"question": f"{n} + {n} = ?", "options": [str(n), str(2 * n)], "answer": "B"} for n in range(1, 9)]
    rows = [TrainRow(id=str(i), fields=f) for i, f in enumerate(fields)]
    known = known_batches(load_task("arc_challenge", {}), rows, 3, 5, seed=0)
    assert [k.kind for k in known] == ["good"] * 3 + ["subtle", "exchanged", "subtle"]
    assert not any(k.strategy for k in known)
    assert known_batches(load_task("arc_challenge", {}), rows[:1], 3, 5, seed=0) == []


def test_what_is_called_subtly_wrong_is_nothing_else():
    options = {"prompt": "q", "answer": "a", "description": "d"}
    raw = [{"q": f"{n} + {n} = ?", "a": str(2 * n), "options": [str(n), str(2 * n)]} for n in range(1, 9)]
    for more, kinds in (
        ({"scorer": "numeric"}, ["exchanged", "cut", "off_task", "exchanged"]),
        ({"scorer": "multiple_choice", "choices": "options"}, ["subtle", "exchanged", "subtle", "cut"]),
    ):
        task = load_task("custom", {**options, **more})
        rows = [TrainRow(id=str(i), fields=task.read(r)) for i, r in enumerate(raw)]
        known = known_batches(task, rows, 4, 5, seed=0)[4:]
        assert [k.kind for k in known] == kinds
        right = {task.shown(r.fields): task.reference(r.fields) for r in rows}
        assert all(right[i["question"]] != i["reference"] for k in known if k.kind in ("subtle", "exchanged") for i in k.items)


def test_it_is_measured_once_a_run_and_only_when_the_judge_is_needed(check, settings, train, llm_stub):
    llm_stub.on("", reply=attentive(train))
    _, _, first = check(settings, [batch()])
    paid = llm_stub.paid
    _, usage, carried = check(settings, [batch()], carried=first)
    assert carried == first and llm_stub.paid == paid + 1 and usage["calls"] == 1
    _, _, later = check(settings, [batch()], iteration=2)
    assert later is None and llm_stub.paid == paid + 2
    done = batch(status="done")
    _, _, unneeded = check(settings, [done])
    assert unneeded is None and llm_stub.paid == paid + 2


def test_the_next_link_carries_it_to_the_state(stage, settings, data, tmp_path, llm_stub):
    before = tmp_path / "before"
    before.mkdir()
    (before / "strategies.yaml").write_text("[]")
    write_records(before / "training_errors.jsonl", [])
    write_json(before / "spent.json", {})
    write_records(before / "batches.jsonl", [batch(status="done")])
    write_json(before / "usage.json", {})
    found = {"batches": [{"kind": "good", "branch": "error", "mean": 8.0, "passed": True}]}
    write_json(before / "judge_check.json", found)
    outputs, _ = stage(generate, settings, {"train_data": data["train_data"], "checked_batches": before})
    assert read_json(outputs["batches"] / "judge_check.json") == found


def test_a_cap_takes_from_the_checks_and_not_from_the_batches(check, settings, train, llm_stub):
    llm_stub.on("", reply=attentive(train))
    capped = settings.model_copy(update={"budget": BudgetSettings(calls=3)})
    (checked,), usage, measured = check(capped, [batch()])
    assert len(checked.accepted) == 3
    assert (usage["calls"], usage["unasked"], llm_stub.paid) == (3, 6, 3)
    assert [b.mean is not None for b in measured.batches].count(True) == 2
    assert "was not measured" in measured.facts(0.95).model_dump()["sentence"]
