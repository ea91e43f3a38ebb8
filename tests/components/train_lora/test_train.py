import json

import pytest

from pada_agent.components.backends.record_files import read_json, read_records, write_records
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import HeldOutRow, Provenance, SyntheticRow, TrainRow
from pada_agent.components.core.separation.leakage import Fingerprints
from pada_agent.components.core.slm_interface import Training
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.prepare_data.__main__ import run as prepare
from pada_agent.components.train_lora.__main__ import run
from pada_agent.components.train_lora.train import train

QUICK = {"epochs": 1, "learning_rate": 0.01, "rank": 4}


@pytest.fixture
def settings(sql_settings, tiny_slm):
    slm = sql_settings.slm.model_copy(update={"model": str(tiny_slm), "dtype": "float32", "device": "cpu"})
    task = sql_settings.task.model_copy(update={"train_size": 24})
    return sql_settings.model_copy(update={"slm": slm, "task": task, "train": sql_settings.train.model_copy(update=QUICK)})


def synthetic(fields, name="s-1"):
    provenance = Provenance(branch="error", parent_ids=[], iteration=1, batch_id="b", attempt=0, request_hash="h")
    return SyntheticRow(id=name, fields=fields, provenance=provenance)


NEW = {"question": "How many goods are sold by makers from Peru?", "sql": "SELECT COUNT(*) FROM suppliers WHERE country = 'Peru'"}


def test_stage_writes_an_adapter_with_what_was_done(stage, settings, data, tmp_path):
    write_records(tmp_path / "syn" / "synthetic.jsonl", [synthetic({**NEW, "family": ""})])
    inputs = {"train_data": data["train_data"], "synthetic_data": tmp_path / "syn"}
    out, parameters = stage(run, settings, inputs, name="iteration-1")
    facts = read_json(out["adapter"] / "train.json")
    assert parameters == {"steps": 2}  # 25 rows, 16 a step
    assert (facts["name"], facts["rows"], facts["synthetic_rows"]) == ("iteration-1", 24, 1)
    assert facts["steps"] == len(facts["losses"]) == 2
    assert facts["base_model"] == settings.slm.model
    assert facts["changed_outputs"] is True
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {p.name for p in out["adapter"].iterdir()}
    assert [p.name for p in out["adapter"].parent.iterdir() if "checkpoint" in p.name] == []
    text = (out["adapter"].parent / "executor_output.json").read_text()
    assert json.loads(text)["artifacts"]["adapter"]["artifacts"][0]["metadata"]["synthetic_rows"] == 1


def test_stage_takes_as_many_steps_as_it_is_told_and_keeps_checkpoints_where_it_is_told(
    stage, settings, data, tmp_path, monkeypatch
):
    from pada_agent.components.backends.slm.checkpoints import Checkpoints

    monkeypatch.setattr(Checkpoints, "remove", lambda self: None)
    _, parameters = stage(run, settings, {"train_data": data["train_data"]}, max_steps=3, checkpoint_uri=str(tmp_path / "kept"))
    assert parameters == {"steps": 3}
    assert read_json(tmp_path / "kept" / "run.json")["last"] == "checkpoint-3"


def test_synthetic_row_with_held_out_text_is_refused_by_name(stage, settings, data, tmp_path):
    stolen = read_records(data["heldout_data"] / "test.jsonl", HeldOutRow)[5]
    write_records(tmp_path / "syn" / "synthetic.jsonl", [synthetic(stolen.fields, "s-9")])
    inputs = {"train_data": data["train_data"], "synthetic_data": tmp_path / "syn"}
    with pytest.raises(InputError, match="synthetic row s-9 has the same question as a test row; it must not be trained on"):
        stage(run, settings, inputs)
    assert not (tmp_path / "02-train_lora" / "adapter").exists()


def test_training_row_with_held_out_text_is_refused_by_name(settings, data):
    rows = read_records(data["train_data"] / "train.jsonl", TrainRow)
    stolen = read_records(data["heldout_data"] / "validation.jsonl", HeldOutRow)[0]
    rows.append(TrainRow(id="t-x", fields=stolen.fields))
    prints = Fingerprints.beside(data["train_data"])
    task = load_task("text_to_sql", settings.task.options)
    with pytest.raises(InputError, match="training row t-x has the same question as a validation row"):
        train("a", task, rows, [], prints, lambda examples: pytest.fail("trained all the same"))


def test_fit_gets_chats_and_answers_of_all_rows(settings, data):
    rows = read_records(data["train_data"] / "train.jsonl", TrainRow)
    task = load_task("text_to_sql", settings.task.options)
    seen = []

    def fit(examples):
        seen.extend(examples)
        common = {"base_model": "m", "source": "s", "device": "cpu", "dtype": "float32", "seed": 0, "steps": 1, "epochs": 1.0}
        return Training(**common, train=settings.train, losses=[1.0], seconds=1, trained_tokens=1, changed_outputs=True)

    facts = train("a", task, rows, [synthetic(NEW)], None, fit)
    assert [e.id for e in seen] == [*(r.id for r in rows), "s-1"]
    assert seen[-1].messages == task.messages(NEW)
    assert seen[-1].target == NEW["sql"]
    assert facts.to_json()["steps"] == 1
    with pytest.raises(InputError, match="row s-1: the id occurs twice"):
        train("a", task, rows, [synthetic(NEW), synthetic(NEW)], None, fit)
    with pytest.raises(InputError, match="is empty"):
        train("a", task, [], [], None, fit)


@pytest.mark.model
def test_real_model_learns(stage, sql_settings, real_slm):
    update = {"learning_rate": 1e-3, "micro_batch": 8, "accumulate": 1}
    chosen = sql_settings.model_copy(
        update={
            "slm": sql_settings.slm.model_copy(update={"model": real_slm, "max_length": 256}),
            "task": sql_settings.task.model_copy(update={"train_size": 24}),
            "train": sql_settings.train.model_copy(update=update),
        }
    )
    data, _ = stage(prepare, chosen, {})
    out, _ = stage(run, chosen, {"train_data": data["train_data"]}, max_steps=8)
    facts = read_json(out["adapter"] / "train.json")
    assert facts["losses"][0] < 4  # the chat format is the model's own: a wrong one starts far higher
    assert facts["losses"][-1] < 0.6 * facts["losses"][0]
    assert facts["dropped_too_long"] == []
