"""What Kubernetes keeps of a task: its executor input and component spec, as Kubeflow 2.17 was seen to write them for a package.

KFP's driver puts both, as JSON, into the pod spec patch, which is JSON in the node status, six times a task.
"""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from package_runner import LOGS

UUID = "d8a66eed-de46-46ea-a1cd-617733a2731d"  # of a run, and of a task's folder
METADATA = Callable[[str, str], Mapping[str, Any]]  # what the stage of a task says of an output


def size(*parts: Any) -> int:
    """Bytes of these JSON values in node status: each is text inside text."""
    return sum(len(json.dumps(json.dumps(json.dumps(part, separators=(",", ":"))))) for part in parts)


class Told:
    """What each task of a package would be told; `values` are the run's parameters, `session` is the backend's own metadata."""

    def __init__(self, spec: Mapping[str, Any], values: Mapping[str, Any], metadata: METADATA, session: str) -> None:
        self._spec, self._values, self._metadata, self._session = spec, values, metadata, session
        self._inside = {"root": spec["root"]["dag"], **{k: c["dag"] for k, c in spec["components"].items() if "dag" in c}}
        self._around = {
            task["componentRef"]["name"]: (dag, task)
            for dag, body in self._inside.items()
            for task in body["tasks"].values()
            if task["componentRef"]["name"] in self._inside
        }
        self._where = {
            task["taskInfo"]["name"]: (dag, key)
            for dag, body in self._inside.items()
            for key, task in body["tasks"].items()
            if task["componentRef"]["name"] not in self._inside
        }

    def of(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Executor input and component spec of the task called `name`."""
        dag, key = self._where[name]
        task = self._inside[dag]["tasks"][key]
        component = self._declared(task)
        given = task.get("inputs", {})
        inputs = {
            "artifacts": {name: self._artifact(dag, source) for name, source in given.get("artifacts", {}).items()},
            "parameterValues": {name: self._value(dag, source) for name, source in given.get("parameters", {}).items()},
        }
        made, folder = component["outputDefinitions"], self._folder(key)
        outputs = {
            "parameters": {name: {"outputFile": f"/tmp/kfp/outputs/{name}"} for name in made.get("parameters", {})},
            "artifacts": {
                name: {"artifacts": [{"name": name, "type": of["artifactType"], "uri": f"minio://{folder}/{name}"}]}
                for name, of in made["artifacts"].items()
            },
            "outputFile": f"/minio/{folder}/output_metadata.json",
        }
        return {"inputs": {kind: some for kind, some in inputs.items() if some}, "outputs": outputs}, component

    def _declared(self, task: Mapping[str, Any]) -> dict[str, Any]:
        component: dict[str, Any] = deepcopy(self._spec["components"][task["componentRef"]["name"]])
        component["outputDefinitions"]["artifacts"][LOGS] = {"artifactType": {"schemaTitle": "system.Artifact"}}
        return component

    def _folder(self, key: str) -> str:
        return f"mlpipeline/v2/artifacts/{self._spec['pipelineInfo']['name']}/{UUID}/{key}/{UUID}"

    def _artifact(self, dag: str, source: Mapping[str, Any]) -> dict[str, Any]:
        beside = "taskOutputArtifact" in source
        while "componentInputArtifact" in source:
            dag, task = self._around[dag]
            source = task["inputs"]["artifacts"][source["componentInputArtifact"]]
        made = source["taskOutputArtifact"]
        key, output = made["producerTask"], made["outputArtifactKey"]
        dag, key, output = self._maker(dag, key, output)
        said = self._metadata(self._inside[dag]["tasks"][key]["taskInfo"]["name"], output)
        about = {**said, "display_name": output, "store_session_info": self._session}
        # Seen: with the schema of the declared type where maker and reader are in one layer, without where they are not.
        kind = {"type": {"instanceSchema": ""}} if beside else {}
        return {"artifacts": [{"name": "42", **kind, "uri": f"minio://{self._folder(key)}/{output}", "metadata": about}]}

    def _maker(self, dag: str, key: str, output: str) -> tuple[str, str, str]:
        """The task that made what a layer hands out, however deep inside."""
        inner = self._inside[dag]["tasks"][key]["componentRef"]["name"]
        while inner in self._inside:
            (selected,) = self._inside[inner]["outputs"]["artifacts"][output]["artifactSelectors"]
            dag, key, output = inner, selected["producerSubtask"], selected["outputArtifactKey"]
            inner = self._inside[dag]["tasks"][key]["componentRef"]["name"]
        return dag, key, output

    def _value(self, dag: str, source: Mapping[str, Any]) -> Any:
        while "componentInputParameter" in source and dag != "root":
            name = source["componentInputParameter"]
            dag, task = self._around[dag]
            source = task["inputs"]["parameters"][name]
        if "componentInputParameter" in source:
            return self._values[source["componentInputParameter"]]
        return source["runtimeValue"]["constant"] if "runtimeValue" in source else 60  # a number that a task before it gave
