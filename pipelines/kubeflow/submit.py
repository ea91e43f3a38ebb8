"""`pada submit`: starts a run on Kubeflow or Vertex, and waits for its end if asked to."""

import json
import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

from pada_agent.components.backends.progress import notice
from pada_agent.components.backends.store.versions import NOT_SEEN, versions
from pada_agent.components.core.addresses import addresses
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import Settings
from pada_agent.pipelines.config import read_config
from pada_agent.pipelines.kubeflow.package import Package, package_file, read_package
from pada_agent.pipelines.kubeflow.run_order import (
    LONGEST_RUN_NAME,
    LONGEST_VERSION,
    PARAMETER_BYTES,
    Order,
    arguments_for,
    check_name,
    cut_short,
    study_arguments,
)
from pada_agent.pipelines.kubeflow.submit_kubernetes import Cluster, Kubeflow
from pada_agent.pipelines.kubeflow.submit_vertex import Project, Vertex
from pada_agent.pipelines.kubeflow.watch import FAILED, SUCCEEDED, Patience, Started, watch

__all__ = [
    "Cluster",
    "Project",
    "Request",
    "print_parameters",
    "submit_to_kubernetes",
    "submit_to_vertex",
    "upload_to_kubernetes",
]


@dataclass(frozen=True)
class Request:
    """What a person asked for, whatever the target. `values` are `name=value`; without `package`, the shipped one is used."""

    config: Path | None
    package: Path | None = None
    uris: dict[str, str] = field(default_factory=dict)
    values: Sequence[str] = ()
    name: str = ""
    caching: bool = True
    parameter_bytes: int = PARAMETER_BYTES
    patience: Patience | None = None  # None: do not wait
    reruns: int = 0  # how often to start a run that failed again


def submit_to_kubernetes(request: Request, cluster: Cluster, say: Callable[[str], object] = print) -> bool:
    """Start a run on Kubeflow; returns whether it was accepted, or ended well if waited for. Raises InputError."""
    with tempfile.TemporaryDirectory() as scratch:
        check_name("--experiment", cluster.experiment)
        order = _order(request, "kubernetes", Path(scratch), say)
        _needs("kfp", "kfp")
        return _run(Kubeflow(cluster), order, request, say)


def upload_to_kubernetes(request: Request, cluster: Cluster, version: str, say: Callable[[str], object] = print) -> bool:
    """Put the package into Kubeflow as a version of its pipeline, without a run: True. Raises InputError."""
    with tempfile.TemporaryDirectory() as scratch:
        check_name("--upload-only", version, LONGEST_VERSION)
        package = read_package(request.package or package_file("kubernetes"), "kubernetes")
        package.check_images()
        if not request.caching:
            package = package.write_without_caching(Path(scratch) / "package.yaml")
        _needs("kfp", "kfp")
        say(f"version {version} of pipeline {package.name}: {Kubeflow(cluster).upload(package, version)}")
    return True


def submit_to_vertex(request: Request, project: Project, say: Callable[[str], object] = print) -> bool:
    """Start a run on Vertex AI Pipelines; returns whether it was accepted, or ended well if waited for. Raises InputError."""
    with tempfile.TemporaryDirectory() as scratch:
        order = _order(request, "vertex", Path(scratch), say)
        _needs("google.cloud.aiplatform", "vertex")
        return _run(Vertex(project, order.package), order, request, say)


def print_parameters(request: Request, target: str, say: Callable[[str], object] = print) -> bool:
    """Say the parameters that would be sent, as JSON and nothing else, and send nothing: True. Raises InputError."""
    if request.patience is not None:
        raise InputError("--print-parameters: starts no run; leave --wait, --timeout and --rerun out")
    package = _package(request, target)
    arguments = _of_study(request, package) if package.is_study else _parameters(request, package, notice)[1]
    say(json.dumps(arguments, indent=2, ensure_ascii=False))
    return True


def _package(request: Request, target: str) -> Package:
    """The one to be run."""
    if request.package is None:
        read_config(_config(request))  # what is wrong there is told first
    package = read_package(request.package or package_file(target), target)
    package.check_images()
    check_name("--run-name", request.name)
    return package


def _of_study(request: Request, package: Package) -> dict[str, Any]:
    """The parameters of a study's run."""
    if request.config is not None:
        raise InputError(
            f"--config: {package.path} has the study in it; for another one write it again with `pada compile --pipeline study`, "
            "and the same --work-uri keeps what is finished"
        )
    return study_arguments(package, request.uris, request.values, request.parameter_bytes)


def _parameters(request: Request, package: Package, say: Callable[[str], object]) -> tuple[Settings, dict[str, Any]]:
    """What the config says, and the parameters of the run."""
    settings = read_config(_config(request))
    look = partial(_data_version, settings, say)
    arguments = arguments_for(package, settings, request.uris, request.values, request.parameter_bytes, look)
    if note := cut_short(package, settings):
        say(f"note: {note}")
    return settings, arguments


def _config(request: Request) -> Path:
    if request.config is None:
        raise InputError("--config: missing; give the YAML file of the run, see pipelines/quickstart/config.yaml")
    return request.config


def _order(request: Request, target: str, scratch: Path, say: Callable[[str], object]) -> Order:
    package = _package(request, target)
    if package.is_study:
        return Order(package, _of_study(request, package), _named(request, package.path.stem))
    settings, arguments = _parameters(request, package, say)
    if not request.caching:
        package = package.write_without_caching(scratch / "package.yaml")
    elif settings.step_matched or not arguments.get("export_uri"):  # its last task sees to the export
        package = package.write_with_exporting_tasks_cached(scratch / "package.yaml")
    file = _config(request).resolve()
    return Order(package, arguments, _named(request, file.parent.name if file.stem == "config" else file.stem))


def _named(request: Request, after: str) -> str:
    """The name that was given, or one after a file."""
    started = f" {datetime.now(UTC):%Y-%m-%d %H-%M-%S}"
    return request.name or after[: LONGEST_RUN_NAME - len(started)] + started


def _data_version(settings: Settings, say: Callable[[str], object]) -> str:
    """What lies at each address, as JSON. A path is a pod's, not this machine's, so that it counts as new each time."""
    known = list(addresses(settings))
    seen = dict.fromkeys((address.key for address in known), "") | versions(a for a in known if not a.is_path)
    if unseen := [key for key, version in seen.items() if not version]:
        say(f"note: what lies at {', '.join(unseen)} cannot be told from here: nothing is taken over from earlier runs")
        seen[NOT_SEEN] = uuid4().hex
    return json.dumps(seen)


def _run(place: Kubeflow | Vertex, order: Order, request: Request, say: Callable[[str], object]) -> bool:
    """Start the run, follow it if asked to, and start it again if it fails: what it paid for and finished is taken over."""
    run = _started(place.start(order), say)
    if request.patience is None:
        return True
    state = watch(run, request.patience, say)
    for again in range(1, request.reruns + 1):
        if state != FAILED:
            break
        say(f"started again, {again} of {request.reruns}: what is paid and finished is taken over")
        run = _started(place.start(replace(order, again=again, name=f"{order.name} ({again + 1})")), say)
        state = watch(run, request.patience, say)
    return state == SUCCEEDED


def _started(run: Started, say: Callable[[str], object]) -> Started:
    say(f"run {run.run_id}")
    say(run.link)
    return run


def _needs(module: str, extra: str) -> None:
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it tells of each retry; what counts is said in one line
    try:
        import_module(module)
    except ImportError as e:
        raise InputError(f"{module} is not installed ({e}); pip install 'pada-agent[{extra}]'") from e
