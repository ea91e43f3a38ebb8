"""The contract with whatever runs a stage: what Kubeflow sends is read right, and what is wrong is one line."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest
from package_runner import mounts_below

from pada_agent.components.backends.executor import SETTINGS_FILE, Executor
from pada_agent.components.backends.mounts import local_path
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import PrepareData, Settings, TrainLora
from pada_agent.components.stages import STAGES

COMPONENTS = Path(__file__).parents[3] / "components"
LLM = {"model": "m", "base_url": "http://127.0.0.1:1/v1"}
WHOLE = {
    "task": {"name": "gsm8k", "train": "t.jsonl", "validation": "v.jsonl", "test": "e.jsonl"},
    "slm": {"model": "some/slm", "max_length": 256.0},
    "teacher": LLM,
    "judge": LLM,
    "loop": {"iterations": 2.0},
    "train": {"rank": 8.0, "epochs": 2.0},
}


def executor(parameters=None, inputs=None, outputs=None, folder=Path("/nowhere")):
    def slots(artifacts):
        return {name: {"artifacts": [{"name": name, "uri": str(uri), "metadata": {}}]} for name, uri in (artifacts or {}).items()}

    return Executor(
        json.dumps(
            {
                "inputs": {"parameterValues": parameters or {}, "artifacts": slots(inputs)},
                "outputs": {
                    "artifacts": slots(outputs),
                    "parameters": {"steps": {"outputFile": str(folder / "steps")}},
                    "outputFile": str(folder / "out.json"),
                },
            }
        )
    )


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("gs://bucket/run/data", "/gcs/bucket/run/data"),
        ("s3://bucket/run/data", "/s3/bucket/run/data"),
        ("minio://mlpipeline/v2/data", "/minio/mlpipeline/v2/data"),
        ("/plain/data", "/plain/data"),
        ("file:///plain/data", "/plain/data"),
    ],
)
def test_an_artifact_is_where_the_launcher_puts_it(uri, path):
    assert local_path(uri) == Path(path)
    assert local_path(uri, "/custom/place") == Path("/custom/place")


def test_kubeflows_numbers_are_whole_again_at_any_depth():
    ex = executor({"iteration": 3.0, "rate": 0.5, "settings": WHOLE})
    assert (ex.parameter("iteration"), ex.parameter("rate")) == (3, 0.5)
    assert isinstance(ex.parameter("iteration"), int)
    found = ex.settings(TrainLora)
    assert (found.train.rank, found.slm.max_length) == (8, 256)


@pytest.mark.parametrize("stage", [name for name, stage in STAGES.items() if stage.settings.model_fields])
def test_a_stage_takes_its_sections_of_a_whole_runs_settings(stage):
    model = STAGES[stage].settings
    found = executor({"settings": WHOLE}).settings(model)
    assert set(found.model_dump()) == set(model.model_fields)
    assert found.task.name == "gsm8k"
    assert executor({"settings": json.dumps(WHOLE)}).settings(model) == found


@pytest.mark.parametrize("given", [{}, {"settings": {}}, {"settings": "{}"}, {"settings": ""}, {"settings": None}])
def test_without_settings_those_beside_the_rows_are_the_runs(given, tmp_path):
    (tmp_path / SETTINGS_FILE).write_text(json.dumps(WHOLE))
    ex = executor(given, {"train_data": tmp_path})
    assert ex.settings(TrainLora) == executor({"settings": WHOLE}).settings(TrainLora)
    assert ex.run_settings(TrainLora) == Settings.model_validate(WHOLE)
    other = executor({"settings": {**WHOLE, "seed": 7}}, {"train_data": tmp_path})
    assert other.settings(TrainLora).seed == 7, "what is given goes first"


def test_settings_that_are_nowhere_or_broken_are_said_with_their_place(tmp_path):
    with pytest.raises(InputError, match=r"input parameter 'settings' is missing$"):
        executor().settings(TrainLora)
    rows = executor(inputs={"train_data": tmp_path})
    with pytest.raises(
        InputError, match=rf"'settings' is missing, and {tmp_path} has no settings.json: prepare_data writes it if"
    ):
        rows.settings(TrainLora)
    for text, message in (("{", "not JSON"), ("\xff", "not JSON"), (json.dumps({**WHOLE, "sede": 1}), "unknown key 'sede'")):
        (tmp_path / SETTINGS_FILE).write_bytes(text.encode("latin-1"))
        with pytest.raises(InputError, match=rf"{tmp_path}/settings.json: {message}"):
            rows.settings(TrainLora)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"jugde": LLM}, r"unknown key 'jugde' \(did you mean 'judge'\?\)"),
        ({"generate": {"share": 50}}, "generate.share"),
        ({"train": {"rnak": 8}}, r"unknown key 'train.rnak' \(did you mean 'train.rank'\?\)"),
    ],
)
def test_the_first_stage_finds_every_mistake_of_the_run(change, message):
    with pytest.raises(InputError, match=message):
        executor({"settings": {**WHOLE, **change}}).settings(PrepareData)


def test_settings_that_are_no_json(tmp_path):
    with pytest.raises(InputError, match="settings: not JSON"):
        executor({"settings": "{"}).settings(PrepareData)
    with pytest.raises(InputError, match="settings"):
        executor({"settings": "[]"}).settings(PrepareData)


@pytest.mark.parametrize("uri", ["", "{{$.inputs.artifacts['adapter'].path}}"])
def test_an_optional_artifact_that_kubeflow_left_empty_is_not_there(uri):
    ex = executor(inputs={"adapter": uri})
    assert ex.optional_input("adapter") is None and not ex.has_input("adapter") and ex.input_uri("adapter") == ""
    with pytest.raises(InputError, match="input artifact 'adapter' is missing"):
        ex.input("adapter")


def test_an_artifact_that_was_passed_must_be_there(tmp_path):
    with pytest.raises(InputError, match="input artifact 'adapter': there is nothing at"):
        executor(inputs={"adapter": tmp_path / "gone"}).optional_input("adapter")


def test_an_artifact_must_be_the_folder_it_is_read_as(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for name, kind in (("file", "is a file"), ("folder", "is a folder without adapter_config.json")):
        ex = executor(inputs={"adapter": tmp_path / name})
        with pytest.raises(InputError, match=f"input artifact 'adapter': .*/{name} {kind}; a folder with adapter_config.json"):
            ex.input("adapter", "adapter_config.json")
    (tmp_path / "folder" / "adapter_config.json").touch()
    assert ex.input("adapter", "adapter_config.json") == tmp_path / "folder"


def test_what_a_stage_says_is_where_kubeflow_looks_for_it(tmp_path):
    ex = executor(outputs={"adapter": tmp_path / "deep" / "adapter"}, folder=tmp_path)
    assert ex.output("adapter").parent.is_dir()
    ex.set_parameter("steps", 7)
    ex.set_parameter("nobody_asks", True)
    ex.set_metadata("adapter", rows=3, loss=0.5)
    ex.finish()
    assert (tmp_path / "steps").read_text() == "7"
    said = json.loads((tmp_path / "out.json").read_text())
    assert said["parameterValues"] == {"steps": 7, "nobody_asks": True}
    assert said["artifacts"]["adapter"]["artifacts"][0]["metadata"] == {"rows": 3, "loss": 0.5}


def start(stage, text):
    return subprocess.run(
        [sys.executable, "-m", f"pada_agent.components.{stage}", "--executor-input", text],
        capture_output=True,
        text=True,
        check=False,
    )


def one_line(found):
    assert found.returncode == 1
    assert found.stderr.count("\n") == 1, found.stderr
    return found.stderr


def slots(stage, folder):
    return {name: {"artifacts": [{"name": name, "uri": str(folder / name)}]} for name in STAGES[stage].outputs}


def test_a_program_ends_with_one_line_and_an_exit_code(tmp_path):
    outputs = {"artifacts": slots("prepare_data", tmp_path), "outputFile": str(tmp_path / "out.json")}
    assert "is not a Kubeflow executor input" in one_line(start("prepare_data", "{}"))
    assert "input parameter 'settings' is missing" in one_line(
        start("prepare_data", json.dumps({"inputs": {}, "outputs": outputs}))
    )
    assert not (tmp_path / "out.json").exists()


READS = """
from pada_agent.components.backends.executor import main

