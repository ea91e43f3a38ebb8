"""Which tasks were taken over, by where artifacts lie; the layout of Kubeflow 2.17 is a recorded one."""

import json
from pathlib import Path
from typing import Any

import pytest

from pada_agent.components.backends.artifacts.origins import taken_over
from pada_agent.components.backends.executor import Executor
from pada_agent.components.core.state import IterationRecord, RunFacts, State

RECORDED = Path(__file__).parents[5] / "shared" / "data" / "kfp" / "executor_inputs"
OTHER = "0c9bd9a4-93f5-4d3e-9a4e-6f3d5f0c2b11"


def state(*iterations: IterationRecord) -> State:
    facts = dict.fromkeys(("task", "slm", "teacher", "judge", "scope"), "x")
    numbers = dict.fromkeys(("seed", "iterations", "patience"), 1) | dict.fromkeys(
        ("alpha", "confidence", "threshold", "share"), 0.5
    )
    return State(run=RunFacts(**facts, **numbers), iterations=list(iterations))


def recorded(name: str) -> dict[str, Any]:
    if not RECORDED.is_dir():
        pytest.skip("ORIGINS NOT TRIED ON RECORDED INPUTS: no ../shared/data/kfp")
    found: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text())["executor_input"]
    return found


@pytest.mark.parametrize(
    ("name", "step", "iteration", "moved", "expected"),
    [
        ("update-state", "start", 0, (), ()),
        ("update-state", "start", 0, ("adapter",), ("train-vanilla",)),
        ("update-state", "start", 0, ("baseline_report_predictions", "train_data"), ("prepare", "evaluate-untuned")),
        ("update-state-2", "merge", 1, ("analyses", "checked_batches"), ("analyze-1", "control-1")),
        ("update-state-3", "score", 1, ("adapter", "report_predictions"), ("train-1", "evaluate-1")),
        ("update-state-3", "score", 1, ("previous_state",), ("all up to start",)),
    ],
)
def test_an_artifact_of_another_run_is_found(
    name: str, step: str, iteration: int, moved: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    found = recorded(name)
    run = found["outputs"]["artifacts"]["state"]["artifacts"][0]["uri"].split("/")[6]
    for key in moved:
        artifact = found["inputs"]["artifacts"][key]["artifacts"][0]
        artifact["uri"] = artifact["uri"].replace(run, OTHER)
    assert taken_over(Executor(json.dumps(found)), state(), step, iteration) == dict.fromkeys(expected, OTHER)


def executor(adapter: str, output: str, name: str = "adapter") -> Executor:
    def slot(uri: str) -> dict[str, Any]:
        return {"artifacts": [{"name": "x", "uri": uri}]}

    outputs = {"artifacts": {"state": slot(output)}, "outputFile": "/tmp/x"}
    return Executor(json.dumps({"inputs": {"artifacts": {name: slot(adapter)}}, "outputs": outputs}))


@pytest.mark.parametrize(
    ("adapter", "output", "expected"),
    [
        # Vertex: root, project, job, task with its number
        ("gs://b/root/123/loop-1/train-lora_-45/adapter", "gs://b/root/123/loop-2/update-state_7/state", {"train-2": "loop-1"}),
        ("gs://b/root/123/loop-2/train-lora_-45/adapter", "gs://b/root/123/loop-2/update-state_7/state", {}),
        ("gs://elsewhere/models/mine/v1/best/adapter", "gs://b/root/123/loop-2/update-state_7/state", {}),  # an importer's
        ("/runs/a/02-train-2/adapter", "/runs/b/05-score/state", {}),  # on one machine a run is a folder
    ],
)
def test_other_layouts(adapter: str, output: str, expected: dict[str, str]) -> None:
    assert taken_over(executor(adapter, output), state(), "score", 2) == expected


def test_a_state_taken_over_stands_for_all_before_it() -> None:
    root = "minio://mlpipeline/v2/artifacts/loop"
    text = {"artifacts": [{"name": "9", "uri": f"{root}/{OTHER}/update-state-4/{OTHER}/state"}]}
    own = {"artifacts": [{"name": "state", "uri": f"{root}/5b0a79c5-26dd-41a0-8fd7-6f5ae0b52f9e/update-state-9/{OTHER}/state"}]}
    whole = {"inputs": {"artifacts": {"previous_state": text}}, "outputs": {"artifacts": {"state": own}, "outputFile": "/x"}}
    ex = Executor(json.dumps(whole))
    assert taken_over(ex, state(IterationRecord(number=1, model="iteration-1")), "step_matched", 0) == {
        "all up to score-1": OTHER
    }
    assert taken_over(ex, state(IterationRecord(number=1)), "score", 1) == {"all up to merge-1": OTHER}


def test_answers_that_an_llm_scored_are_of_the_task_that_scored_them() -> None:
    there, here = "gs://b/root/123/loop-1/score-answers_-45/x", "gs://b/root/123/loop-2/update-state_7/state"
    judged = state().model_copy(update={"run": state().run.model_copy(update={"scorer": "s"})})
    for before, task in ((state(), "evaluate-2"), (judged, "grade-2")):
        assert taken_over(executor(there, here, "report_predictions"), before, "score", 2) == {task: "loop-1"}
