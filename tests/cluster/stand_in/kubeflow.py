"""KFP's API for the stand-in cluster, and behind it what driver, launcher and Argo do: a run's tasks become pods, one by one.

As was seen on a real 2.17: executor inputs (package_runner.py), artifacts at ROOT/PIPELINE/RUN/TASK/UUID/NAME, pods with the
package's labels and `pipeline/runid`; a pod that was deleted is started again, one that ended with an error is not; task details
under Argo's names without an error; tasks with the same inputs taken over from an earlier run. Not as there: no driver pods, no
pause between attempts; artifacts stay on this machine beside the store.
"""

import json
import re
import threading
import time
import traceback
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from package_runner import Container, PackageRun, Ran, TaskFailed
from stand_in.json_server import JsonServer
from stand_in.kubelet import ROOT

from pada_agent.components.backends.store.transfer import fetch, put
from pada_agent.pipelines.kubeflow.package import tasks_of

API = "/apis/v2beta1"
Object = dict[str, Any]


@dataclass
class KfpRun:
    """A run that was accepted."""

    run_id: str
    request: Object
    state: str = "PENDING"
    tasks: list[Object] = field(default_factory=list)
    stopped: bool = False

    def shown(self) -> Object:
        about = {key: self.request.get(key) for key in ("display_name", "experiment_id", "service_account")}
        return {**about, "run_id": self.run_id, "state": self.state, "run_details": {"task_details": list(self.tasks)}}


class Kubeflow:
    """The server; its runs are in `namespace`."""

    def __init__(self, api: Any, namespace: str, folder: Path, multi_user: bool) -> None:
        self.core, self.namespace, self.folder, self.multi_user = client.CoreV1Api(api), namespace, folder, multi_user
        self.runs: dict[str, KfpRun] = {}
        self.experiments: dict[str, Object] = {}
        self.cache: Object = {}
        self.server = JsonServer(self.answer)

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        """HTTP status and JSON value."""
        what, _, rest = path.removeprefix(f"{API}/").partition("/")
        name, _, action = rest.partition(":")
        if what == "healthz":
            return 200, {"multi_user": self.multi_user, "tag_name": "2.17.0-stand-in"}
        known: dict[str, Any] = {"experiments": self.experiments, "runs": self.runs}.get(what, {})
        if not name and method == "GET":
            return 200, self._list(what, query)
        if not name and method == "POST":
            return 200, self._create(what, body)
        if name not in known:
            return 404, {"code": 5, "message": f"{method} {path}: not found"}
        if method == "DELETE":
            self._end(known.pop(name))
            return 200, {}
        if action == "terminate":
            known[name].stopped = True
            return 200, {}
        return 200, known[name].shown() if what == "runs" else known[name]

    def _list(self, what: str, query: dict[str, str]) -> Object:
        if what == "runs":
            return {"runs": [run.shown() for run in self.runs.values() if run.request["experiment_id"] == query["experiment_id"]]}
        wanted = [p["stringValue"] for p in json.loads(query.get("filter", "{}")).get("predicates", [])]
        return {"experiments": [e for e in self.experiments.values() if not wanted or e["display_name"] in wanted]}

    def _create(self, what: str, body: Object) -> Object:
        if what == "experiments":
            made = {**body, "experiment_id": str(uuid.uuid4())}
            self.experiments[made["experiment_id"]] = made
            return made
        run = KfpRun(str(uuid.uuid4()), body)
        self.runs[run.run_id] = run
        threading.Thread(target=self._follow, args=(run,), daemon=True).start()
        return run.shown()

    def _end(self, what: Any) -> None:
        """A run that is deleted takes its pods with it."""
        if isinstance(what, KfpRun):
            what.stopped = True
            self.core.delete_collection_namespaced_pod(self.namespace, label_selector=f"pipeline/runid={what.run_id}")

    def _follow(self, run: KfpRun) -> None:
        run.state = "RUNNING"
        try:
            followed = Followed(run, self)
            followed.run(**run.request["runtime_config"]["parameters"])
            run.state = "SUCCEEDED"
        except TaskFailed:
            run.state = "CANCELED" if run.stopped else "FAILED"
        except Exception:
            traceback.print_exc()
            run.state = "FAILED"


