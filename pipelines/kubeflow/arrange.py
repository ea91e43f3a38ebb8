"""Rewrites what the SDK compiled so that the UI shows it as people speak of it, and so that it is small.

The SDK names tasks after their component (train-lora-3) and inputs of a group after their producer
(pipelinechannel--update-state-7-state), and writes equal components out again for each task. After `arrange`
- the key of a task, which is in every URI, pod name and answer of the API, is its display name (train-2);
- the tasks of a layer are in a DAG of their own, as a nested pipeline would be;
- tasks of one stage that stand side by side have outputs of different names (batches_1, batches_2), which their container is told
  by `--label`; steps of one stage with different ports are components of their own;
- an input of a group is called as what reads it calls it, so that equal groups are equal text, and these share one component.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from pada_agent.pipelines.kubeflow.shared_components import say_less, share, tell_apart
from pada_agent.pipelines.kubeflow.spec_parts import (
    KINDS,
    Spec,
    calls,
    dags,
    define,
    definition_of,
    free,
    give,
    inputs,
    inside_out,
    produced_by_others,
    tasks_in,
)

CHANNEL = "pipelinechannel--"  # how the SDK calls what comes into a group from outside


def arrange(spec: Spec, platform: Spec | None, layers: Mapping[str, Iterable[str]]) -> None:
    """Rewrite a compiled pipeline in place; `layers` are the display names of the tasks that each has."""
    _carry_in(spec)
    for dag in dags(spec):
        _rename_tasks(dag)
    for layer, names in layers.items():
        _nest(spec, layer, frozenset(names))
    _rename_groups(spec)
    tell_apart(spec, platform)
    known = set(spec["root"]["inputDefinitions"]["parameters"])
    for group in inside_out(spec):
        _drop_unread_inputs(spec, group)
        _rename_inputs(spec, group, known)
    share(spec, platform)
    say_less(spec, with_versions=platform is None)


def arrange_loops(spec: Spec, platform: Spec | None) -> None:
    """The same of a pipeline whose groups are loops, which have inputs that no task gives."""
    for dag in dags(spec):
        _rename_tasks(dag)
    _rename_groups(spec)
    share(spec, platform)


def _carry_in(spec: Spec) -> None:
    """Hand the run's parameters that tasks name as their machine through the groups around them.

    The SDK (2.17) lets a task inside a group refer to such a parameter but does not pass it into the group.
    """
    known = spec["root"]["inputDefinitions"]["parameters"]
    for group in inside_out(spec):
        inside = spec["components"][group]
        read = {_outer(source) for body in tasks_in(inside).values() for source in inputs(body, "parameters").values()}
        for outer in sorted(read - inside.get("inputDefinitions", {}).get("parameters", {}).keys() - {""}):
            parameter = outer.removeprefix(CHANNEL)
            define(inside, "input", "parameters", outer, {"parameterType": known[parameter]["parameterType"]})
            for _, caller in calls(spec, group):
                give(caller, "parameters", outer, {"componentInputParameter": outer})
    for body in tasks_in(spec["root"]).values():
        for source in inputs(body, "parameters").values():
            if (outer := _outer(source)) and outer not in known:
                source["componentInputParameter"] = outer.removeprefix(CHANNEL)


def _rename_tasks(dag: Spec) -> None:
    """Give each task its display name as its key. Raises ValueError where two of a layer have the same."""
    names = {key: task["taskInfo"]["name"] for key, task in tasks_in(dag).items()}
    if twice := [name for name, count in Counter(names.values()).items() if count > 1]:
        raise ValueError(f"two tasks side by side are called {twice[0]}")
    dag["dag"]["tasks"] = {names[key]: task for key, task in tasks_in(dag).items()}
    for task in tasks_in(dag).values():
        if "dependentTasks" in task:
            task["dependentTasks"] = sorted(names[key] for key in task["dependentTasks"])
        for produced in produced_by_others(task):
            produced["producerTask"] = names[produced["producerTask"]]


def _rename_groups(spec: Spec) -> None:
    """Call the component of a group as its task: it is the name of a template in Argo's workflow."""
    for group in inside_out(spec):
        ((task, caller),) = calls(spec, group)
        name = free(f"comp-{task}", set(spec["components"]) - {group})
        spec["components"][name] = spec["components"].pop(group)
        caller["componentRef"]["name"] = name


def _nest(spec: Spec, layer: str, names: frozenset[str]) -> None:
    """Move the tasks `names` of one DAG into a DAG of their own, and put the task `layer` in their place."""
    around = next(dag for dag in dags(spec) if names <= tasks_in(dag).keys())
    inner: Spec = {"dag": {"tasks": {name: tasks_in(around).pop(name) for name in sorted(names)}}}
    outer: Spec = {"componentRef": {"name": f"comp-{layer}"}, "taskInfo": {"name": layer}}
    _take_in(spec, around, inner, outer)
    _hand_out(spec, around, inner, layer)
    waited_for = {before for task in tasks_in(inner).values() for before in task.get("dependentTasks", ())}
    for tasks, ours in ((tasks_in(inner), names), (tasks_in(around), None)):
        for task in tasks.values():
            before = set(task.pop("dependentTasks", ()))
            kept = before & ours if ours is not None else (before - names) | ({layer} if before & names else set())
            if kept:
                task["dependentTasks"] = sorted(kept)
    if outside := sorted(waited_for - names):
        outer["dependentTasks"] = outside
    tasks_in(around)[layer] = outer
    spec["components"][f"comp-{layer}"] = inner


