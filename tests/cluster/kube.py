"""The cluster's side, through Kubernetes' own client: what is there, what is put there, the pods of a run, the end of it all."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError, ResourceNotFoundError
from objects import MARK, Object
from urllib3.exceptions import HTTPError

SECONDS = 30  # for one answer
HOPELESS_SECONDS = 90  # a registry may stumble once
RUN, STAGE = "pipeline/runid", "pada-agent/stage"
# Set by Argo: RUN.root.condition-1.train-lora.executor(0)
NODE = "workflows.argoproj.io/node-name"
TROUBLE = (ApiException, DynamicApiError, HTTPError, OSError)
VERBS = ("create", "get", "patch", "delete")  # of everything that is put there


@dataclass(frozen=True)
class Pod:
    """A pod as it was seen last. `task` is the task's key in the package, times are seconds since 1970 or 0."""

    name: str
    stage: str
    task: str
    phase: str
    started: float = 0.0
    ended: float = 0.0
    message: str = ""  # what the container left, or why it cannot start
    stuck: bool = False  # it will not start by itself

    @property
    def running(self) -> bool:
        return bool(self.started) and not self.ended and self.phase == "Running"


class Kube:
    """A connection. `files`: a folder for what the client wants to remember."""

    def __init__(self, context: str, files: Path) -> None:
        settings = client.Configuration()
        config.load_kube_config(os.environ.get("KUBECONFIG"), context or None, client_configuration=settings)
        settings.retries = 1
        self.api = client.ApiClient(settings)
        self.core = client.CoreV1Api(self.api)
        self.host = settings.host
        self.namespace = ""
        self._files = files
        self._placed: list[Object] = []
        self._dynamic: DynamicClient | None = None

    def version(self) -> str:
        return str(client.VersionApi(self.api).get_code(_request_timeout=SECONDS).git_version)

    def lacking(self, objects: Sequence[Object]) -> Iterator[str]:
        """What is missing in the namespace before `objects` can be put there, a sentence each."""
        try:
            self.core.read_namespace(self.namespace, _request_timeout=SECONDS)
        except ApiException as e:
            if e.status == 404:
                yield f"NAMESPACE: there is no {self.namespace}; create it, in Kubeflow with profiles as a profile"
                return
        kinds = sorted({(kind.group or "", str(kind.name)) for kind in map(self._kind, objects)})
        needed = {**dict.fromkeys(kinds, VERBS), ("", "pods/log"): ("get",)}
        needed["", "pods"] = (*VERBS, "list")
        refused = {}
        for (group, kind), verbs in needed.items():
            if no := [verb for verb in verbs if not self._may(verb, group, kind)]:
                refused[kind] = no
        if refused:
            said = "; ".join(f"{kind}: {', '.join(verbs)}" for kind, verbs in refused.items())
            yield f"KUBECONFIG: its user may not do in namespace {self.namespace} what is needed ({said}); use one that may"

    def _may(self, verb: str, group: str, kind: str) -> bool:
        kind, _, part = kind.partition("/")
        asked = {"namespace": self.namespace, "verb": verb, "group": group, "resource": kind, "subresource": part or None}
        review = client.V1SelfSubjectAccessReview(
            spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=client.V1ResourceAttributes(**asked))
        )
        access = client.AuthorizationV1Api(self.api).create_self_subject_access_review(review, _request_timeout=SECONDS)
        return bool(access.status.allowed)

    def room(self) -> tuple[float, float] | None:
        """CPUs and GiB that the roomiest node can give, None if there is none to be seen: may be it comes when it is needed."""
        from kubernetes.utils.quantity import parse_quantity

        try:
            nodes = self.core.list_node(_request_timeout=SECONDS).items
        except ApiException:
            return None
        given = [(parse_quantity(n.status.allocatable[k]) for k in ("cpu", "memory")) for n in nodes if not n.spec.unschedulable]
        return max(((float(cpu), float(memory) / 2**30) for cpu, memory in given), default=None)

    def own_addresses(self) -> list[tuple[str, int]]:
        """Addresses and ports behind the service `kubernetes`, which policies must name; [] if they may not be seen."""
        try:
            found = self.core.read_namespaced_endpoints("kubernetes", "default", _request_timeout=SECONDS)
        except ApiException:
            return []
        return [
            (address.ip, port.port)
            for subset in found.subsets or []
            for address in subset.addresses or []
            for port in subset.ports or []
        ]

    # what is put there

    def place(self, objects: Sequence[Object]) -> list[str]:
        """Create the objects, or replace what an earlier test has left; returns what is somebody else's: untouched."""
        kept = []
        for given in objects:
            body = {**given, "metadata": {**given["metadata"], "namespace": self.namespace}}
            body["metadata"]["labels"] = {**given["metadata"].get("labels", {}), MARK: "yes"}
            there = self._read(body)
            if there is not None and not _ours(there):
                kept.append(_name(body))
                continue
            if there is not None and body["kind"] == "Pod":
                self._delete(body)
                self._wait_until_gone([body], 60)
            self._placed.append(body)  # before it is there: an interruption may come in between
            where = {"name": body["metadata"]["name"], "namespace": self.namespace}
            self._kind(body).server_side_apply(body=body, field_manager="test-cluster", force_conflicts=True, **where)
        return kept

    def remove(self, seconds: float = 120) -> list[str]:
        """Delete what was put there, last things first; returns what is still there after `seconds`, and why."""
        for body in reversed(self._placed):
            with suppress(*TROUBLE):
                there = self._read(body)
                if there is not None and _ours(there):
                    self._delete(body)
        return [f"{_name(body)} in namespace {self.namespace}{why}" for body, why in self._wait_until_gone(self._placed, seconds)]

    def _kind(self, body: Object) -> Any:
        if self._dynamic is None:
            self._dynamic = DynamicClient(self.api, cache_file=str(self._files / "discovery.json"))
        return self._dynamic.resources.get(api_version=body["apiVersion"], kind=body["kind"])

    def _read(self, body: Object) -> Any:
        try:
            return self._kind(body).get(name=body["metadata"]["name"], namespace=self.namespace, _request_timeout=SECONDS)
        except (DynamicApiError, ResourceNotFoundError) as e:
            if getattr(e, "status", 404) == 404:
                return None
            raise

    def _delete(self, body: Object) -> None:
        with suppress(ResourceNotFoundError):
            self._kind(body).delete(name=body["metadata"]["name"], namespace=self.namespace, _request_timeout=SECONDS)

    def _wait_until_gone(self, bodies: Sequence[Object], seconds: float) -> list[tuple[Object, str]]:
        """Those that are still there, each with what the cluster said to the last question."""
        deadline = time.monotonic() + seconds
        while True:
            left = []
            for body in bodies:
                try:
                    there, why = self._read(body), ""
                except TROUBLE as e:
                    there, why = body, f" ({one_line(e)})"
                if there is not None and (there is body or _ours(there)):
                    left.append((body, why))
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(1)

    # pods

    def pods(self, run_id: str) -> list[Pod]:
        """The pods of a run's tasks, without KFP's own drivers."""
        found = self.core.list_namespaced_pod(self.namespace, label_selector=f"{RUN}={run_id}", _request_timeout=SECONDS).items
        return [_pod(item) for item in found if STAGE in (item.metadata.labels or {})]

    def pod(self, name: str) -> Pod:
        return _pod(self.core.read_namespaced_pod(name, self.namespace, _request_timeout=SECONDS))

    def ready(self, name: str) -> bool:
        """Whether its containers pass their probes."""
        status = self.core.read_namespaced_pod(name, self.namespace, _request_timeout=SECONDS).status
        return any(c.type == "Ready" and c.status == "True" for c in status.conditions or [])

    def log(self, name: str, container: str) -> str:
        """What the container has printed; '' if that cannot be had."""
        try:
            text = self.core.read_namespaced_pod_log(
                name, self.namespace, container=container, _request_timeout=SECONDS, _preload_content=False
            ).data
        except TROUBLE:
            return ""
        return text.decode("utf-8", "replace")

    def delete_at_once(self, name: str) -> None:
        """As `kubectl delete pod --grace-period=0 --force`.

        With grace the container ends by itself at SIGTERM, with exit code 143, which Argo (retryPolicy OnError) does not retry;
        without it the pod is gone from the API first, and "pod deleted" is an error that it retries, as when a node dies.
        """
        with suppress(ApiException):
            self.core.delete_namespaced_pod(name, self.namespace, grace_period_seconds=0, _request_timeout=SECONDS)

    def wait(self, what: str, seconds: float, happened: Callable[[], bool], name: str = "") -> None:
        """Until it `happened`. Raises RuntimeError with a sentence if it takes too long, or pod `name` cannot start or fails."""
        deadline, stuck = time.monotonic() + seconds, 0.0
        while not happened():
            if name:
                pod = self.pod(name)
                stuck = (stuck or time.monotonic()) if pod.stuck else 0.0
                if pod.phase in {"Failed", "Unknown"} or (stuck and time.monotonic() - stuck >= HOPELESS_SECONDS):
                    raise RuntimeError(f"pod {name}: {pod.message or pod.phase}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what}: not within {seconds:.0f} s; see kubectl -n {self.namespace} get pods,events")
            time.sleep(1)