def run(ex):
    open(ex.parameter("file"))

main(run)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="WHOSE A FILE IS NOT TESTED: only root can become another user")
def test_a_file_that_may_not_be_read_is_one_line_that_says_whose_it_is():
    with tempfile.TemporaryDirectory() as top:  # pytest's own are root's alone
        Path(top).chmod(0o755)
        folder = Path(top) / "prepare_data"
        folder.mkdir(0o755)
        (folder / "__main__.py").write_text(READS)
        shutil.copy(COMPONENTS / "prepare_data" / "component.yaml", folder)
        (folder / "secret").touch(0o600)
        outputs = {"artifacts": slots("prepare_data", folder), "outputFile": "x"}
        text = json.dumps({"inputs": {"parameterValues": {"file": f"{folder}/secret"}}, "outputs": outputs})
        user = ["setpriv", "--reuid=10001", "--regid=10001", "--clear-groups"]
        done = subprocess.run(
            [*user, sys.executable, str(folder), "--executor-input", text], capture_output=True, text=True, check=False
        )
    assert one_line(done).startswith(
        f"PermissionError: {folder}/secret: Permission denied: {folder}/secret is of user 0, group 0, mode 600; "
        "this process is of user 10001, group 10001. "
    )


def test_an_executor_input_of_another_release_is_refused_by_name(tmp_path):
    slot = {"artifacts": [{"name": "x", "uri": str(tmp_path)}]}
    text = json.dumps({"inputs": {"artifacts": {"state": slot, "train_data": slot}}, "outputs": {"outputFile": "x"}})
    said = one_line(start("update_state", text))
    assert "unknown input artifact 'state'" in said and "previous_state" in said and "compile the package" in said
    text = json.dumps({"inputs": {"artifacts": {"plan": slot}}, "outputs": {"outputFile": "x"}})
    assert "no input artifact 'train_data'" in one_line(start("generate_data", text))


