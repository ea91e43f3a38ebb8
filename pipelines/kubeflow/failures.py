"""What Kubeflow knows of a run's tasks, in the names of the package: their states, and why one failed.

Its tasks are nodes of Argo, by the names of those:

    root, loop, train-2-driver, train-2          layers, drivers, tasks
    executor, executor(0), executor(1)           what a task runs, a pod for each attempt; a child of its task
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from pada_agent.components.core.errors import InputError
from pada_agent.pipelines.kubeflow.cluster.kubernetes_api import SECONDS, Denied, ask, connect, one_line
from pada_agent.pipelines.kubeflow.watch import FAILED, Failure

NODE = "workflows.argoproj.io/node-name"  # annotation of a pod: loop-x7k2p.root.loop.train-2.executor(0)
_ATTEMPT = re.compile(r"\((\d+)\)$")
_SENTENCE = re.compile(r"(?:[a-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit)(?:: .+)?|(?:terminated|interrupted); .+")
# A task has several nodes, those of attempts among them: the first of these states that one of them has is the task's.
_BEFORE = ("RUNNING", "SUCCEEDED", FAILED)


def failures(runs: Any, run_id: str, namespace: str, names: Mapping[str, str], known: Collection[str]) -> list[Failure]:
    """Why tasks of the run failed, as far as it can be learnt: of each that is not `known` from its log, else from its pod.

    `runs`: kfp_server_api.RunServiceApi. `names`: what to call a task, by its key in the package. Raises nothing.
    """
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    details: list[Any] = []
    with suppress(ApiException, HTTPError):
        details = details_of(runs.run_service_get_run(run_id=run_id, _request_timeout=SECONDS))
    found = {}
    for task, pod in _failed_pods(details, names).items():
        sentence = _sentence_in(_log(runs.api_client, run_id, pod, namespace)) if pod and task not in known else ""
        found[task] = (
            Failure(task, sentence, _log_command(namespace, pod)) if pod else Failure(task, "Kubeflow could not start it")
        )
    unsaid = [task for task, failure in found.items() if not failure.sentence and task not in known]
    if unsaid or not (found or known):
        found |= {task: failure for task, failure in _from_pods(run_id, namespace, names) if task in unsaid or not found}
    return list(found.values())


def details_of(run: Any) -> list[Any]:
    """The nodes that KFP's API tells of a run (kfp_server_api.V2beta1PipelineTaskDetail); it stops when they are many."""
    return list(run.run_details.task_details or []) if run.run_details else []


def states(details: Iterable[Any], names: Mapping[str, str]) -> dict[str, str]:
    """The states of the package's tasks. `names`: what to call a task, by its key in the package."""
    found: dict[str, str] = {}
    for detail in details:
        name, state = names.get(_plain(detail)), str(detail.state or "")
        if name and state and _order(state) <= _order(found.get(name, state)):
            found[name] = state
    return found


def _failed_pods(details: list[Any], names: Mapping[str, str]) -> dict[str, str]:
    """By task, the pod of the last attempt of each that failed; '' for one that Kubeflow could not start."""
    parents = {_number(child.pod_name): detail for detail in details for child in detail.child_tasks or [] if child.pod_name}
    ended, pods = states(details, names), dict[str, tuple[int, str]]()
    for detail in details:
        shown = _plain(detail)
        if str(detail.state) != FAILED:
            continue
        driven = names.get(shown.removesuffix("-driver"), "") if shown.endswith("-driver") else ""
        if driven:
            pods.setdefault(driven, (-2, ""))
        elif shown == "executor" and detail.pod_name and ended.get(task := _task_above(detail, parents, names)) == FAILED:
            attempt = _ATTEMPT.search(str(detail.display_name))
            pods[task] = max(pods.get(task, (-2, "")), (int(attempt[1]) if attempt else -1, str(detail.pod_name)))
    return {task: pod for task, (_, pod) in pods.items()}


def _log(api: Any, run_id: str, pod: str, namespace: str) -> str:
    """What the pod printed: KFP's API server has it from the pod or from the archive, the UI's server by a way of its own."""
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    ways: list[tuple[str, list[tuple[str, str]]]] = [
        (f"/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log", []),
        ("/k8s/pod/logs", [("podname", pod), ("runid", run_id), ("podnamespace", namespace)]),
    ]
    for path, query in ways:
        with suppress(ApiException, HTTPError, UnicodeDecodeError):  # its client decodes what an error says
            reply = api.call_api(
                path,
                "GET",
                query_params=query,
                auth_settings=["Bearer"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=SECONDS,
            )
            if reply.status == 200 and reply.data:
                return str(reply.data.decode("utf-8", "replace"))
    return ""


def _sentence_in(log: str) -> str:
    """The last line of a log in which a stage says why it ended; '' if there is none."""
    lines = (line.strip() for line in reversed(log.splitlines()))
    return next((one_line(line) for line in lines if _SENTENCE.fullmatch(line)), "")


def _from_pods(run_id: str, namespace: str, names: Mapping[str, str]) -> Iterator[tuple[str, Failure]]:
    """What Kubernetes knows of the run's pods that ended with an error, oldest first; nothing where it may not be asked."""
    try:
        from kubernetes import client

        core = client.CoreV1Api(connect())
        selector = f"pipeline/runid={run_id}"
        found = ask(lambda: core.list_namespaced_pod(namespace, label_selector=selector, _request_timeout=SECONDS))
    except (ImportError, InputError, Denied):
        return
    for pod in sorted(found.items if found else [], key=lambda pod: str(pod.metadata.creation_timestamp or "")):
        node = (pod.metadata.annotations or {}).get(NODE, "")
        *_, task, executor = ["", *(_ATTEMPT.sub("", part) for part in node.split("."))]
        sentence = _of_pod(pod)
        if executor == "executor" and task in names and sentence:
            yield names[task], Failure(names[task], sentence, _log_command(namespace, pod.metadata.name))


def _log_command(namespace: str, pod: str) -> str:
    """The command that shows what a task's pod printed."""
    return f"kubectl -n {namespace} logs {pod} -c main"


def _of_pod(pod: Any) -> str:
    ended = [
        c.state.terminated for c in pod.status.container_statuses or [] if c.name == "main" and c.state and c.state.terminated
    ]
    if ended and ended[0].reason == "OOMKilled":
        return "killed for want of memory (OOMKilled); give its image or stage more in the placement file"
    if ended and ended[0].exit_code:
        return one_line(ended[0].message or f"ended with exit code {ended[0].exit_code}")
    if str(pod.status.phase) == "Failed":
        return one_line(": ".join(filter(None, (pod.status.reason, pod.status.message))) or "the pod failed")
    return ""


def _task_above(detail: Any, parents: Mapping[str, Any], names: Mapping[str, str]) -> str:
    for above in _upwards(detail, parents):
        if _plain(above) in names:
            return names[_plain(above)]
    return ""


def _upwards(detail: Any, parents: Mapping[str, Any]) -> Iterator[Any]:
    passed: list[Any] = []
    while detail is not None and detail not in passed:
        yield detail
        passed.append(detail)
        detail = parents.get(_number(detail.pod_name))


def _number(pod: str | None) -> str:
    """What a node's id and its pod's name have in common: loop-x7k2p-123 is loop-x7k2p-retry-system-container-impl-123."""
    return str(pod or "").rpartition("-")[2]


def _plain(detail: Any) -> str:
    return _ATTEMPT.sub("", str(detail.display_name or ""))


def _order(state: str) -> int:
    return _BEFORE.index(state) if state in _BEFORE else len(_BEFORE)
