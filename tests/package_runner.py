"""Runs a compiled package as its text says: tasks after those they depend on, gates by their conditions, one container a task.

KFP's own local runners cannot (bare `dsl.If` on a named output is silently false there, and container components lose artifacts);
this one follows kubeflow/pipelines' v2 driver and launcher: executor input as JSON with every number a float, output parameters
read from their files, artifacts known by URI, optional artifacts absent, retries by the task's policy.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CONDITION = re.compile(r"inputs\.parameter_values\['([^']+)'\] == (true|false)")
PLACEHOLDER = re.compile(r"\{\{\$\.inputs\.parameters\['([^']+)'\]\}\}")
READ = {
    "NUMBER_INTEGER": int,
    "NUMBER_DOUBLE": float,
    "BOOLEAN": lambda t: {"true": True, "false": False}[t.lower()],
    "STRING": str,
    "STRUCT": json.loads,
}


class TaskFailed(Exception):
    """A container ended with an error after all its retries."""


@dataclass(frozen=True)
class Container:
    """One container to run: what Kubernetes would be told, and the executor input in its arguments."""

    task: str
    image: str
    command: list[str]
    arguments: list[str]
    folder: Path

    @property
    def executor_input(self) -> str:
        return self.arguments[1]


@dataclass
class Ran:
    """A finished task: its output parameters and the URIs of its artifacts."""

    parameters: dict[str, Any]
    artifacts: dict[str, str]


@dataclass
class PackageRun:
    """One run of a package. `start` runs a container and returns its exit code; `uri` makes an artifact's URI of its path."""

    spec: Mapping[str, Any]
    root: Path
    start: Callable[[Container], int]
    uri: Callable[[Path], str] = str
    retries: bool = True
    tasks: dict[str, Ran] = field(default_factory=dict)

    def run(self, **parameters: Any) -> dict[str, Ran]:
        """Every container task that ran, by its display name, in order. Raises TaskFailed."""
        known = self.spec["root"]["inputDefinitions"]["parameters"]
        assert not parameters.keys() - known.keys(), "an argument that the pipeline does not take"
        self._dag(self.spec["root"], {**_defaults(known), **parameters}, {})
        return self.tasks

    def _dag(self, component: Mapping[str, Any], parameters: Mapping[str, Any], artifacts: Mapping[str, str]) -> None:
        waiting, done = dict(component["dag"]["tasks"]), {}
        while waiting:
            ready = [name for name, task in waiting.items() if set(task.get("dependentTasks", [])) <= done.keys()]
            assert ready, f"a circle, or a dependency on a task that was skipped: {list(waiting)}"
            for name in sorted(ready):
                task = waiting.pop(name)
                given = self._parameters(task, parameters, done)
                handed = self._artifacts(task, artifacts, done)
                inside = self.spec["components"][task["componentRef"]["name"]]
                if "triggerPolicy" in task and not _holds(task["triggerPolicy"]["condition"], given):
                    continue
                done[name] = self._task(task, inside, given, handed) if "executorLabel" in inside else None
                if "dag" in inside:
                    self._dag(inside, given, handed)

    def _parameters(self, task: Mapping[str, Any], outer: Mapping[str, Any], done: Mapping[str, Any]) -> dict[str, Any]:
        values, constants = {}, {}
        for name, source in task.get("inputs", {}).get("parameters", {}).items():
            if "componentInputParameter" in source:
                values[name] = outer[source["componentInputParameter"]]
            elif "taskOutputParameter" in source:
                produced = source["taskOutputParameter"]
                values[name] = done[produced["producerTask"]].parameters[produced["outputParameterKey"]]
            else:
                constants[name] = source["runtimeValue"]["constant"]
        for name, constant in constants.items():
            filled = PLACEHOLDER.sub(lambda m: str(values[m[1]]), constant) if isinstance(constant, str) else constant
            values[name] = filled
        return values

    def _artifacts(self, task: Mapping[str, Any], outer: Mapping[str, str], done: Mapping[str, Any]) -> dict[str, str]:
        found = {}
        for name, source in task.get("inputs", {}).get("artifacts", {}).items():
            if "componentInputArtifact" in source:
                found[name] = outer[source["componentInputArtifact"]]
            else:
                produced = source["taskOutputArtifact"]
                found[name] = done[produced["producerTask"]].artifacts[produced["outputArtifactKey"]]
        return found

    def _task(
        self, task: Mapping[str, Any], component: Mapping[str, Any], given: Mapping[str, Any], handed: Mapping[str, str]
    ) -> Ran:
        name = task["taskInfo"]["name"]
        assert name not in self.tasks, f"two tasks are called {name}"
        folder = self.root / f"{len(self.tasks) + 1:02d}-{name}"
        inputs, outputs = component.get("inputDefinitions", {}), component["outputDefinitions"]
        own = {k: v for k, v in given.items() if k in inputs["parameters"]}
        made = {artifact: self.uri(folder / artifact) for artifact in outputs.get("artifacts", {})}
        files = {key: folder / "parameters" / key for key in outputs.get("parameters", {})}
        text = {
            "inputs": {
                "parameterValues": _floats({**_defaults(inputs["parameters"]), **own}),
                "artifacts": {k: _artifact(k, uri) for k, uri in handed.items()},
            },
            "outputs": {
                "artifacts": {k: _artifact(k, uri) for k, uri in made.items()},
                "parameters": {k: {"outputFile": str(file)} for k, file in files.items()},
                "outputFile": str(folder / "executor_output.json"),
            },
        }
        executor = self.spec["deploymentSpec"]["executors"][component["executorLabel"]]
        if "importer" in executor:
            self.tasks[name] = Ran({}, {"artifact": given["uri"]})
            return self.tasks[name]
        container = executor["container"]
        arguments = [json.dumps(text) if a == "{{$}}" else a for a in container["args"]]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "parameters").mkdir(exist_ok=True)
        tries = 1 + (task.get("retryPolicy", {}).get("maxRetryCount", 0) if self.retries else 0)
        code = 1
        for _ in range(tries):
            code = self.start(Container(name, container["image"], container["command"], arguments, folder))
            if code == 0:
                break
        if code:
            raise TaskFailed(f"{name}: exit code {code} after {tries} tries")
        kinds = outputs.get("parameters", {})
        found = {key: READ[kinds[key]["parameterType"]](file.read_text()) for key, file in files.items()}
        self.tasks[name] = Ran(found, made)
        return self.tasks[name]


def _defaults(known: Mapping[str, Any]) -> dict[str, Any]:
    return {name: definition["defaultValue"] for name, definition in known.items() if "defaultValue" in definition}


def _artifact(name: str, uri: str) -> dict[str, Any]:
    return {"artifacts": [{"name": name, "uri": uri, "metadata": {}}]}


def _floats(value: Any) -> Any:
    """As protobuf's Struct has it: all numbers are doubles."""
    if isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return {k: _floats(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_floats(v) for v in value]
    return float(value) if isinstance(value, int) else value


def _holds(condition: str, given: Mapping[str, Any]) -> bool:
    found = CONDITION.fullmatch(" ".join(condition.split()))
    assert found, f"a condition of another form: {condition}"
    return bool(given[found[1]] == (found[2] == "true"))