class Followed(PackageRun):
    """The tasks of one run as pods, and their artifacts in the store."""

    def __init__(self, run: KfpRun, of: Kubeflow) -> None:
        package = json.loads(json.dumps(run.request["pipeline_spec"]))
        for _, key, task in tasks_of(package["pipeline_spec"]):
            task["key"] = key
        self.kfp_run, self.of, self.key, self.attempts = run, of, "", 0
        self.platform = package["platform_spec"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        super().__init__(package["pipeline_spec"], of.folder / run.run_id, self.start_pod, cache=of.cache)

    def _task(
        self, task: Mapping[str, Any], component: Mapping[str, Any], given: Mapping[str, Any], handed: Mapping[str, str]
    ) -> Ran:
        self.key, self.attempts = task["key"], 0
        self.pod_settings = self.platform.get(component["executorLabel"], {})
        number = 10 * len(self.kfp_run.tasks)  # Argo's nodes: a task's driver, the task itself, and in it what is tried
        driver, detail, executor, attempt = (
            {"task_id": str(uuid.uuid4()), "display_name": name, "state": "RUNNING", "pod_name": f"loop-{number + place}"}
            for place, name in enumerate((f"{self.key}-driver", self.key, "executor", "executor(0)"))
        )
        for above, below in ((driver, detail), (detail, executor), (executor, attempt)):
            above["child_tasks"] = [{"pod_name": below["pod_name"]}]
        self.kfp_run.tasks += [driver | {"state": "SUCCEEDED"}, detail, executor, attempt]
        for uri in handed.values():
            if not self.local(uri).exists():  # an importer's: nobody here has written it
                fetch(uri.replace("minio://", "s3://", 1), self.local(uri).parent)
        try:
            ran = super()._task(task, component, given, handed)
        except TaskFailed:
            for each in (detail, executor, attempt):
                each["state"] = "FAILED"
            raise
        for each in (detail, executor, attempt):
            each["state"] = "SUCCEEDED"
        return ran

    def _place(self, task: str) -> str:
        root, pipeline = self.kfp_run.request["runtime_config"]["pipeline_root"], self.spec["pipelineInfo"]["name"]
        return f"{root}/{pipeline}/{self.kfp_run.run_id}/{self.key}/{uuid.uuid4()}"

    def start_pod(self, container: Container) -> int:
        """One attempt: 0, then what it wrote is in the store; 1 if its pod was deleted. Raises TaskFailed: Argo tries no more."""
        code = self._attempt(container, container.arguments, self.attempts)
        self.attempts += 1
        if code:
            raise TaskFailed(f"{self.key}: exit code {code}")
        for named in json.loads(container.executor_input)["outputs"].get("artifacts", {}).values() if code == 0 else ():
            uri = named["artifacts"][0]["uri"]
            if self.local(uri).exists():
                put(self.local(uri), uri.replace("minio://", "s3://", 1))
        return 1 if code is None else 0

    def _attempt(self, container: Container, arguments: list[str], attempt: int) -> int | None:
        """The exit code; None if the pod was deleted."""
        if self.kfp_run.stopped:  # a run that is terminated has no last task either
            raise TaskFailed("terminated")
        self.pod = f"loop-{self.kfp_run.run_id[:8]}-{self.key}-{attempt}"
        self.of.core.create_namespaced_pod(self.of.namespace, self._pod(container, arguments, attempt))
        while True:
            if self.kfp_run.stopped:
                raise TaskFailed("terminated")
            try:
                status = self.of.core.read_namespaced_pod(self.pod, self.of.namespace).status
            except ApiException as e:
                if e.status != 404:
                    raise
                return None
            if status.phase in {"Succeeded", "Failed"}:
                return int(status.container_statuses[0].state.terminated.exit_code)
            time.sleep(0.05)

    def _pod(self, container: Container, arguments: list[str], attempt: int) -> Object:
        labels = {**self.pod_settings.get("podMetadata", {}).get("labels", {}), "pipeline/runid": self.kfp_run.run_id}
        node = f"loop-{self.kfp_run.run_id[:8]}.root.{self.key}.executor({attempt})"
        environment = [
            {
                "name": pair["envVar"],
                "valueFrom": {
                    "secretKeyRef": {"name": secret["secretName"], "key": pair["secretKey"], "optional": secret["optional"]}
                },
            }
            for secret in self.pod_settings.get("secretAsEnv", [])
            for pair in secret["keyToEnv"]
        ]
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": re.sub(r"[^a-z0-9-]", "-", self.pod),
                "labels": {**labels, "pipelines.kubeflow.org/v2_component": "true"},
                "annotations": {"workflows.argoproj.io/node-name": node, ROOT: str(self.root)},
            },
            "spec": {
                "restartPolicy": "Never",
                "serviceAccountName": self.kfp_run.request["service_account"],
                "containers": [
                    {
                        "name": "main",
                        "image": container.image,
                        "command": container.command,
                        "args": arguments,
                        "env": environment,
                    }
                ],
            },
        }
