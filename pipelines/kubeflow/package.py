"""A compiled pipeline package: which target it is for, and which values its parameters take.

# one document for Vertex, a second one (`platforms: {kubernetes: ...}`) for Kubernetes
pipelineInfo: {name: improvement-loop}
root: {inputDefinitions: {parameters: {settings: {parameterType: STRUCT}, work_uri: {parameterType: STRING, defaultValue: ''}}}}
deploymentSpec: {executors: {...}}
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any

import yaml

from pada_agent.components.core.errors import InputError
from pada_agent.components.images import NOWHERE, registry_host
from pada_agent.components.stages import LAST_STEP, MODULES, STAGES
from pada_agent.pipelines.kubeflow.launch import processes_of

KUBERNETES, VERTEX = "kubernetes", "vertex"
STUDY = "pada-agent-study"  # how the pipeline of a study is called
TARGETS = (KUBERNETES, VERTEX)
KEYS = {"teacher": "TEACHER_API_KEY", "judge": "JUDGE_API_KEY", "scorer": "SCORER_API_KEY"}  # by role, in the secret of LLMs
OPTIONS = ("work_uri", "export_uri")  # parameters that have an option of their own
ACCOUNT = "pada-agent/service-account"  # annotation of each task: a package has no field for the account of its runs
_FOLDER = Path(__file__).parents[1] / "packages"
_WORDS = {
    "STRING": "text",
    "NUMBER_INTEGER": "a whole number",
    "NUMBER_DOUBLE": "a number",
    "BOOLEAN": "true or false",
    "LIST": "a JSON list",
    "STRUCT": "a JSON object",
}


@dataclass(frozen=True)
class Package:
    """One package file, checked for `target`."""

    path: Path
    target: str
    spec: dict[str, Any]
    platform: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.spec["pipelineInfo"]["name"])

    @property
    def is_study(self) -> bool:
        """Whether it compares methods, in place of one run."""
        return self.name == STUDY

    def runners(self, stages: Sequence[str]) -> Sequence[str]:
        """What runs these stages: they do themselves, but for those of a study, which are all in a cell's container."""
        return ("study_cell",) if self.is_study and stages else stages

    @property
    def parameters(self) -> dict[str, dict[str, Any]]:
        """By name: parameterType, isOptional, defaultValue, description."""
        parameters: dict[str, dict[str, Any]] = self.spec.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
        return parameters

    def typed(self, name: str, text: str) -> Any:
        """`text` as the type that parameter `name` has. Raises InputError."""
        if name not in self.parameters:
            close = get_close_matches(name, self.parameters, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(sorted(self.parameters)) or 'none'}"
            raise InputError(f"--set {name}: {self.path} has no such parameter; {hint}")
        kind = self.parameters[name].get("parameterType", "STRING")
        try:
            return _typed(kind, text)
        except ValueError:
            raise InputError(f"--set {name}: {text!r} is not {_WORDS.get(kind, kind)}") from None

    def check(self, arguments: dict[str, Any]) -> None:
        """Check that every argument is known, and none that the package needs is missing. Raises InputError."""
        for name in arguments:
            if name not in self.parameters:
                raise InputError(f"{self.path}: has no parameter '{name}'; write the package again with `pada compile`")
        for name, parameter in self.parameters.items():
            if name not in arguments and "defaultValue" not in parameter and not parameter.get("isOptional"):
                option = f"--{name.replace('_', '-')}" if name in OPTIONS else f"--set {name}=..."
                raise InputError(f"{option}: missing; parameter '{name}' of {self.path} has no default")

    @property
    def placed(self) -> dict[str, dict[str, Any]]:
        """What the second document says of each executor, by label."""
        platform = self.platform.get("platforms", {}).get("kubernetes", {})
        executors: dict[str, dict[str, Any]] = platform.get("deploymentSpec", {}).get("executors", {})
        return executors

    @property
    def _containers(self) -> dict[str, dict[str, Any]]:
        """The containers of this project's stages, by executor label."""
        executors = self.spec.get("deploymentSpec", {}).get("executors", {})
        containers = {label: executor.get("container", {}) for label, executor in executors.items()}
        return {label: container for label, container in containers.items() if stage_of(container)}

    @property
    def service_account(self) -> str:
        """The account that its runs are to have; '' where the package does not say."""
        said = (placed.get("podMetadata", {}).get("annotations", {}).get(ACCOUNT, "") for placed in self.placed.values())
        return next((str(account) for account in said if account), "")

    def secret_of(self, variable: str) -> str:
        """Name of the secret that gives tasks this environment variable; '' for none."""
        secrets = (secret for placed in self.placed.values() for secret in placed.get("secretAsEnv", []))
        named = (secret.get("secretName", "") for secret in secrets if variable in {k["envVar"] for k in secret["keyToEnv"]})
        return str(next(named, ""))

    @property
    def claims(self) -> set[str]:
        """Names of the volume claims that tasks mount."""
        return {
            str(mount["constant"])
            for placed in self.placed.values()
            for mount in placed.get("pvcMount", [])
            if "constant" in mount
        }

    @property
    def gpu(self) -> str:
        """The resource that tasks ask for as their accelerator; '' for none."""
        return next(_accelerators(self), "")

    def check_images(self) -> None:
        """Check that the images of this project's stages are somewhere. Raises InputError that says what to do."""
        for container in self._containers.values():
            image = str(container.get("image", ""))
            if registry_host(image) in {"", NOWHERE}:
                raise InputError(
                    f"{self.path}: its image {image} is in no registry of yours; write a package with `pada compile --target "
                    f"{self.target} --registry registry.example/team --output F.yaml`, or --placement, and give it with --package"
                )

    def secret_variables(self, stage: str) -> set[str]:
        """Names of the variables that the tasks of a stage get from secrets: those that must be there, and any LLM's key."""
        return {
            str(key["envVar"])
            for placed in self._on_kubernetes(stage)
            for secret in placed.get("secretAsEnv", [])
            for key in secret.get("keyToEnv", [])
            if not secret.get("optional") or key["envVar"] in KEYS.values()
        }

    def mounts(self, stage: str) -> set[str]:
        """Where volume claims are mounted in every task of a stage: absolute paths."""
        placed = [{str(m["mountPath"]) for m in p.get("pvcMount", [])} for p in self._on_kubernetes(stage)]
        return set.intersection(*placed) if placed else set()

    def pod(self, stage: str) -> dict[str, Any]:
        """What the second document says of a task of a stage: tolerations, nodeSelector and the like."""
        return next(iter(self._on_kubernetes(stage)), {})

    def _on_kubernetes(self, stage: str) -> list[dict[str, Any]]:
        """What the second document says of each executor of a stage."""
        return [self.placed.get(label, {}) for label, container in self._containers.items() if stage_of(container) == stage]

    @property
    def processes(self) -> int:
        """How many processes share each training step; those of a package that trains nothing are 1."""
        return max((processes_of(container) for container in self._containers.values()), default=1)

    @property
    def max_iterations(self) -> int:
        """How many iterations there is room for; 0 where the package does not say."""
        given = [task.get("inputs", {}).get("parameters", {}).get("max_iterations", {}) for _, _, task in tasks_of(self.spec)]
        return int(max((source.get("runtimeValue", {}).get("constant", 0) for source in given), default=0))

    @property
    def task_names(self) -> dict[str, str]:
        """What each task is called, by its key: those that run a container, not the layers around them."""
        tasks = [(key, task) for _, key, task in tasks_of(self.spec) if "executorLabel" in self._component(task)]
        return {key: str(task.get("taskInfo", {}).get("name", key)) for key, task in tasks}

    @property
    def tells(self) -> bool:
        """Whether its tasks tell how far they are, below `work_uri`."""
        return any("work_uri" in task.get("inputs", {}).get("parameters", {}) for _, _, task in tasks_of(self.spec))

    @property
    def scores_answers(self) -> bool:
        """Whether an LLM scores the SLM's answers in it; a study's does whatever its cells need."""
        return self.is_study or any(stage_of(container) == "score_answers" for container in self._containers.values())

    @property
    def attempts(self) -> int:
        """Pairs of generation and quality control that an iteration has; 0 where the package has none."""
        pairs = Counter(dag for dag, _, task in tasks_of(self.spec) if task["componentRef"]["name"].startswith("comp-generate"))
        return max(pairs.values(), default=0)

    def write_without_caching(self, file: Path) -> "Package":
        """The same package as `file`, with caching off for every task, including those inside conditions.

        The SDK's own switch reaches the tasks of the outermost level only.
        """
        return self._rewritten(file, lambda task: {})

    def write_with_exporting_tasks_cached(self, file: Path) -> "Package":
        """The same package as `file`: tasks that might export may be taken over too, since the run's last one looks after it.

        That one always runs, so that the report of each run is its own.
        """

        def options(task: Mapping[str, Any]) -> dict[str, Any] | None:
            stage = STAGES.get(self._stage_of(task))
            step = task.get("inputs", {}).get("parameters", {}).get("step", {}).get("runtimeValue", {}).get("constant")
            may_export = stage and LAST_STEP in stage.steps and step != LAST_STEP
            return {"enableCache": True} if may_export else task.get("cachingOptions")

        return self._rewritten(file, options)

    def _rewritten(self, file: Path, caching: Callable[[Mapping[str, Any]], dict[str, Any] | None]) -> "Package":
        """With the caching options that `caching` gives each task; None leaves them out."""
        spec = json.loads(json.dumps(self.spec))
        for _, _, task in tasks_of(spec):
            if (options := caching(task)) is not None:
                task["cachingOptions"] = options
        file.write_text(yaml.safe_dump_all([spec, self.platform] if self.platform else [spec], sort_keys=False))
        return Package(file, self.target, spec, self.platform)

    def _stage_of(self, task: Mapping[str, Any]) -> str:
        """The stage that a task runs, '' for another container or a group of tasks."""
        return stage_of(self._containers.get(self._component(task).get("executorLabel", ""), {}))

    def _component(self, task: Mapping[str, Any]) -> dict[str, Any]:
        component: dict[str, Any] = self.spec["components"].get(task["componentRef"]["name"], {})
        return component


