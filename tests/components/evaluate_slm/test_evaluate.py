import json

import pytest

from pada_agent.components.backends.artifacts import evaluated
from pada_agent.components.backends.record_files import read_json, read_records
from pada_agent.components.backends.sandbox.run import run_code
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import HeldOutRow, Prediction, Score, TrainRow
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.evaluate_slm.__main__ import run
from pada_agent.components.evaluate_slm.evaluate import evaluate, parse_splits
from pada_agent.components.prepare_data.__main__ import run as prepare


@pytest.fixture
def settings(sql_settings, tiny_slm):
    slm = sql_settings.slm.model_copy(update={"model": str(tiny_slm), "dtype": "float32", "device": "cpu"})
    sizes = {"train_size": 6, "validation_size": 5, "selection_size": 4, "test_size": 7}
    return sql_settings.model_copy(update={"slm": slm, "task": sql_settings.task.model_copy(update=sizes)})


@pytest.fixture
def task(settings):
    return load_task("text_to_sql", settings.task.options)


def rows_of(data, split):
    if split == "train":
        return read_records(data["train_data"] / "train.jsonl", TrainRow)
    return read_records(data["heldout_data"] / f"{split}.jsonl", HeldOutRow)


def test_answers_are_scored_and_kept_by_split(data, task):
    rows = {split: rows_of(data, split) for split in ("validation", "test")}
    asked = {}

    def generate(prompts, most):
        asked.update({p.id: p.messages for p in prompts})
        asked["most"] = most
        everything = [row for part in rows.values() for row in part]
        return [task.target(r.fields) if i % 2 else "SELECT nonsense" for i, r in enumerate(everything)]

    predictions = evaluate(task, rows, generate, run_code)
    assert [p.id for p in predictions["test"]] == [r.id for r in rows["test"]]
    assert [p.score.correct for p in predictions["validation"]] == [False, True, False, True, False]
    first = predictions["validation"][0]
    assert (first.output, first.reference, first.split) == (
        "SELECT nonsense",
        task.reference(rows["validation"][0].fields),
        "validation",
    )
    assert task.question(rows["validation"][0].fields) in first.prompt
    assert first.fields == rows["validation"][0].fields
    assert asked[f"validation/{first.id}"] == task.messages(first.fields)
    assert asked["most"] == task.max_new_tokens
    evaluate(task, rows, lambda prompts, most: (asked.update(most=most), [""] * len(prompts))[1], run_code, max_new_tokens=9)
    assert asked["most"] == 9


def test_scorer_that_fails_gold_or_passes_nothing_is_found_before_generation(data, task, monkeypatch):
    rows = {"test": rows_of(data, "test")}
    ids = [r.id for r in rows["test"]]
    score = type(task).score

    def broken(self, fields, output, run):
        return Score(correct=False, valid=True) if fields == rows["test"][3].fields else score(self, fields, output, run)

    def never(prompts, most):
        pytest.fail("generated all the same")

    monkeypatch.setattr(type(task), "score", broken)
    with pytest.raises(InputError, match=f"task text_to_sql scores the row's own answer as wrong in 1 rows: {ids[3]}; correct"):
        evaluate(task, rows, never, run_code)
    monkeypatch.setattr(type(task), "score", lambda *a: Score(correct=True, valid=True))
    with pytest.raises(InputError, match=f"scores an empty answer as correct in 7 rows: {', '.join(ids[:5])} and 2 more"):
        evaluate(task, rows, never, run_code)


def test_empty_split_and_unknown_split():
    with pytest.raises(InputError, match=r"test\.jsonl: the split is empty"):
        evaluate(None, {"test": []}, None, None)
    assert parse_splits(" test, validation,test ") == ["validation", "test"]
    with pytest.raises(InputError, match="there is no split 'tset'; name some of train, validation, selection, test"):
        parse_splits("validation,tset")
    with pytest.raises(InputError, match="no split is named"):
        parse_splits(" ")


def test_stage_writes_what_agents_may_see_apart_from_what_is_reported(stage, settings, data):
    inputs = {k: data[k] for k in ("train_data", "heldout_data")}
    out, parameters = stage(run, settings, inputs, name="untuned")
    files = {name: sorted(p.name for p in path.iterdir()) for name, path in out.items() if path.is_dir()}
    assert files["predictions"] == ["metrics.json", "train.jsonl", "validation.jsonl"]
    assert files["report_predictions"] == ["metrics.json", "selection.jsonl", "test.jsonl"]
    metrics = read_json(out["report_predictions"] / "metrics.json")
    assert metrics["name"] == "untuned"
    assert {split: m["n"] for split, m in metrics["splits"].items()} == {"selection": 4, "test": 7}
    assert metrics["seconds"] > 0
    predictions = read_records(out["predictions"] / "validation.jsonl", Prediction)
    assert [p.id for p in predictions] == [r.id for r in rows_of(data, "validation")]
    assert parameters == {"validation_accuracy": 0.0}
    shown = json.loads((out["predictions"].parent / "executor_output.json").read_text())["artifacts"]
    assert shown["report_predictions"]["artifacts"][0]["metadata"] == {"selection_accuracy": 0.0, "test_accuracy": 0.0}


