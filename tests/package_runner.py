"""Runs a compiled package as its text says: tasks after those they depend on, gates by their conditions, one container a task.

KFP's own local runners cannot (bare `dsl.If` on a named output is silently false there, and container components lose artifacts);
this one gives stages what a stock Kubeflow 2.17 was seen to give them: executor input as JSON with every number a float;
`executor-logs`, which no component declares, with the number of the try in its URI; input artifacts with a number as their name,
without a schema and with the backend's own metadata; parameters' files in one folder, the output file below the task's root;
placeholders filled in by the launcher, optional artifacts absent, failed tasks retried by their policy, tasks with the same
inputs taken over from runs that share a cache, groups that hand out what tasks inside them made, exit tasks after whatever came
before them. `scheme="gs"` lays everything out as Vertex AI does.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pada_agent.components.backends import mounts
from pada_agent.components.backends.executor import Executor

CONDITION = re.compile(r"inputs\.parameter_values\['([^']+)'\] == (true|false)")
READ = {
    "NUMBER_INTEGER": int,
    "NUMBER_DOUBLE": float,
    "BOOLEAN": lambda t: {"true": True, "false": False}[t.lower()],
    "STRING": str,
    "STRUCT": json.loads,
    "LIST": json.loads,
}
SESSION = {"Provider": "minio", "Params": {"endpoint": "seaweedfs.kubeflow:9000", "fromEnv": "false", "region": "minio"}}
LOGS = "executor-logs"


class TaskFailed(Exception):
    """A container ended with an error after all its retries."""


@dataclass(frozen=True)
class Container:
    """One container to run: what Kubernetes would be told, and the executor input in its arguments."""

    task: str
    image: str
    command: list[str]
    arguments: list[str]
    folder: Path  # the task's root
    scratch: Path  # parameters' files; /tmp/kfp/outputs of a container

    @property
    def stage(self) -> str:
        return self.command[-1].removeprefix("pada_agent.components.")

    @property
    def executor_input(self) -> str:
        return self.arguments[1]

    @property
    def executor(self) -> Executor:
        """What the stage's entry gets, for a test that runs it in this process."""
        return Executor(self.executor_input, *self.arguments[3:])


@dataclass
class Ran:
    """A finished task: its output parameters and the URIs of its artifacts."""

    parameters: dict[str, Any]
    artifacts: dict[str, str]


