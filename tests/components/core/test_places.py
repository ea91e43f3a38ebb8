"""The run and the task behind an artifact's URI; the layout of Kubeflow 2.17 is a recorded one."""

import json
from pathlib import Path

import pytest

from pada_agent.components.core.places import HERE, Place, place_of

RECORDED = Path(__file__).parents[4] / "shared" / "data" / "kfp" / "executor_inputs"
UUID = "22416f2a-4514-4015-bea4-8b75a873df30"


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        (f"minio://m/v2/artifacts/loop/run-1/train-2/{UUID}/adapter", Place("minio://m/v2/artifacts/loop", "run-1", "train-2")),
        ("minio://m/v2/artifacts/loop/run-1/train-2/adapter", Place("minio://m/v2/artifacts/loop", "run-1", "train-2")),
        ("gs://b/root/123/job-7/train-2_-5829/adapter", Place("gs://b/root/123", "job-7", "train-2")),
        ("/home/me/runs/a/02-train-vanilla/adapter", Place("", HERE, "train-vanilla")),
        ("gs://b/adapter", None),
        ("adapter", None),
        ("", None),
    ],
)
def test_the_place_of_an_artifact(uri: str, place: Place | None) -> None:
    assert place_of(uri) == place


@pytest.mark.skipif(not RECORDED.is_dir(), reason=f"EXECUTOR INPUTS OF A REAL KUBEFLOW ARE MISSING: {RECORDED}")
def test_every_recorded_output_names_its_task_and_the_one_run() -> None:
    runs = set()
    for file in RECORDED.glob("*.json"):
        outputs = json.loads(file.read_text())["executor_input"]["outputs"]["artifacts"]
        for artifact in outputs.values():
            place = place_of(artifact["artifacts"][0]["uri"])
            assert place is not None and place.task == file.stem
            runs.add(place.run)
    assert len(runs) == 1
