"""The strict check of a compiled package: what the SDKs let through and a cluster finds out hours later, or never."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from pada_agent.components.core.errors import InputError
from pada_agent.components.images import REPOSITORY, registry_host
from pada_agent.components.stages import CONTAINERS, MODULES
from pada_agent.pipelines.kubeflow.launch import processes_of, single
from pada_agent.pipelines.kubeflow.package import documents_of, tasks_of

ARGUMENTS = ["--executor-input", "{{$}}"]
DOCUMENTS = {"kubernetes": 2, "vertex": 1}
# What KFP's compiler and Argo call their own templates and nodes: a task of that name would be taken for one of them.
RESERVED = re.compile(r"executor|driver|root|entrypoint|system-.*|.*-driver")
IMAGE = re.compile(r"(?P<name>.+?)(?P<tag>:\w[\w.-]{0,127})?(?P<digest>@sha256:[0-9a-f]{64})?")
CHANNELS = re.compile(r"inputs\.parameters\['pipelinechannel--(\w+)'\]")
Spec = Mapping[str, Any]


def check_package(text: str, target: str) -> Spec:
    """The package's pipeline spec. Raises InputError that lists everything wrong with it."""
    try:
        documents = documents_of(text)
    except yaml.YAMLError as e:
        raise InputError(f"package: not YAML ({' '.join(str(e).split())[:200]})") from e
    wrong = list(_wrong_documents(documents, target)) or list(_wrong(documents[0]))
    if wrong:
        raise InputError(f"package for {target}: {'; '.join(wrong)}")
    spec: Spec = documents[0]
    return spec


def containers(spec: Spec) -> int:
    """How many tasks run a container."""
    return sum("executorLabel" in spec["components"][task["componentRef"]["name"]] for _, _, task in tasks_of(spec))


def _wrong_documents(documents: list[Any], target: str) -> Iterator[str]:
    if len(documents) != DOCUMENTS[target]:
        yield f"{len(documents)} YAML documents where {target} takes {DOCUMENTS[target]}"
        return
    try:
        json_format.ParseDict(documents[0], pipeline_spec_pb2.PipelineSpec())
        for platform in documents[1:]:
            json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
    except json_format.ParseError as e:
        yield f"not a pipeline spec ({e})"


def _wrong(spec: Spec) -> Iterator[str]:
    executors = spec["deploymentSpec"]["executors"]
    labels = {c["executorLabel"] for c in spec["components"].values() if "executorLabel" in c}
    for label in labels ^ executors.keys():
        yield f"executor '{label}' is {'defined but not used' if label in executors else 'not defined'}"
    for name, component in spec["components"].items():
        if "executorLabel" in component:
            yield from _wrong_container(name, executors.get(component["executorLabel"], {}).get("container", {}))
    used = {"root"}
    for dag, name, task in tasks_of(spec):
        reference = task["componentRef"]["name"]
        used.add(reference)
        for called in dict.fromkeys((name, task.get("taskInfo", {}).get("name", name))):
            if RESERVED.fullmatch(called):
                yield f"task '{called}' is called as KFP and Argo call their own; give it another name"
        if reference not in spec["components"]:
            yield f"task '{name}' refers to component '{reference}', which is not there"
        else:
            yield from _wrong_inputs(spec, dag, name, task)
    for name in spec["components"].keys() - used:
        yield f"component '{name}' is not used by any task"
    yield from _same_container(spec)
    yield from _numbers_as_machine(spec)