def test_stage_writes_only_the_splits_it_is_asked_for(stage, settings, data):
    out, parameters = stage(run, settings, {k: data[k] for k in ("train_data", "heldout_data")}, splits="test")
    assert [p.name for p in out["predictions"].iterdir()] == ["metrics.json"]
    assert sorted(p.name for p in out["report_predictions"].iterdir()) == ["metrics.json", "test.jsonl"]
    assert parameters == {"validation_accuracy": -1.0}


def test_killed_evaluation_leaves_no_predictions(stage, settings, data, monkeypatch, tmp_path):
    def killed(path, value):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluated, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        stage(run, settings, {k: data[k] for k in ("train_data", "heldout_data")}, splits="validation")
    assert not list((tmp_path / "02-evaluate_slm").iterdir())


def test_an_adapter_without_the_file_that_is_written_last_is_refused(stage, settings, data, tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_model.safetensors").touch()
    inputs = {"train_data": data["train_data"], "adapter": tmp_path / "adapter"}
    with pytest.raises(InputError, match=r"input artifact 'adapter': .* is a folder without adapter_config.json"):
        stage(run, settings, inputs, splits="train")


def test_prompt_longer_than_the_context_names_split_and_row(stage, settings, data):
    long = settings.model_copy(update={"evaluate": settings.evaluate.model_copy(update={"max_new_tokens": 2000})})
    with pytest.raises(InputError, match=r"row validation/\S+: a prompt of \d+ tokens and an answer of up to 2000 exceed"):
        stage(run, long, {k: data[k] for k in ("train_data", "heldout_data")}, splits="validation")


@pytest.mark.model
def test_real_model_answers_in_its_chat_format(stage, sql_settings, real_slm):
    chosen = sql_settings.model_copy(
        update={
            "slm": sql_settings.slm.model_copy(update={"model": real_slm}),
            "task": sql_settings.task.model_copy(update={"validation_size": 8}),
            "evaluate": sql_settings.evaluate.model_copy(update={"max_new_tokens": 40}),
        }
    )
    data, _ = stage(prepare, chosen, {})
    out, _ = stage(run, chosen, {k: data[k] for k in ("train_data", "heldout_data")}, splits="validation")
    answers = [p.output for p in read_records(out["predictions"] / "validation.jsonl", Prediction)]
    assert len(answers) == 8
    assert sum("select" in a.lower() for a in answers) >= 1
    assert not any("<|im_" in a for a in answers)


def custom(scorer="numeric", **more):
    return load_task("custom", {"prompt": "q", "answer": "a", "scorer": scorer, "description": "d", **more})


def answered(task, answer, output, room=7):
    rows = [HeldOutRow(id="r1", split="test", fields=task.read({"q": "What is asked?", "a": answer}))]
    return evaluate(task, {"test": rows}, lambda prompts, most: [output], run_code, max_new_tokens=room)["test"][0]


@pytest.mark.parametrize(
    ("output", "answer", "correct"),
    [
        ("<think>\nIs it 7?\n</think>\n\n4", "4", True),
        ("<think>It is 4</think>\nIt is 7", "It is 7", False),
        ("<think></think>4", "4", True),
        ("so 4</think>4", "4", True),
        ("4", "4", True),
    ],
)
def test_thoughts_are_cut_before_scoring_and_kept_aside(output, answer, correct):
    found = answered(custom(), "4", output)
    assert (found.output, found.score.correct) == (answer, correct)
    assert found.with_thoughts == (output if output != answer else "")


def test_a_thought_without_an_end_is_no_answer():
    found = answered(custom(), "4", "<think>perhaps 4", room=3)
    assert (found.output, found.score.valid, found.score.correct) == ("", False, False)
    assert found.score.detail == "it was still thinking after 3 tokens, where it was cut"
    assert found.with_thoughts == "<think>perhaps 4"


@pytest.mark.parametrize(("scorer", "right"), [("exact", "4"), ("numeric", "4.0"), ("f1", "4"), ("json", "4")])
def test_rows_may_teach_thinking(scorer, right):
    """Their answers hold thoughts, which are trained on and not compared."""
    task, gold = custom(scorer), "<think>2 and 2</think>4"
    found = answered(task, gold, f"<think>1 and 3, not 7</think>{right}")
    assert found.score.correct and task.target(found.fields) == gold
    assert not answered(task, gold, "<think>2 and 2</think>5").score.correct
    with pytest.raises(InputError, match="a: "):
        task.read({"q": "What is asked?", "a": "<think>2 and 2</think>"})


def test_grades_travel_with_the_predictions():
    found = answered(custom("f1"), "the blue whale", "a whale")
    assert found.score.grade == pytest.approx(2 / 3, abs=1e-6)
    assert Prediction.model_validate_json(found.model_dump_json()) == found
    assert answered(custom(), "4", "4").score.grade is None
