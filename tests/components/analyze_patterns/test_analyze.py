"""The analysis on real embeddings: what is asked, what is grounded, what is screened, what may cross to the generator."""

import json
import re
from pathlib import Path

import pytest
from whole_run import EMBEDDING, model_or_skip

from pada_agent.components.analyze_patterns.__main__ import run
from pada_agent.components.backends.artifacts.plan import read_plan
from pada_agent.components.backends.record_files import read_json, read_records, write_records
from pada_agent.components.core.records import Analysis, HeldOutRow, Pattern, Prediction, Score, TrainRow
from pada_agent.components.core.tasks.registry import load_task

pytestmark = pytest.mark.model
CAUSES = {
    "HAVING": ("Leaves out the condition on groups.", "Questions that keep only some groups"),
    "JOIN": ("Cannot connect a third table by its key.", "Questions over several tables"),
}


@pytest.fixture(scope="module", autouse=True)
def embedding_model():
    model_or_skip(EMBEDDING)


def predict(rows, split: str, fails) -> list[Prediction]:
    """Predictions in which the rows that `fails` picks are answered wrongly."""
    return [
        Prediction(
            id=r.id,
            split=split,
            prompt="p",
            output="SELECT 1" if fails(r) else r.fields["sql"],
            reference=r.fields["sql"],
            score=Score(correct=not fails(r), valid=True),
            fields=r.fields,
        )
        for r in rows
    ]


@pytest.fixture
def predictions(data, tmp_path) -> Path:
    """A model that fails what needs HAVING or three tables, and one training row."""
    rare = lambda r: r.fields["family"] in {"having", "join_three"}  # noqa: E731
    held_out = read_records(data["heldout_data"] / "validation.jsonl", HeldOutRow)
    train = read_records(data["train_data"] / "train.jsonl", TrainRow)
    folder = tmp_path / "predictions"
    write_records(folder / "validation.jsonl", predict(held_out, "validation", rare))
    write_records(folder / "train.jsonl", predict(train, "train", lambda r: r.id == train[0].id))
    return folder


def explain(ask) -> dict[str, str]:
    cause, scenario = CAUSES["HAVING" if "HAVING" in ask.last else "JOIN"]
    return {"difference": "a clause", "root_cause": cause, "scenario": scenario}


def name(ask) -> dict[str, str]:
    kind = "Group filters" if "condition on groups" in ask.last else "Third table"
    return {"category_name": kind, "pattern": f"{kind} are not mastered."}


def inputs(data, predictions) -> dict[str, Path]:
    return {"train_data": data["train_data"], "predictions": predictions}


def test_two_kinds_of_failure_become_two_grounded_patterns_with_near_seeds(stage, sql_settings, data, predictions, llm_stub):
    llm_stub.on("root_cause", reply=explain)
    llm_stub.on("category_name", reply=name)
    llm_stub.on("strategy", reply={"strategy": "Write varied examples of this kind."})
    outputs, parameters = stage(run, sql_settings, inputs(data, predictions))
    patterns = read_records(outputs["analyses"] / "patterns.jsonl", Pattern)
    strategies, errors, spent = read_plan(outputs["plan"])
    assert parameters == {"patterns": len(patterns), "training_errors": 1} and len(patterns) == len(strategies)
    assert {s.pattern_name for s in strategies} == {"Group filters", "Third table"}
    assert all(s.features == ["HAVING"] for s in strategies if s.pattern_name == "Group filters"), (
        "no cluster mixes the two kinds"
    )
    assert not any("HAVING" in s.features for s in strategies if s.pattern_name == "Third table")
    assert sum(p.size for p in patterns if p.name == "Group filters") == 8
    having = next(p for p in patterns if p.name == "Group filters")
    assert (having.features[0].feature, having.features[0].failed, having.features[0].passed) == ("HAVING", having.size, 0)
    strategy = next(s for s in strategies if s.pattern_id == having.id)
    train = {r.id: r for r in read_records(data["train_data"] / "train.jsonl", TrainRow)}
    seeds = [train[i].fields["sql"] for i in strategy.seed_ids]
    assert len(seeds) == 3 and all("HAVING" in sql for sql in seeds), "what does not fit the aim is no example of it"
    assert len({re.sub(r"\d+", "?", sql) for sql in seeds[:3]}) == 3, "and no two of the first differ in a number alone"
    assert len(read_records(outputs["analyses"] / "analyses.jsonl", Analysis)) == 16
    assert [e.id for e in errors] == [next(iter(train))]
    assert list(spent) == ["analyze_patterns"]
    used = read_json(outputs["analyses"] / "usage.json")["analyze_patterns"]
    assert spent["analyze_patterns"].calls == used["calls"] == 16 + 2 * len(patterns)