def _wrong_container(component: str, container: Spec) -> Iterator[str]:
    *start, module = single(container.get("command", [""]))
    stage = MODULES.get(module, "")
    if start != ["python", "-m"] or not stage:
        yield f"component '{component}': its command is {container.get('command')}, not python -m pada_agent.components.<stage>"
        return
    if processes_of(container) > 1 and not CONTAINERS[stage].by_gpu:
        yield f"component '{component}': {stage} is started {processes_of(container)} times, and they would not share its work"
    arguments = container.get("args", [])
    if arguments[:2] != ARGUMENTS or (arguments[2:] and (arguments[2] != "--label" or len(arguments) != 4)):
        yield f"component '{component}': its arguments are {arguments}, not {ARGUMENTS}, perhaps with a --label"
    said = str(container["image"])
    image = IMAGE.fullmatch(said)
    wanted = f"{REPOSITORY}/{CONTAINERS[stage].image}"
    if not image or not (image["tag"] or image["digest"]) or not f"/{image['name']}".endswith(f"/{wanted}"):
        yield f"component '{component}': image '{said}' is not {wanted} with a tag or a digest"
    elif not registry_host(said):
        yield f"component '{component}': image '{said}' names no registry, and Docker's public one has a stranger's"


def _wrong_inputs(spec: Spec, dag: str, name: str, task: Spec) -> Iterator[str]:
    """Inputs that the component does not know, that it needs and does not get, or that come from nowhere."""
    inside = spec["root"] if dag == "root" else spec["components"][dag]
    component = spec["components"][task["componentRef"]["name"]]
    siblings = inside["dag"]["tasks"]
    for kind in ("artifacts", "parameters"):
        known = component.get("inputDefinitions", {}).get(kind, {})
        given = task.get("inputs", {}).get(kind, {})
        texts = str([value.get("runtimeValue") for value in given.values()])
        for key, source in given.items():
            if key not in known and key not in texts:
                yield f"task '{name}' passes '{key}', which its component does not take"
            produced = source.get("taskOutputArtifact") or source.get("taskOutputParameter")
            outer = source.get("componentInputArtifact") or source.get("componentInputParameter")
            if produced and not _produces(spec, siblings, kind, produced):
                yield f"task '{name}': '{key}' comes from {produced['producerTask']}, which does not make it"
            if outer and outer not in inside.get("inputDefinitions", {}).get(kind, {}):
                yield f"task '{name}': '{key}' comes from the input '{outer}' of '{dag}', which is not there"
        given = {**given, **dict.fromkeys(_items(task), None)} if kind == "parameters" else given
        for key in sorted(k for k, v in known.items() if not v.get("isOptional") and k not in given):
            yield f"task '{name}' does not pass '{key}'"
    for other in task.get("dependentTasks", []):
        if other not in siblings:
            yield f"task '{name}' waits for '{other}', which is not beside it"


def _items(task: Spec) -> Iterator[str]:
    """What a loop gives each of its rounds."""
    if iterator := task.get("parameterIterator"):
        yield str(iterator["itemInput"])


def _produces(spec: Spec, siblings: Spec, kind: str, produced: Spec) -> bool:
    producer = siblings.get(produced["producerTask"], {}).get("componentRef", {}).get("name")
    outputs = spec["components"].get(producer, {}).get("outputDefinitions", {}).get(kind, {})
    return produced.get("outputArtifactKey", produced.get("outputParameterKey")) in outputs


def _numbers_as_machine(spec: Spec) -> Iterator[str]:
    """KFP's driver resolves text only where a parameter says what machine: a number as the count is no GPU, without a word."""
    parameters = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    resources = [e.get("container", {}).get("resources", {}) for e in spec["deploymentSpec"]["executors"].values()]
    for name in sorted(set(CHANNELS.findall(json.dumps(resources))) & parameters.keys()):
        if parameters[name]["parameterType"] != "STRING":
            yield f"parameter '{name}' says what machine a task gets and is {parameters[name]['parameterType']}, not STRING"


def _same_container(spec: Spec) -> Iterator[str]:
    """Kubeflow knows a component by its container: two with the same one would silently share the first one's interface."""
    seen: dict[str, str] = {}
    for name, component in spec["components"].items():
        if "executorLabel" in component:
            container = json.dumps(spec["deploymentSpec"]["executors"].get(component["executorLabel"]), sort_keys=True)
            if container in seen:
                yield f"components '{seen[container]}' and '{name}' have the same container"
            seen[container] = name
