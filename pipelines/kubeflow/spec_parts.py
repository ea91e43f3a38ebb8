"""A compiled pipeline's parts by name: groups, their tasks, where a task's inputs come from.

Kubeflow calls a group of tasks a DAG: the root, what is behind a gate, a nested pipeline.
"""

from collections.abc import Iterator
from typing import Any

from pada_agent.pipelines.kubeflow.package import stage_of, tasks_of

Spec = dict[str, Any]
Sources = dict[str, dict[str, Any]]  # by input: where it comes from
KINDS = {"artifacts": "Artifact", "parameters": "Parameter"}


def dags(spec: Spec) -> list[Spec]:
    return [spec["root"], *(component for component in spec["components"].values() if "dag" in component)]


def inside_out(spec: Spec) -> list[str]:
    """The names of all groups, each after those inside it."""
    found: list[str] = []

    def visit(dag: Spec) -> None:
        for task in tasks_in(dag).values():
            name = task["componentRef"]["name"]
            if "dag" in spec["components"][name] and name not in found:
                visit(spec["components"][name])
                found.append(name)

    visit(spec["root"])
    return found


def calls(spec: Spec, component: str) -> Iterator[tuple[str, Spec]]:
    for _, name, task in tasks_of(spec):
        if task["componentRef"]["name"] == component:
            yield name, task


def tasks_in(dag: Spec) -> dict[str, Spec]:
    tasks: dict[str, Spec] = dag["dag"]["tasks"]
    return tasks


def inputs(task: Spec, kind: str) -> Sources:
    sources: Sources = task.get("inputs", {}).get(kind, {})
    return sources


def produced_by_others(task: Spec) -> Iterator[Spec]:
    """Where the inputs of a task name another one as their producer."""
    for kind, one in KINDS.items():
        for source in inputs(task, kind).values():
            if f"taskOutput{one}" in source:
                yield source[f"taskOutput{one}"]


def read_of(dag: Spec, name: str) -> Iterator[str]:
    """The artifacts of a task that another one reads, or the group hands out."""
    for task in tasks_in(dag).values():
        yield from (
            p["outputArtifactKey"] for p in produced_by_others(task) if p["producerTask"] == name and "outputArtifactKey" in p
        )
    for how in dag["dag"].get("outputs", {}).get("artifacts", {}).values():
        yield from (s["outputArtifactKey"] for s in how["artifactSelectors"] if s["producerSubtask"] == name)


def definition_of(spec: Spec, dag: Spec, kind: str, produced: Spec) -> Spec:
    """What the producer says of its output."""
    component = spec["components"][tasks_in(dag)[produced["producerTask"]]["componentRef"]["name"]]
    key = produced.get("outputArtifactKey") or produced["outputParameterKey"]
    definition: Spec = component["outputDefinitions"][kind][key]
    return dict(definition)


def free(wanted: str, taken: set[str]) -> str:
    number = 2
    name = wanted
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    return name


def define(component: Spec, way: str, kind: str, name: str, definition: Spec) -> None:
    component.setdefault(f"{way}Definitions", {}).setdefault(kind, {})[name] = definition


def give(task: Spec, kind: str, name: str, source: Spec) -> None:
    task.setdefault("inputs", {}).setdefault(kind, {})[name] = source


def on_kubernetes(platform: Spec | None) -> Spec:
    placed: Spec = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if platform else {}
    return placed


def stage_of_task(spec: Spec, task: Spec) -> str:
    """The stage that a task runs; '' for a group."""
    label = spec["components"][task["componentRef"]["name"]].get("executorLabel")
    return stage_of(spec["deploymentSpec"]["executors"][label]["container"]) if label else ""