@dataclass
class PackageRun:
    """One run of a package. `start` runs a container and returns its exit code.

    `root` stands for the file system of the containers, so what is at minio:// is below `root`/minio. It is theirs where
    `contained`; else stages run in this process, and the launcher's mounts are below `root` for them.
    """

    spec: Mapping[str, Any]
    root: Path
    start: Callable[[Container], int]
    contained: bool = False
    scheme: str = "minio"
    bucket: str = "mlpipeline"
    retries: bool = True
    run_id: str = "run"
    tasks: dict[str, Ran] = field(default_factory=dict)
    cache: dict[str, Any] = field(default_factory=dict)  # of the backend: runs that are given the same one take over tasks
    taken_over: list[str] = field(default_factory=list)
    _round: str = ""
    _known: dict[str, dict[str, Any]] = field(default_factory=dict)  # artifacts by URI, as they are handed on

    def run(self, **parameters: Any) -> dict[str, Ran]:
        """Every container task that ran, by its display name, in order. Raises TaskFailed."""
        known = self.spec["root"]["inputDefinitions"]["parameters"]
        assert not parameters.keys() - known.keys(), "an argument that the pipeline does not take"
        with mounts_below(Path("/") if self.contained else self.root):
            self._dag(self.spec["root"], {**_defaults(known), **parameters}, {})
        return self.tasks

    def local(self, uri: str) -> Path:
        """Where here is what a task wrote to `uri`."""
        with mounts_below(self.root):
            return mounts.local_path(uri)

    def _seen(self, path: Path) -> str:
        if not self.contained:
            return str(path)
        inside = path.relative_to(self.root)
        return "/tmp/kfp/outputs" if inside.parts[0] == "scratch" else f"/{inside}"

    def _dag(self, component: Mapping[str, Any], parameters: Mapping[str, Any], artifacts: Mapping[str, str]) -> Ran:
        """Follow a group to its end; what it hands out."""
        waiting, done = dict(component["dag"]["tasks"]), {}
        last = {name: waiting.pop(name) for name, task in list(waiting.items()) if "strategy" in task.get("triggerPolicy", {})}
        try:
            self._tasks(waiting, parameters, artifacts, done)
        finally:
            self._tasks({name: {**task, "dependentTasks": []} for name, task in last.items()}, parameters, artifacts, done)
        outputs = component["dag"].get("outputs", {})
        selected = [(name, how["valueFromParameter"]) for name, how in outputs.get("parameters", {}).items()]
        made = {name: done[one["producerSubtask"]].parameters[one["outputParameterKey"]] for name, one in selected}
        chosen = [(name, how["artifactSelectors"][0]) for name, how in outputs.get("artifacts", {}).items()]
        left = {name: done[one["producerSubtask"]].artifacts[one["outputArtifactKey"]] for name, one in chosen}
        return Ran(made, left)

    def _tasks(
        self,
        waiting: dict[str, Any],
        parameters: Mapping[str, Any],
        artifacts: Mapping[str, str],
        done: dict[str, Any],
    ) -> None:
        while waiting:
            ready = [name for name, task in waiting.items() if set(task.get("dependentTasks", [])) <= done.keys()]
            assert ready, f"a circle, or a dependency on a task that was skipped: {list(waiting)}"
            for name in sorted(ready):
                task = waiting.pop(name)
                given = self._parameters(task, parameters, done)
                handed = self._artifacts(task, artifacts, done)
                inside = self.spec["components"][task["componentRef"]["name"]]
                condition = task.get("triggerPolicy", {}).get("condition")
                if condition and not _holds(condition, given):
                    continue
                follow = self._dag if "dag" in inside else partial(self._task, task)
                follow = partial(self._rounds, task) if "parameterIterator" in task else follow
                done[name] = follow(inside, given, handed)

    def _rounds(
        self, task: Mapping[str, Any], inside: Mapping[str, Any], given: Mapping[str, Any], handed: Mapping[str, str]
    ) -> Ran:
        """Follow a loop, one round after the other; its tasks are told apart by the loop and the number of the round."""
        iterator = task["parameterIterator"]
        items = given[iterator["items"]["inputParameter"]]
        assert items, "nobody knows what Kubeflow makes of a loop over nothing"
        for number, item in enumerate(items):
            self._round = f"-{task['taskInfo']['name']}-{number}"
            self._dag(inside, {**given, iterator["itemInput"]: item}, handed)
        self._round = ""
        return Ran({}, {})

    def _parameters(self, task: Mapping[str, Any], outer: Mapping[str, Any], done: Mapping[str, Any]) -> dict[str, Any]:
        values = {}
        for name, source in task.get("inputs", {}).get("parameters", {}).items():
            if "componentInputParameter" in source:
                values[name] = outer[source["componentInputParameter"]]
            elif "taskOutputParameter" in source:
                produced = source["taskOutputParameter"]
                values[name] = done[produced["producerTask"]].parameters[produced["outputParameterKey"]]
            else:
                values[name] = source["runtimeValue"]["constant"]
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
        name = task["taskInfo"]["name"] + self._round
        assert name not in self.tasks, f"two tasks are called {name}"
        place = self._place(name)
        folder = self.local(place)
        inputs, outputs = component.get("inputDefinitions", {}), component["outputDefinitions"]
        kinds, declared = outputs.get("parameters", {}), outputs.get("artifacts", {})
        output_file = folder / ("executor_output.json" if self.scheme == "gs" else "output_metadata.json")
        values = {**_defaults(inputs["parameters"]), **given}
        executor_spec = self.spec["deploymentSpec"]["executors"][component["executorLabel"]]
        if "importer" in executor_spec:
            self._keep("artifact", given["uri"], {})
            self.tasks[name] = Ran({}, {"artifact": given["uri"]})
            return self.tasks[name]
        container = executor_spec["container"]
        # As KFP's driver: of one pipeline, with the same container, parameters, input artifacts (it has their ids) and outputs.
        fingerprint = json.dumps(
            [self.spec["pipelineInfo"]["name"], container, values, handed, sorted(kinds), sorted(declared)], sort_keys=True
        )
        if task.get("cachingOptions", {}).get("enableCache") and fingerprint in self.cache:
            self.tasks[name], artifacts = self.cache[fingerprint]
            self._known |= artifacts
            self.taken_over.append(name)
            return self.tasks[name]
        tries = 1 + (task.get("retryPolicy", {}).get("maxRetryCount", 0) if self.retries else 0)
        code = 1
        for number in range(tries):
            scratch = folder if self.scheme == "gs" else self.root / "scratch" / f"{self.run_id}-{folder.name}-{number}"
            own = {} if self.scheme == "gs" else {LOGS: {"artifactType": {"schemaTitle": "system.Artifact"}}}
            uris = {key: f"{place}/{key}" for key in declared} | {key: f"{place}/{key}-{number}" for key in own}
            text = {
                "inputs": {
                    "parameterValues": as_doubles(values),
                    "artifacts": {key: {"artifacts": [self._known[uri]]} for key, uri in handed.items()},
                },
                "outputs": {
                    "artifacts": {
                        key: {"artifacts": [{"name": key, "type": of["artifactType"], "uri": uris[key]}]}
                        for key, of in {**declared, **own}.items()
                    },
                    "parameters": {key: {"outputFile": f"{self._seen(scratch)}/{key}"} for key in kinds},
                    "outputFile": self._seen(output_file),
                },
            }
            if self.scheme != "gs":  # the launcher's work; Vertex has a bucket and no folders
                scratch.mkdir(parents=True)
                folder.mkdir(parents=True, exist_ok=True)
            arguments = [_filled(json.dumps(text), values) if a == "{{$}}" else a for a in container["args"]]
            code = self.start(Container(name, container["image"], container["command"], arguments, folder, scratch))
            if code == 0:
                break
        if code:
            raise TaskFailed(f"{name}: exit code {code} after {tries} tries")
        found = {key: READ[kinds[key]["parameterType"]]((scratch / key).read_text()) for key in kinds}
        written = json.loads(output_file.read_text())["artifacts"]
        assert written.keys() <= declared.keys(), "what the component does not declare is the backend's own"
        for key in declared:
            self._keep(key, uris[key], written.get(key, {"artifacts": [{}]})["artifacts"][0].get("metadata", {}))
        self.tasks[name] = Ran(found, {key: uris[key] for key in declared})
        if task.get("cachingOptions", {}).get("enableCache"):
            self.cache[fingerprint] = self.tasks[name], {uri: self._known[uri] for uri in self.tasks[name].artifacts.values()}
        return self.tasks[name]

    def _place(self, task: str) -> str:
        """URI of the folder for a task's artifacts."""
        number = len(self.tasks) + 1
        return f"{self.scheme}://{self.bucket}/v2/artifacts/{self.spec['pipelineInfo']['name']}/{self.run_id}/{number:02d}-{task}"

    def _keep(self, name: str, uri: str, metadata: Mapping[str, Any]) -> None:
        """The artifact as the tasks that read it are told of it."""
        about = {**metadata, "display_name": name, "store_session_info": json.dumps(SESSION)}
        number = str(len(self._known) + 1)
        self._known[uri] = {"name": number, "type": {"instanceSchema": ""}, "uri": uri, "metadata": about}


