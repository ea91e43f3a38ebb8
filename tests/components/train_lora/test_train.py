import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pada_agent.components.backends.artifacts.evaluated import read_evaluated
from pada_agent.components.backends.record_files import read_json, read_records, write_records
from pada_agent.components.backends.store.events import told
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import HeldOutRow, Provenance, SyntheticRow, TrainRow
from pada_agent.components.core.separation.leakage import Fingerprints
from pada_agent.components.core.settings import TrainSettings
from pada_agent.components.core.slm_interface import Training, step_shares
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.evaluate_slm.__main__ import run as evaluate
from pada_agent.components.prepare_data.__main__ import run as prepare
from pada_agent.components.stages import STAGES
from pada_agent.components.train_lora.__main__ import run
from pada_agent.components.train_lora.train import train
from pada_agent.pipelines.kubeflow.launch import launched

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


def started_for_each_gpu(settings, data, folder, processes=2, **parameters):
    """The command that a placement with so many GPUs gives the container, as Kubeflow would start it."""
    artifact = {"artifacts": [{"name": "adapter", "uri": str(folder / "run-1" / "01-train" / "adapter")}]}
    doc = {
        "inputs": {
            "parameterValues": {
                "settings": STAGES["train_lora"].sections(settings),
                "work_uri": str(folder / "run-1"),
                **parameters,
            },
            "artifacts": {"train_data": {"artifacts": [{"name": "train_data", "uri": str(data["train_data"])}]}},
        },
        "outputs": {
            "artifacts": {"adapter": artifact},
            "outputFile": str(folder / "run-1" / "01-train" / "executor_output.json"),
        },
    }
    _, *command = launched(["python", "-m", "pada_agent.components.train_lora"], processes)
    return subprocess.Popen(
        [sys.executable, *command, "--executor-input", json.dumps(doc)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_started_once_for_each_gpu_it_takes_the_same_steps_and_writes_once(stage, settings, data, tmp_path):
    chosen = settings.train.model_copy(update={"dropout": 0.0, "micro_batch": 3, "accumulate": 2})
    settings = settings.model_copy(update={"train": chosen})
    out, one = stage(run, settings, {"train_data": data["train_data"]}, name="adapter")
    process = started_for_each_gpu(settings, data, tmp_path, name="adapter")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    task = tmp_path / "run-1" / "01-train"
    alone, shared = read_json(out["adapter"] / "train.json"), read_json(task / "adapter" / "train.json")
    assert (alone["processes"], shared["processes"]) == (1, 2)
    assert shared["losses"] == pytest.approx(alone["losses"], rel=2e-5)
    assert json.loads((task / "executor_output.json").read_text())["parameterValues"] == one
    weights = [load_file(folder / "adapter_model.safetensors") for folder in (out["adapter"], task / "adapter")]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-3, atol=1e-5)
    assert sorted(path.name for path in task.iterdir()) == ["adapter", "executor_output.json"]
    kinds = [event.kind for event in told(str(tmp_path / "run-1" / "events"), "here").values()]
    assert (kinds.count("started"), kinds.count("ended")) == (1, 1)


def test_one_process_that_is_asked_to_stop_stops_all_at_the_same_step_with_a_checkpoint(settings, data, tmp_path):
    quick = settings.train.model_copy(update={"micro_batch": 1, "accumulate": 2})
    settings = settings.model_copy(update={"train": quick})
    process = started_for_each_gpu(settings, data, tmp_path, max_steps=5000, checkpoint_uri=str(tmp_path / "kept"))
    lines = []
    assert process.stderr
    for line in process.stderr:
        lines.append(line)
        if " of 5,000 training steps" in line:
            break
    os.kill(second_of(process.pid), signal.SIGTERM)
    rest = process.stderr.read()
    assert process.wait(60) != 0
    last = read_json(tmp_path / "kept" / "run.json")["last"]
    assert 0 < int(last.rpartition("-")[2]) < 800, "before the first that is due: " + "".join(lines) + rest
    assert not (tmp_path / "run-1" / "01-train" / "adapter").exists()


def second_of(launcher):
    """Id of the second process that the launcher started."""
    children = [int(pid) for pid in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()]
    return next(pid for pid in children if b"RANK=1" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))


@pytest.mark.parametrize(
    ("micro", "accumulate", "processes", "each"),
    [
        (4, 4, 1, (4, 4)),
        (4, 4, 2, (4, 2)),
        (4, 4, 8, (2, 1)),
        (3, 2, 2, (3, 1)),
        (6, 2, 4, (3, 1)),
        (1, 8, 8, (1, 1)),
        (5, 4, 10, (2, 1)),
    ],
)
def test_a_step_has_as_many_rows_however_many_share_it(micro, accumulate, processes, each):
    assert step_shares(TrainSettings(micro_batch=micro, accumulate=accumulate), processes) == each
    assert each[0] * each[1] * processes == micro * accumulate and each[0] <= micro


@pytest.mark.parametrize("method", ["lora", "full"])
def test_what_it_writes_is_what_evaluation_and_whoever_publishes_takes(stage, settings, data, method):
    settings = settings.model_copy(update={"train": settings.train.model_copy(update={"method": method})})
    out, _ = stage(run, settings, {"train_data": data["train_data"]})
    assert (out["adapter"] / "config.json").exists() is (method == "full")
    assert read_json(out["adapter"] / "train.json")["train"]["method"] == method
    inputs = {"train_data": data["train_data"], "heldout_data": data["heldout_data"], "adapter": out["adapter"]}
    scored, _ = stage(evaluate, settings, inputs, splits="validation", name="vanilla")
    assert read_json(scored["predictions"] / "metrics.json")["engine"] == "transformers"
    trained = out["adapter"], str(out["adapter"])
    found = read_evaluated("vanilla", "start", 0, [scored["predictions"]], trained, settings.evaluate)
    assert (found.model.steps, found.model.rows) == (2, 24)
    if method == "full":
        (out["adapter"] / "config.json").unlink()
        with pytest.raises(InputError, match=r"a folder without adapter_config\.json"):
            stage(evaluate, settings, inputs, splits="validation")
