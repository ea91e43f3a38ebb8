"""`pada compile`: the loop, or a study of it, as a package for Kubeflow Pipelines or Vertex AI, checked before it is written."""

import importlib
import json
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler

from pada_agent.components.backends.files import write_atomic
from pada_agent.components.backends.progress import notice
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import Settings
from pada_agent.components.images import NOWHERE, image
from pada_agent.components.stages import STAGES
from pada_agent.pipelines.kubeflow.arrange import arrange, arrange_loops
from pada_agent.pipelines.kubeflow.package import KEYS, KUBERNETES, TARGETS, VERTEX, Package, documents_of, package_file
from pada_agent.pipelines.kubeflow.package_check import check_package, containers
from pada_agent.pipelines.kubeflow.pipeline import Shape, build
from pada_agent.pipelines.kubeflow.placement import Kubernetes, Vertex
from pada_agent.pipelines.kubeflow.placement_file import Placement
from pada_agent.pipelines.kubeflow.run_order import check_settings
from pada_agent.pipelines.kubeflow.study import build_study

STUDY_BYTES = 60_000  # it is in one argument of each program that looks at the whole study: Linux takes 128 KiB
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
    built = build(shape, place)
    return _compiled(built.pipeline, built.layers)


def component_yaml(stage: str) -> str:
    """A stage's component.yaml: what `load_component_from_file` takes in another pipeline."""
    return _compiled(getattr(importlib.import_module(f"pada_agent.components.{stage}.component"), stage))


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
    _check_suffix(file)
    text = compile_loop(shape, place)
    spec = check_package(text, _target(place))
    write_atomic(file, text)
    if isinstance(place, Kubernetes) and (tasks := containers(spec)) > MANY_TASKS:
        notice(
            f"{file}: up to {tasks} tasks; after about {MANY_TASKS} Kubeflow's own retry of a failed run ends with an error, and "
            "its list of tasks stands still before: follow a run with `pada watch`, start it again with `pada submit --rerun 3`"
        )


def write_study(study: Mapping[str, Any], runs: Mapping[str, Settings], jobs: int, place: Target, file: Path) -> None:
    """Compile, check, write a study, `jobs` cells at a time. `runs`: its settings by what they are called in errors.

    Raises InputError.
    """
    _check_suffix(file)
    if (size := len(json.dumps(study))) > STUDY_BYTES:
        raise InputError(f"the study is {size} bytes of JSON, where a package takes {STUDY_BYTES}; compare fewer tasks in one")
    text = _arranged(_sdk_text(build_study(study, jobs, place)), arrange_loops)
    check_package(text, _target(place))
    spec, *platform = documents_of(text)
    package = Package(file, _target(place), spec, platform[0] if platform else {})
    for whose, settings in runs.items():
        try:
            check_settings(package, settings)
        except InputError as e:
            raise InputError(f"{whose}: {e}") from e
    write_atomic(file, text)


def with_keys(place: Target, settings: Settings) -> Settings:
    """The settings of a run with the names that a package for Kubernetes gives to the keys in its secrets."""
    if isinstance(place, Vertex):
        return settings
    named = {role: getattr(settings, role).model_copy(update={"api_key_env": KEYS[role]}) for role in ("teacher", "judge")}
    if scorer := settings.scorer:
        named["scorer"] = scorer.model_copy(update={"api_key_env": KEYS[scorer.same_as or "scorer"]})
    return settings.model_copy(update=named)


def _target(place: Target) -> str:
    return VERTEX if isinstance(place, Vertex) else KUBERNETES


def _check_suffix(file: Path) -> None:
    if file.suffix not in (".yaml", ".yml"):
        raise InputError(f"--output {file}: give a name that ends in .yaml")


def _compiled(pipeline: Any, layers: Mapping[str, Iterable[str]] | None = None) -> str:
    """As YAML; arranged for people where it has layers, else as the SDK writes it."""
    text = _sdk_text(pipeline)
    return text if layers is None else _arranged(text, lambda spec, platform: arrange(spec, platform, layers))


def _sdk_text(pipeline: Any) -> str:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / "package.yaml"
        compiler.Compiler().compile(pipeline, str(file))
        return file.read_text(encoding="utf-8")


def _arranged(text: str, how: Callable[[Any, Any], None]) -> str:
    heading = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    documents = documents_of(text)
    how(documents[0], documents[1] if len(documents) == 2 else None)
    return heading + yaml.safe_dump_all(documents, sort_keys=True, width=160, default_flow_style=None)


if __name__ == "__main__":  # python -m pada_agent.pipelines.kubeflow.compile: write again what is committed
    for written in (*write_components(Path(__file__).parents[2] / "components", Placement()), *write_packages()):
        print(written)