@contextmanager
def mounts_below(root: Path) -> Iterator[None]:
    """For this process, /gcs, /s3 and /minio are below `root`."""
    before = mounts.MOUNTS
    mounts.MOUNTS = {scheme: f"{root}/{mount.rsplit('/', 2)[1]}/" for scheme, mount in before.items()}
    try:
        yield
    finally:
        mounts.MOUNTS = before


def _filled(text: str, values: Mapping[str, Any]) -> str:
    """As the launcher replaces placeholders in its command line, which the executor input is a part of by then."""
    for name, value in values.items():
        text = text.replace(f"{{{{$.inputs.parameters['{name}']}}}}", str(value))
    return text


def _defaults(known: Mapping[str, Any]) -> dict[str, Any]:
    return {name: definition["defaultValue"] for name, definition in known.items() if "defaultValue" in definition}


def as_doubles(value: Any) -> Any:
    """As protobuf's Struct has it: all numbers are doubles."""
    if isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return {k: as_doubles(v) for k, v in value.items()}
    if isinstance(value, list):
        return [as_doubles(v) for v in value]
    return float(value) if isinstance(value, int) else value


def _holds(condition: str, given: Mapping[str, Any]) -> bool:
    found = CONDITION.fullmatch(" ".join(condition.split()))
    assert found, f"a condition of another form: {condition}"
    return bool(given[found[1]] == (found[2] == "true"))