@pytest.mark.parametrize("stage", STAGES)
def test_an_output_that_a_stage_has_to_write_is_missed_before_it_works(stage, tmp_path):
    given = {name: {"artifacts": []} for name in STAGES[stage].inputs.needed}
    needed = [name for name in STAGES[stage].outputs if name not in STAGES[stage].may_lack]

    def check(asked):
        doc = {"inputs": {"artifacts": given}, "outputs": {"artifacts": asked, "outputFile": "x"}}
        Executor(json.dumps(doc)).check_contract(COMPONENTS / stage / "component.yaml")

    asked = {name: slot for name, slot in slots(stage, tmp_path).items() if name in needed}
    check(asked)
    for name in needed:
        with pytest.raises(InputError, match=rf"^no output artifact '{name}': this {stage} .* writes .*{name}.*; compile the"):
            check({other: slot for other, slot in asked.items() if other != name})


def test_outputs_of_the_backends_own_are_not_written_back(tmp_path):
    ex = executor(outputs={"adapter": tmp_path / "adapter", "executor-logs": tmp_path / "executor-logs-0"}, folder=tmp_path)
    ex.output("adapter")
    ex.finish()
    (written,) = json.loads((tmp_path / "out.json").read_text())["artifacts"].items()
    assert written == ("adapter", {"artifacts": [{"name": "adapter", "uri": str(tmp_path / "adapter"), "metadata": {}}]})


def test_an_output_may_be_what_lies_elsewhere(tmp_path):
    """Kubeflow's launcher uploads what is at that place of the container, and a later one wants something to be there."""
    uri = "minio://bucket/root/run/train-2/adapter"
    with mounts_below(tmp_path):
        ex = executor(outputs={"adapter": "minio://bucket/root/run/result/adapter"}, folder=tmp_path)
        ex.point("adapter", uri)
        ex.set_metadata("adapter", shipped="iteration-2")
        ex.finish()
    (said,) = json.loads((tmp_path / "out.json").read_text())["artifacts"]["adapter"]["artifacts"]
    assert (said["uri"], said["metadata"]) == (uri, {"shipped": "iteration-2"})
    assert list((tmp_path / "minio/bucket/root/run/train-2/adapter").iterdir()) == []
    assert not (tmp_path / "minio/bucket/root/run/result/adapter").exists()


def test_without_arguments_a_stage_says_its_usage():
    done = subprocess.run(
        [sys.executable, "-m", "pada_agent.components.prepare_data"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -m pada_agent.components.prepare_data --executor-input JSON\n")


def test_a_stage_says_what_it_is():
    command = [sys.executable, "-m", "pada_agent.components.prepare_data"]
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "sources in, training data and held-out data out" in " ".join(done.stdout.split())
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{version('pada-agent')}\n")
