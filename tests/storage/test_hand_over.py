"""A run directory exported to real stores, and a service that points there in KServe's words."""

from pathlib import Path

import finished_runs
import yaml
from kserve_schema import violations

from pada_agent.components.backends.store.transfer import fetch
from pada_agent.pipelines.kubeflow.handover.export import Wanted, take_on
from pada_agent.pipelines.local.hand_over import hand_over


def test_an_export_is_served_from_where_it_lies(uri: str, tmp_path: Path) -> None:
    hand_over(str(finished_runs.finished_run(tmp_path / "run")), uri)
    said: list[str] = []
    take_on(uri, Wanted(kserve=tmp_path / "service.yaml", name="sql"), said.append)
    found = yaml.safe_load((tmp_path / "service.yaml").read_text())
    assert violations(found) == []
    there = found["spec"]["predictor"]["model"]["storageUri"]
    assert there.startswith(("gs://", "s3://"))
    assert (fetch(there, tmp_path / "fetched") / "adapter_model.safetensors").read_bytes() == b"weights"
    assert [line.partition(":")[0] for line in said] == [
        uri.partition(":")[0],
        str(tmp_path / "service.yaml"),
        "The adapter was trained on model org/slm",
    ]
    assert "'tuned'; 'sql' is its base model" in said[1]