@pytest.mark.parametrize("field", ["question", "sql"])
def test_no_validation_text_crosses_to_the_generator(stage, sql_settings, data, predictions, llm_stub, field):
    validation = read_records(predictions / "validation.jsonl", Prediction)
    failed = next(p for p in validation if not p.score.correct and len(p.fields["question"].split()) >= 8)
    quote = failed.fields[field]
    llm_stub.on("root_cause", reply=explain)
    llm_stub.on(
        lambda ask: "category_name" in ask.text and "refused" not in ask.text, reply={"category_name": "x", "pattern": quote}
    )
    llm_stub.on("category_name", reply=name)
    llm_stub.on("strategy", reply={"strategy": f"Write more like: {quote}"})
    outputs, _ = stage(run, sql_settings, inputs(data, predictions))
    plan_text = "".join(p.read_text() for p in outputs["plan"].iterdir())
    for p in validation:
        assert p.fields[field] not in plan_text and p.id not in plan_text
    summary = read_json(outputs["analyses"] / "summary.json")
    assert summary["redrafted"] >= 1 and summary["struck"] >= 4
    strategies, _, _ = read_plan(outputs["plan"])
    assert strategies and all("answer needs" in s.text for s in strategies), "a plain text made of counts stands in"


def test_a_perfect_model_gives_no_patterns_and_no_calls(stage, sql_settings, data, tmp_path, llm_stub):
    rows = read_records(data["heldout_data"] / "validation.jsonl", HeldOutRow)
    folder = tmp_path / "perfect"
    write_records(folder / "validation.jsonl", predict(rows, "validation", lambda r: False))
    outputs, parameters = stage(run, sql_settings, inputs(data, folder))
    assert parameters == {"patterns": 0, "training_errors": 0}
    assert read_plan(outputs["plan"])[0] == [] and llm_stub.paid == 0


def test_replies_that_are_not_what_was_asked_for_are_left_out_and_counted(stage, sql_settings, data, predictions, llm_stub):
    llm_stub.on(lambda ask: "root_cause" in ask.text and "HAVING" in ask.text, text="no idea")
    llm_stub.on("root_cause", reply=explain)
    llm_stub.on("category_name", reply=name)
    llm_stub.on("strategy", reply={"strategy": "Write varied examples of this kind."})
    outputs, _ = stage(run, sql_settings, inputs(data, predictions))
    summary = read_json(outputs["analyses"] / "summary.json")
    assert summary["failures"] == 16 and summary["analysed"] == summary["failures"] - summary["unanalysed"] < 16
    assert read_json(outputs["analyses"] / "usage.json")["analyze_patterns"]["failed"] == summary["unanalysed"]


def test_predictions_of_another_evaluator_are_enough(stage, sql_settings, data, tmp_path, llm_stub):
    rows = read_records(data["heldout_data"] / "validation.jsonl", HeldOutRow)
    wrong = [r for r in rows if r.fields["family"] == "having"]
    lines = [{"id": r.id, **r.fields, "output": "SELECT 1", "correct": False} for r in wrong]
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    llm_stub.on("root_cause", reply=explain)
    llm_stub.on("category_name", reply=name)
    llm_stub.on("strategy", reply={"strategy": "Write varied examples of this kind."})
    _, parameters = stage(run, sql_settings, {"train_data": data["train_data"], "predictions": path})
    assert parameters["patterns"] >= 1


def test_the_task_is_text_to_sql(sql_settings):
    """Guards the features the tests above rely on."""
    task = load_task("text_to_sql", sql_settings.task.options)
    assert "HAVING" in task.features({"sql": "SELECT city FROM customers GROUP BY city HAVING COUNT(*) > 1"})