def one_line(value: object) -> str:
    """Without line breaks, and not too long for a terminal."""
    if isinstance(value, ApiException | DynamicApiError):
        value = f"HTTP {value.status} {value.reason}: {value.body!r}"
    return " ".join(str(value).split())[:400]


def _pod(item: Any) -> Pod:
    status, labels = item.status, item.metadata.labels or {}
    node = (item.metadata.annotations or {}).get(NODE, "")
    states = status.container_statuses or []
    main = next((c for c in states if c.name == "main"), states[0] if states else None)
    started = ended = 0.0
    message, stuck = status.message or "", False
    if main is not None and main.state:
        now = main.state
        if now.running and now.running.started_at:
            started = now.running.started_at.timestamp()
        if now.terminated:
            started = now.terminated.started_at.timestamp() if now.terminated.started_at else 0.0
            ended = now.terminated.finished_at.timestamp() if now.terminated.finished_at else 0.0
            message = now.terminated.message or message or f"exit code {now.terminated.exit_code}"
    waiting = [c.state.waiting for c in [*(status.init_container_statuses or []), *states] if c.state and c.state.waiting]
    for reason in (w for w in waiting if w.reason in _HOPELESS):
        message, stuck = f"{reason.reason}: {reason.message}", True
    unscheduled = [c for c in status.conditions or [] if c.type == "PodScheduled" and c.status == "False"]
    if status.phase == "Pending" and unscheduled:
        message = f"no node takes it: {unscheduled[0].message}"
    return Pod(
        item.metadata.name, labels.get(STAGE, ""), task_of(node), status.phase or "", started, ended, one_line(message), stuck
    )


_HOPELESS = {
    *("ErrImagePull", "ErrImageNeverPull", "ImagePullBackOff", "InvalidImageName"),
    *("CreateContainerConfigError", "CreateContainerError"),
}


def task_of(node: str) -> str:
    """The task's key in the package from the name of Argo's node, '' for none: run.root.condition-1.train-lora.executor(0)."""
    parts = [part.partition("(")[0] for part in node.split(".")]
    inner = [part for part in parts if part and part != "executor"]
    return inner[-1] if inner else ""


def _name(body: Object) -> str:
    return f"{body['kind'].lower()} {body['metadata']['name']}"


def _ours(there: Any) -> bool:
    return bool(dict(there.metadata.labels or {}).get(MARK))
