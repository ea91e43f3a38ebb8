"""`pada compile`: the loop as a package for Kubeflow Pipelines or Vertex AI, checked before it is written."""

import importlib
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler

from pada_agent.components.backends.files import write_atomic
from pada_agent.components.backends.progress import notice
from pada_agent.components.core.errors import InputError
from pada_agent.components.images import NOWHERE, image
from pada_agent.components.stages import STAGES
from pada_agent.pipelines.kubeflow.package import TARGETS, VERTEX, documents_of, package_file, tasks_of
from pada_agent.pipelines.kubeflow.package_check import check_package, containers
from pada_agent.pipelines.kubeflow.pipeline import Shape, build
from pada_agent.pipelines.kubeflow.placement import Kubernetes, Vertex
from pada_agent.pipelines.kubeflow.placement_file import Placement

CHANNEL = "pipelinechannel--"  # how the SDK calls what comes into a sub-DAG from outside
MANY_TASKS = 30  # tests/components/test_recorded_inputs.py measures it
Target = Kubernetes | Vertex


def place_for(target: str, placement: Placement) -> Target:
    """How a target's tasks are placed. Raises InputError for an unknown target, or images that are nowhere."""
    if target not in TARGETS:
        raise InputError(f"--target {target}: it must be {' or '.join(TARGETS)}")
    if placement.images.registry == NOWHERE:
        raise InputError("--registry: missing; say where `make push` put the images, with it, --images or --placement")
    return Vertex(placement) if target == VERTEX else Kubernetes(placement)


def compile_loop(shape: Shape, place: Target) -> str:
    """The package as YAML text: one document, and for Kubernetes a second one with what only Kubernetes has."""
    return _compiled(build(shape, place), shared=True)


def component_yaml(stage: str) -> str:
    """A stage's component.yaml: what `load_component_from_file` takes in another pipeline."""
    return _compiled(getattr(importlib.import_module(f"pada_agent.components.{stage}.component"), stage), shared=False)


def write_components(folder: Path, placement: Placement) -> list[Path]:
    """Write every stage's component.yaml as `folder/<stage>/component.yaml`, with the images of the placement."""
    files = {stage: folder / stage / "component.yaml" for stage in STAGES}
    for stage, file in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, component_yaml(stage).replace(image(stage), placement.images.of(stage)))
    return list(files.values())


def write_packages() -> list[Path]:
    """Write the committed package of each target."""
    for target in TARGETS:
        write_package(Shape(), Vertex() if target == "vertex" else Kubernetes(), package_file(target))
    return [package_file(target) for target in TARGETS]


def write_package(shape: Shape, place: Target, file: Path) -> None:
    """Compile, check, write. Raises InputError."""
    if file.suffix not in (".yaml", ".yml"):
        raise InputError(f"--output {file}: give a name that ends in .yaml")
    text = compile_loop(shape, place)
    spec = check_package(text, "vertex" if isinstance(place, Vertex) else "kubernetes")
    write_atomic(file, text)
    if isinstance(place, Kubernetes) and (tasks := containers(spec)) > MANY_TASKS:
        notice(
            f"{file}: up to {tasks} tasks; after about {MANY_TASKS} Kubeflow's own retry of a failed run ends with an error, and "
            "its list of tasks stands still before: follow a run with `pada watch`, start it again with `pada submit --rerun 3`"
        )


def _compiled(pipeline: Any, shared: bool) -> str:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / "package.yaml"
        compiler.Compiler().compile(pipeline, str(file))
        text = file.read_text(encoding="utf-8")
    if not shared:
        return text
    heading = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    documents = documents_of(text)
    _share(*documents)
    _carry_in(documents[0])
    return heading + yaml.safe_dump_all(documents, sort_keys=True, width=120)


def _share(spec: dict[str, Any], platform: dict[str, Any] | None = None) -> None:
    """Let equal tasks share one component and one executor; the SDK writes both out again for each of 59 tasks.

    Kubeflow's compiler visits each component once and keys it by its container, so that this is what it makes of them anyway;
    without it the package is three times as large, and workflows that come near Kubernetes' limit of 1.5 MiB cannot be retried.
    """
    executors = spec["deploymentSpec"]["executors"]
    on_kubernetes = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if platform else {}
    first: dict[str, str] = {}
    replaced: dict[str, str] = {}
    for name, component in sorted(spec["components"].items(), key=lambda item: (len(item[0]), item[0])):
        label = component.get("executorLabel")
        if label:
            meaning = [{**component, "executorLabel": ""}, executors[label], on_kubernetes.get(label)]
            replaced[name] = first.setdefault(json.dumps(meaning, sort_keys=True), name)
    for name, kept in replaced.items():
        if name != kept:
            label = spec["components"].pop(name)["executorLabel"]
            executors.pop(label)
            on_kubernetes.pop(label, None)
    dags = [spec["root"], *spec["components"].values()]
    for task in (task for dag in dags for task in dag.get("dag", {}).get("tasks", {}).values()):
        reference = task["componentRef"]
        reference["name"] = replaced.get(reference["name"], reference["name"])


def _carry_in(spec: dict[str, Any]) -> None:
    """Hand the run's parameters that tasks name as their machine through the gates around them.

    The SDK (2.17) lets a task inside `dsl.If` refer to such a parameter but does not pass it into the condition's sub-DAG.
    """
    known = spec["root"]["inputDefinitions"]["parameters"]
    gates = [(task, spec["components"][task["componentRef"]["name"]]) for _, _, task in tasks_of(spec)]
    for task, inside in reversed([gate for gate in gates if "dag" in gate[1]]):  # the innermost first
        for body in inside["dag"]["tasks"].values():
            for source in body.get("inputs", {}).get("parameters", {}).values():
                outer = source.get("componentInputParameter", "")
                parameter = outer.removeprefix(CHANNEL)
                if parameter in known and outer not in inside["inputDefinitions"]["parameters"]:
                    inside["inputDefinitions"]["parameters"][outer] = {"parameterType": known[parameter]["parameterType"]}
                    task["inputs"]["parameters"][outer] = {"componentInputParameter": outer}
    for task in spec["root"]["dag"]["tasks"].values():
        for source in task.get("inputs", {}).get("parameters", {}).values():
            outer = source.get("componentInputParameter", "")
            if outer not in known and outer.removeprefix(CHANNEL) in known:
                source["componentInputParameter"] = outer.removeprefix(CHANNEL)


if __name__ == "__main__":  # python -m pada_agent.pipelines.kubeflow.compile: write again what is committed
    for written in (*write_components(Path(__file__).parents[2] / "components", Placement()), *write_packages()):
        print(written)
