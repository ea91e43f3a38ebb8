"""The task `result` as Kubeflow 2.17 starts it: its pod's executor input, the run's events, and what the launcher finds."""

import json
import runpy
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from package_runner import mounts_below

from pada_agent.components.backends import mounts
from pada_agent.components.backends.artifacts.kept import keep
from pada_agent.components.backends.store.events import Event, tell
from pada_agent.components.core.state import ModelRecord, State
from tests.components.core.conftest import rows_of

ROOT = "minio://mlpipeline/v2/artifacts/pada-agent-improvement-loop"
RUN, ATTEMPT = "b19e2200-3529-4062-b767-80b8a27c53b2", "8eb876ee-a740-4cf7-be82-db45df0f9c3a"
KINDS = {"report": "system.HTML", "metrics": "system.Metrics", "adapter": "system.Model", "executor-logs": "system.Artifact"}
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def artifact(task: str, name: str, run: str = RUN) -> str:
    """Where Kubeflow keeps an artifact."""
    return f"{ROOT}/{run}/{task}/{ATTEMPT}/{name}"


@dataclass
class Result:
    """What the task left: its artifacts as the executor output has them, and what its log says."""

    artifacts: dict[str, dict[str, Any]]
    places: dict[str, Path]
    log: str

    @property
    def page(self) -> str:
        return self.places["report"].read_text()

    @property
    def metrics(self) -> dict[str, float]:
        metadata: dict[str, float] = self.artifacts["metrics"]["metadata"]
        return metadata


@dataclass
class Run:
    """A run that is over: its stages told and kept what they would have."""

    root: Path  # of the pod's file system
    events_uri: str
    name: str = RUN
    seconds: int = field(default=0)

    def tell(self, task: str, kind: str, **more: Any) -> None:
        """One event, a second after the one before."""
        self.seconds += 1
        event = {"task": task, "kind": kind, "time": NOON + timedelta(seconds=self.seconds), **more}
        tell(self.events_uri, self.name, Event.model_validate(event))

    def did(self, *tasks: str) -> None:
        """Tasks that came to their end."""
        for task in tasks:
            self.tell(task, "started")
            self.tell(task, "ended", seconds=1)

    def keep(self, state: State) -> None:
        """As update_state does."""
        keep(self.events_uri, self.name, state, rows_of(state), "<p>the report so far</p>")

    def publish(self, capsys: pytest.CaptureFixture[str], **parameters: str) -> Result:
        """Start the task as its container does."""
        self.tell("result", "started")
        slots = {
            name: {"artifacts": [{"name": name, "type": {"schemaTitle": kind}, "uri": artifact("result", name, self.name)}]}
            for name, kind in KINDS.items()
        }
        output_file = self.root / "minio" / artifact("result", "output_metadata.json", self.name).partition("://")[2]
        given = {
            "inputs": {"parameterValues": {"work_uri": self.events_uri.removesuffix("/events"), "export_uri": "", **parameters}},
            "outputs": {"artifacts": slots, "outputFile": str(output_file)},
        }
        with pytest.MonkeyPatch.context() as patch, mounts_below(self.root):
            patch.setattr(sys, "argv", ["", "--executor-input", json.dumps(given)])
            capsys.readouterr()
            runpy.run_module("pada_agent.components.publish_result", run_name="__main__", alter_sys=True)
            said = json.loads(output_file.read_text())["artifacts"]
            found = {name: slot["artifacts"][0] for name, slot in said.items()}
            places = {name: mounts.local_path(of["uri"]) for name, of in found.items()}
        assert all(place.exists() for place in places.values()), "the launcher of a later Kubeflow wants each output to be there"
        return Result(found, places, capsys.readouterr().err)


def of_run(state: State, run: str = RUN) -> State:
    """The state with its adapters where the tasks of a run left them."""

    def placed(model: ModelRecord) -> ModelRecord:
        uri = artifact(f"train-{model.name.removeprefix('iteration-')}", "adapter", run) if model.adapter_uri else ""
        return model.model_copy(update={"adapter_uri": uri})

    return state.model_copy(update={"models": [placed(model) for model in state.models]})