def stage_of(container: Mapping[str, Any]) -> str:
    """The stage, or the program of a study, that a container of a package runs; '' for one that is not this project's."""
    words = (str(word) for word in container.get("command", []))
    return next((MODULES[word] for word in words if word in MODULES), "")


def tasks_of(spec: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every task as (the DAG it is in, its name, itself), including those inside conditions."""
    for name, component in [("root", spec["root"]), *spec.get("components", {}).items()]:
        for task, body in component.get("dag", {}).get("tasks", {}).items():
            yield name, task, body


def documents_of(text: str | IO[str]) -> list[Any]:
    """The YAML documents in `text`; by the C parser where there is one, since Python's takes seconds for a package."""
    return list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def package_file(target: str) -> Path:
    """The committed package for `kubernetes` or `vertex`: three iterations, default placement."""
    return _FOLDER / f"improvement_loop.{target}.yaml"


def read_package(file: Path, target: str) -> Package:
    """The package in `file`. Raises InputError, including when it was compiled for another target."""
    again = f"write it with `pada compile --target {target} --registry ... --output {file}`"
    if file.suffix not in {".yaml", ".yml"}:
        raise InputError(
            f"{file}: a package is a .yaml file; write it with `pada compile --target {target} --registry ... --output F.yaml`"
        )
    try:
        with file.open(encoding="utf-8") as text:
            documents = documents_of(text)
    except OSError as e:
        raise InputError(f"{file}: cannot be read ({e.strerror}); {again}") from e
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise InputError(f"{file}: is not YAML ({' '.join(str(e).split())[:200]}); {again}") from e
    whole = documents and all(isinstance(document, dict) for document in documents) and len(documents) <= 2
    if not whole or not isinstance(documents[0].get("pipelineInfo"), dict) or "root" not in documents[0]:
        raise InputError(f"{file}: is not a compiled pipeline; {again}")
    package = Package(file, target, documents[0], documents[1] if len(documents) == 2 else {})
    _check_target(package, again)
    return package


def _check_target(package: Package, again: str) -> None:
    if package.target == VERTEX and package.platform:
        raise InputError(f"{package.path}: has two documents, so it is a package for Kubernetes; Vertex takes one; {again}")
    for kind in _accelerators(package):
        of_kubernetes = "/" in kind
        if of_kubernetes != (package.target == KUBERNETES):
            other = KUBERNETES if of_kubernetes else VERTEX
            raise InputError(f"{package.path}: asks for the accelerator {kind}, so it is a package for {other}; {again}")


def _accelerators(package: Package) -> Iterator[str]:
    """Accelerator types that stand in the package, as constants of a task or as defaults of parameters."""
    for executor in package.spec.get("deploymentSpec", {}).get("executors", {}).values():
        accelerator = executor.get("container", {}).get("resources", {}).get("accelerator", {})
        kind = str(accelerator.get("type") or accelerator.get("resourceType") or "")
        if kind and "{{" not in kind:
            yield kind
    for parameter in package.parameters.values():
        if str(parameter.get("defaultValue", "")).startswith(("NVIDIA_", "nvidia.com/")):
            yield str(parameter["defaultValue"])


def _typed(kind: str, text: str) -> Any:
    """Raises ValueError."""
    if kind == "NUMBER_INTEGER":
        return int(text)
    if kind == "NUMBER_DOUBLE":
        number = float(text)
        if not math.isfinite(number):
            raise ValueError(text)
        return number
    if kind == "STRING":
        return text
    value = json.loads(text)
    if not isinstance(value, {"BOOLEAN": bool, "LIST": list, "STRUCT": dict}.get(kind, object)):
        raise ValueError(text)
    return value