def _take_in(spec: Spec, around: Spec, inner: Spec, outer: Spec) -> None:
    """What the inner tasks read of the outside becomes an input of their group."""
    for kind, one in KINDS.items():
        for task in tasks_in(inner).values():
            for source in inputs(task, kind).values():
                produced = source.get(f"taskOutput{one}")
                if produced and produced["producerTask"] not in tasks_in(inner):
                    name = f"{CHANNEL}{produced['producerTask']}-{produced[f'output{one}Key']}"
                    definition = definition_of(spec, around, kind, produced)
                elif given := source.get(f"componentInput{one}"):
                    name, definition = given, around["inputDefinitions"][kind][given]
                else:
                    continue
                define(inner, "input", kind, name, {k: v for k, v in definition.items() if k.endswith("Type")})
                give(outer, kind, name, dict(source))
                source.clear()
                source[f"componentInput{one}"] = name


def _hand_out(spec: Spec, around: Spec, inner: Spec, layer: str) -> None:
    """What outer tasks read of the inner ones becomes an output of their group. Raises ValueError for two of the same name."""
    makers: dict[tuple[str, str], str] = {}
    for kind, one in KINDS.items():
        key = f"output{one}Key"
        for task in tasks_in(around).values():
            for source in inputs(task, kind).values():
                produced = source.get(f"taskOutput{one}")
                if not produced or produced["producerTask"] not in tasks_in(inner):
                    continue
                name, maker = produced[key], produced["producerTask"]
                if makers.setdefault((kind, name), maker) != maker:
                    raise ValueError(f"layer {layer}: two tasks hand out '{name}'")
                define(inner, "output", kind, name, definition_of(spec, inner, kind, produced))
                selector = {key: name, "producerSubtask": maker}
                how = {"artifactSelectors": [selector]} if kind == "artifacts" else {"valueFromParameter": selector}
                inner["dag"].setdefault("outputs", {}).setdefault(kind, {})[name] = how
                produced["producerTask"] = layer


def _drop_unread_inputs(spec: Spec, group: str) -> None:
    """The SDK hands the conditions of all groups around a group in as well. Its own stays."""
    inside = spec["components"][group]
    for kind, one in KINDS.items():
        sources = [source for task in tasks_in(inside).values() for source in inputs(task, kind).values()]
        read = {source.get(f"componentInput{one}") for source in sources}
        for _, caller in calls(spec, group):
            condition = caller.get("triggerPolicy", {}).get("condition", "")
            for name in [name for name in inputs(caller, kind) if name not in read and f"['{name}']" not in condition]:
                del caller["inputs"][kind][name]
                del inside["inputDefinitions"][kind][name]


def _rename_inputs(spec: Spec, group: str, known: set[str]) -> None:
    """Call the inputs of a group as the run's parameters, or as the first task inside that reads them does."""
    inside, names = spec["components"][group], dict[str, str]()
    for kind, one in KINDS.items():
        for old in inside.get("inputDefinitions", {}).get(kind, {}):
            readers = [
                key
                for name in sorted(tasks_in(inside))
                for key, source in sorted(inputs(tasks_in(inside)[name], kind).items())
                if source.get(f"componentInput{one}") == old
            ]
            parameter = old.removeprefix(CHANNEL)
            wanted = parameter if parameter in known else next(iter(readers), _made_as(spec, group, kind, old))
            names[old] = free(wanted, set(names.values()))
    for kind, one in KINDS.items():
        if ports := inside.get("inputDefinitions", {}).get(kind):
            inside["inputDefinitions"][kind] = {names[old]: port for old, port in ports.items()}
        for task in tasks_in(inside).values():
            for source in inputs(task, kind).values():
                if old := source.get(f"componentInput{one}"):
                    source[f"componentInput{one}"] = names[old]
    for _, caller in calls(spec, group):
        for kind in KINDS:
            if given := inputs(caller, kind):
                caller["inputs"][kind] = {names[old]: source for old, source in given.items()}
        if condition := caller.get("triggerPolicy", {}).get("condition"):
            for old, new in names.items():
                condition = condition.replace(f"['{old}']", f"['{new}']")
            caller["triggerPolicy"]["condition"] = condition


def _outer(source: Spec) -> str:
    return str(source.get("componentInputParameter", ""))


def _made_as(spec: Spec, group: str, kind: str, name: str) -> str:
    """How the task that makes a group's input calls it; a gate's condition is read by no task inside."""
    for _, caller in calls(spec, group):
        source = inputs(caller, kind)[name]
        produced = source.get("taskOutputParameter") or source.get("taskOutputArtifact")
        if produced:
            return str(produced.get("outputParameterKey") or produced["outputArtifactKey"])
    return name.removeprefix(CHANNEL)
