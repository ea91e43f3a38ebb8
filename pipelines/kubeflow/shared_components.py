"""Which tasks of a package share a component, and which have one of their own.

Kubeflow's compiler knows a component by its container: tasks with other ports need another container, which differs in `--label`.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

from pada_agent.components.stages import STAGES
from pada_agent.pipelines.kubeflow.package import tasks_of
from pada_agent.pipelines.kubeflow.spec_parts import KINDS, Spec, dags, inputs, on_kubernetes, read_of, stage_of_task, tasks_in


def tell_apart(spec: Spec, platform: Spec | None) -> None:
    """Components of their own for tasks of one stage that stand side by side, and for the steps of a stage that has steps."""
    alike: dict[tuple[str, str], list[tuple[Spec, str]]] = defaultdict(list)  # stage and label: the tasks, each with its DAG
    beside: set[tuple[str, str]] = set()
    for dag in dags(spec):
        of_stage = {name: stage for name, task in tasks_in(dag).items() if (stage := stage_of_task(spec, task))}
        for name, stage in of_stage.items():
            siblings = Counter(of_stage.values())[stage] > 1
            label = _step(tasks_in(dag)[name]) if STAGES[stage].steps else name.rpartition("-")[2] if siblings else ""
            if label:
                alike[stage, label].append((dag, name))
            if siblings:
                beside.add((stage, label))
    for (stage, label), tasks in alike.items():
        component = _copied(spec, platform, tasks_in(tasks[0][0])[tasks[0][1]], label)
        made = spec["components"][component]
        given = {key for dag, name in tasks for key in inputs(tasks_in(dag)[name], "artifacts")}
        read = {key for dag, name in tasks for key in read_of(dag, name)}
        _keep(made, "input", given)
        _keep(made, "output", made["outputDefinitions"]["artifacts"].keys() - (set(STAGES[stage].may_lack) - read))
        for dag, name in tasks:
            tasks_in(dag)[name]["componentRef"]["name"] = component
            if (stage, label) in beside:
                _rename_outputs(dag, name, label)
        if (stage, label) in beside:
            artifacts = made["outputDefinitions"]["artifacts"]
            made["outputDefinitions"]["artifacts"] = {f"{name}_{label}": artifact for name, artifact in artifacts.items()}


def _copied(spec: Spec, platform: Spec | None, task: Spec, label: str) -> str:
    """The name of a copy of a task's component, whose container is told `label`."""
    original = task["componentRef"]["name"]
    component = deepcopy(spec["components"][original])
    old, new = component["executorLabel"], f"exec-{stage_of_task(spec, task).replace('_', '-')}-{label}".replace("_", "-")
    component["executorLabel"] = new
    for executors in filter(None, (spec["deploymentSpec"]["executors"], on_kubernetes(platform))):
        executors[new] = deepcopy(executors[old])
    container = spec["deploymentSpec"]["executors"][new]["container"]
    container["args"] = [*container["args"], "--label", label]
    name = new.replace("exec-", "comp-", 1)
    spec["components"][name] = component
    return name


def _rename_outputs(dag: Spec, name: str, label: str) -> None:
    for task in tasks_in(dag).values():
        for source in inputs(task, "artifacts").values():
            produced = source.get("taskOutputArtifact", {})
            if produced.get("producerTask") == name:
                produced["outputArtifactKey"] += f"_{label}"
    for how in dag["dag"].get("outputs", {}).get("artifacts", {}).values():
        for selector in how["artifactSelectors"]:
            if selector["producerSubtask"] == name:
                selector["outputArtifactKey"] += f"_{label}"


def say_less(spec: Spec, with_versions: bool) -> None:
    """Leave out of each component what its tasks do not need: on Kubernetes a run's status has six copies of it for every task.

    Descriptions, defaults and inputs that no task gives are in each component.yaml. Kubeflow needs no `schemaVersion` of an
    artifact; what Vertex makes of its absence is not known, so there it stays (`with_versions`).
    """
    given: dict[str, list[set[str]]] = defaultdict(list)
    for _, _, task in tasks_of(spec):
        given[task["componentRef"]["name"]].append({name for kind in KINDS for name in inputs(task, kind)})
    for component, by_task in given.items():
        made = spec["components"][component]
        for side in ("inputDefinitions", "outputDefinitions"):
            for ports in made.get(side, {}).values():
                for name, port in list(ports.items()):
                    port.pop("description", None)
                    if not with_versions:
                        port.get("artifactType", {}).pop("schemaVersion", None)
                    if side == "inputDefinitions" and not any(name in one for one in by_task):
                        del ports[name]
                    elif all(name in one for one in by_task):
                        port.pop("isOptional", None)
                        port.pop("defaultValue", None)
            if side in made:
                made[side] = {kind: ports for kind, ports in made[side].items() if ports}


def share(spec: Spec, platform: Spec | None) -> None:
    """Let equal tasks share one component and one executor, and equal groups one DAG.

    Kubeflow's compiler visits each component once and keys it by its container, so that this is what it makes of them anyway;
    without it the package is three times as large, and workflows that come near Kubernetes' limit of 1.5 MiB cannot be retried.
    """
    executors, placed = spec["deploymentSpec"]["executors"], on_kubernetes(platform)

    def meaning(component: Spec) -> Any:
        label = component.get("executorLabel")
        return [{**component, "executorLabel": ""}, executors[label], placed.get(label)] if label else component

    while replaced := _equal(spec["components"], meaning):
        for _, _, task in tasks_of(spec):
            reference = task["componentRef"]
            reference["name"] = replaced.get(reference["name"], reference["name"])
        used = {task["componentRef"]["name"] for _, _, task in tasks_of(spec)}
        for name in spec["components"].keys() - used:
            label = spec["components"].pop(name).get("executorLabel")
            executors.pop(label, None)
            placed.pop(label, None)


def _equal(components: Spec, meaning: Callable[[Spec], Any]) -> dict[str, str]:
    """By name of a component: the one that stays in its place."""
    first: dict[str, str] = {}
    for name, component in sorted(components.items(), key=lambda item: (len(item[0]), item[0])):
        first.setdefault(json.dumps(meaning(component), sort_keys=True), name)
    kept = {name: first[json.dumps(meaning(component), sort_keys=True)] for name, component in components.items()}
    return {name: stays for name, stays in kept.items() if name != stays}


def _keep(component: Spec, way: str, names: Iterable[str]) -> None:
    artifacts = component.get(f"{way}Definitions", {}).get("artifacts", {})
    for name in artifacts.keys() - set(names):
        del artifacts[name]


def _step(task: Spec) -> str:
    step = inputs(task, "parameters").get("step", {})
    return str(step["runtimeValue"]["constant"]).replace("_", "-")
