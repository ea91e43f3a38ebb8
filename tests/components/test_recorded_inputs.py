"""Every stage, started with what a real Kubeflow gave it: executor inputs recorded on KFP 2.17.0, in the order of the run.

They are of an earlier release of this package, which gave the settings to every stage. What is adapted: addresses of data,
models, endpoint and stores; where the launcher's mounts are; what tasks made that were not recorded: STAND_INS; and the inputs
that stages no longer take: GONE.
"""

import json
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import tiny_slm
from llm_stub import serving
from package_runner import mounts_below
from whole_run import QUICKSTART, teach

from pada_agent.components.stages import STAGES

RECORDED = Path(__file__).parents[2].parent / "shared" / "data" / "kfp" / "executor_inputs"
ORDER = ("prepare-data", "train-lora", "evaluate-slm-2", "evaluate-slm", "update-state", "analyze-patterns", "generate-data")
ORDER += ("control-quality", "generate-data-2", "control-quality-2", "update-state-2", "train-lora-2", "evaluate-slm-3")
ORDER += ("update-state-3",)
STAND_INS = {  # by task and input: the output of another that was recorded
    ("update-state-2", "checked_batches"): ("control-quality-2", "checked_batches"),  # the third attempt
}
GONE = {"fingerprints", "previous_synthetic_data", "baseline_adapter", "baseline_predictions"}
GONE_FROM = {"update-state-3": {"baseline_report_predictions"}}  # of step-matched vanilla, which has a step of its own
GONE_FROM |= {task: {"plan"} for task in ("control-quality", "control-quality-2", "update-state-2")}  # in the batches

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason=f"EXECUTOR INPUTS OF A REAL KUBEFLOW ARE MISSING: {RECORDED}")


def stage_of(task):
    return task.rstrip("-0123456789").replace("-", "_")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Each task of the run in its turn: what its stage was given, and how its program ended ('' is well)."""
    root = tmp_path_factory.mktemp("pod")
    tiny_slm.build(root / "slm", context=4096)
    ended = {}
    with serving() as stub, mounts_below(root), pytest.MonkeyPatch.context() as patch:
        teach(stub)
        patch.setenv("TEACHER_API_KEY", "t")
        patch.setenv("JUDGE_API_KEY", "j")
        places = {
            "s3://mlpipeline/data/": f"{QUICKSTART}/",
            "/data/shop.sql": str(QUICKSTART / "shop.sql"),
            "s3://mlpipeline/models/slm": str(root / "slm"),
            "s3://mlpipeline/models/mpnet/all-mpnet-base-v2": str(root / "slm"),
            "http://llm.example/v1": stub.url,
            "s3://mlpipeline/work3": str(root / "work"),
            "s3://mlpipeline/ship3": str(root / "shipped"),
            '"/minio/': f'"{root}/minio/',
            "/tmp/kfp/": f"{root}/tmp/kfp/",
        }
        for task in ORDER:
            given = json.loads((RECORDED / f"{task}.json").read_text())["executor_input"]
            for name in (GONE | GONE_FROM.get(task, set())) & given["inputs"].get("artifacts", {}).keys():
                del given["inputs"]["artifacts"][name]
            text = json.dumps(given)
            for recorded, here in places.items():
                text = text.replace(recorded, here)
            text = text.replace(
                "{{$.inputs.parameters['pipelinechannel--work_uri']}}", str(root / "work")
            )  # the launcher does this
            for (reader, name), (other, output) in STAND_INS.items():
                if reader == task:
                    made = mounted(root, ended[other][0]["outputs"]["artifacts"][output])
                    shutil.copytree(made, mounted(root, given["inputs"]["artifacts"][name]))
            mounted(root, given["outputs"]["artifacts"]["executor-logs"]).parent.mkdir(parents=True)
            patch.setattr(sys, "argv", ["", "--executor-input", text])
            error = ""
            try:
                runpy.run_module(f"pada_agent.components.{stage_of(task)}", run_name="__main__", alter_sys=True)
            except SystemExit as e:
                error = str(e.code)
            ended[task] = (json.loads(text), error)
        yield ended


def mounted(root, slot):
    return root / slot["artifacts"][0]["uri"].replace("minio://", "minio/")


def test_every_stage_and_every_record_has_its_turn():
    assert {stage_of(task) for task in ORDER} == set(STAGES)
    assert sorted(ORDER) == sorted(file.stem for file in RECORDED.glob("*.json"))


@pytest.mark.parametrize("task", ORDER)
def test_a_stage_runs_to_its_end_from_what_kubeflow_gave_it(ran, task):
    given, error = ran[task]
    assert not error
    said = json.loads(Path(given["outputs"]["outputFile"]).read_text())
    assert set(said["artifacts"]) == set(STAGES[stage_of(task)].outputs), "executor-logs is the backend's"
    for name, slot in said["artifacts"].items():
        (artifact,), (asked,) = slot["artifacts"], given["outputs"]["artifacts"][name]["artifacts"]
        assert artifact.keys() == {"name", "uri", "metadata"}
        assert (artifact["name"], artifact["uri"]) == (name, asked["uri"])
    assert all(Path(slot["outputFile"]).is_file() for slot in given["outputs"]["parameters"].values())
