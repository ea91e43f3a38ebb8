"""Runs one stage as a task of a run directory: builds the executor input, calls the stage, skips what is finished."""

import gc
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pada_agent.components.backends.executor import Executor
from pada_agent.components.core.settings import Settings
from pada_agent.pipelines.config import local_files
from pada_agent.pipelines.local.embedded_servers import EmbeddedServers
from pada_agent.pipelines.local.log import RunLog
from pada_agent.pipelines.local.run_directory import RunDirectory, TaskFolder, task_key

Stage = Callable[[Executor], None]
Artifacts = Mapping[str, Path | None]

OUTPUTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "prepare_data": (("train_data", "heldout_data", "fingerprints"), ("train_rows",)),
    "train_lora": (("adapter",), ("steps",)),
    "evaluate_slm": (("predictions", "report_predictions", "metrics"), ("validation_accuracy",)),
    "analyze_patterns": (("analyses", "plan"), ("patterns", "training_errors")),
    "generate_data": (("batches",), ("open_batches",)),
    "control_quality": (("checked_batches",), ("accepted", "open_batches")),
    "update_state": (("state", "synthetic_data", "report"), ("go_on", "reason", "shipped")),
}
LLM_ROLES = {"analyze_patterns": ("teacher",), "generate_data": ("teacher",), "control_quality": ("judge",)}


class Reached(Exception):
    """The task named by `until` is finished."""


@dataclass(frozen=True)
class Done:
    """A finished task: its folder, the paths of its artifacts and its output parameters."""

    folder: Path
    outputs: dict[str, Path]
    parameters: dict[str, Any]

    def __getitem__(self, name: str) -> Path:
        return self.outputs[name]


@dataclass(frozen=True)
class Call:
    """One task that must run: everything its stage is given."""

    name: str
    stage: str
    key: str
    inputs: Mapping[str, Path]
    parameters: dict[str, Any]
    folder: TaskFolder


@dataclass
class Engine:
    """Runs tasks, each only if it is not finished already."""

    settings: Settings
    directory: RunDirectory
    plan: list[str]
    until: str
    log: RunLog
    servers: EmbeddedServers
    stage: Callable[[str], Stage]
    on_state: Callable[[Path], None]
    tasks: dict[str, Done] = field(default_factory=dict)

    def task(self, name: str, stage: str, artifacts: Artifacts | None = None, /, **parameters: Any) -> Done:
        """Run one task unless it is finished. Raises Reached after the one the run is to stop at."""
        folder = self.directory.task(self.plan.index(name) + 1, name)
        inputs = {key: path for key, path in (artifacts or {}).items() if path is not None}
        own = {"settings": self.settings.for_stage(stage), **parameters}
        key = task_key(stage, own, inputs, local_files(self.settings) if stage == "prepare_data" else {})
        fresh = not folder.finished(key)
        if fresh:
            self._run(Call(name, stage, key, inputs, own, folder))
        self.directory.keep(folder)
        if fresh and stage == "train_lora":
            self.directory.drop_checkpoints(name, key)
        done = Done(folder.path, {a: folder.path / a for a in OUTPUTS[stage][0]}, folder.parameters())
        self.log.task(folder.path.name, done.folder, done.parameters, folder.seconds(), fresh)
        self.tasks[name] = done
        if fresh and "state" in done.outputs:
            self.on_state(done["state"])
        if name == self.until:
            raise Reached(name)
        return done

    def _run(self, call: Call) -> None:
        started = time.monotonic()
        self.log.start(call.folder.path.name)
        if call.stage == "train_lora":
            call.parameters["checkpoint_uri"] = self.directory.checkpoints(call.name, call.key)
        if call.stage in LLM_ROLES:
            call.parameters["ledger"] = self.directory.ledger(call.stage)
            call.parameters["settings"] = self.servers.reach(call.parameters["settings"], LLM_ROLES[call.stage])
        elif call.stage in ("train_lora", "evaluate_slm"):
            self.servers.stop()  # they would take the cores and the memory that the SLM needs
        text = _executor_input(call)
        call.folder.begin(call.stage, call.key, text)
        self.stage(call.stage)(Executor(text))
        if not call.folder.output_file.exists():
            raise RuntimeError(f"{call.stage} came to its end without writing {call.folder.output_file}")
        call.folder.end(call.stage, call.key, time.monotonic() - started)
        gc.collect()


def _executor_input(call: Call) -> str:
    artifacts, values = OUTPUTS[call.stage]
    folder = call.folder

    def artifact(name: str, path: Path) -> dict[str, Any]:
        return {"artifacts": [{"name": name, "uri": str(path), "metadata": {}}]}

    whole = {
        "inputs": {
            "parameterValues": call.parameters,
            "artifacts": {name: artifact(name, path) for name, path in call.inputs.items()},
        },
        "outputs": {
            "artifacts": {name: artifact(name, folder.path / name) for name in artifacts},
            "parameters": {name: {"outputFile": str(folder.path / "parameters" / name)} for name in values},
            "outputFile": str(folder.output_file),
        },
    }
    return json.dumps(whole, indent=1)
