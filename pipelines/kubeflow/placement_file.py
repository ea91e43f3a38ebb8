"""A placement file: which images a package takes and where its tasks run. `pipelines/placements` has whole ones.

    images: {registry: registry.example/team, tag: 0.1.0}
    model_cache: pada-agent-models
    all: {labels: {team: nlp}}                                   # of every task
    roles:                                                       # by image: agents, analysis, slm
      slm:
        memory: {request: 24Gi, limit: 48Gi}
        gpu: {resource: nvidia.com/gpu, count: 1}
        node_selector: {cloud.google.com/gke-accelerator: nvidia-l4}
    stages: {evaluate_slm: {timeout: 3h}}                        # by stage

What a stage says wins over its role, the role over `all`, that over stages.py; mappings are put together key by key.
"""

import re
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationError, model_validator

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import Section
from pada_agent.components.core.validation import validation_message
from pada_agent.components.images import NOWHERE, TAG, image, registry_host
from pada_agent.components.stages import IMAGES, STAGES
from pada_agent.pipelines.kubeflow.kubernetes_names import (
    Annotations,
    Claim,
    Labels,
    MountPath,
    Name,
    QualifiedName,
    check_labels,
)
from pada_agent.pipelines.yaml_file import read_yaml, validated

WAITING = 24 * 3600  # seconds that a task may wait for a node, in each attempt, before its retries are over
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SECTIONS = "images, roles, stages"

_as_text = BeforeValidator(lambda value: str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value)
Cpu = Annotated[str, _as_text, Field(pattern=r"^(\d+(\.\d+)?|\d+m)$", description="2, 0.5 or 500m")]
Memory = Annotated[str, _as_text, Field(pattern=r"^\d+(Ki|Mi|Gi|Ti|K|M|G|T)?$", description="16Gi or 16G")]
Duration = Annotated[str, Field(pattern=r"^[1-9]\d*[smhd]$", description="90s, 30m, 6h or 2d")]
Role = Literal["agents", "analysis", "slm"]


class CpuAmount(Section):
    """Kubernetes reserves `request` and lets no task have more than `limit`."""

    request: Cpu | None = None
    limit: Cpu | None = None


class MemoryAmount(Section):
    """As `CpuAmount`; a task that wants more than `limit` is killed."""

    request: Memory | None = None
    limit: Memory | None = None


class Gpu(Section):
    """An extended resource of the nodes, and how many of it a task gets; its taint is tolerated."""

    resource: QualifiedName = "nvidia.com/gpu"
    count: int = Field(default=1, ge=1)


class Expression(Section):
    """A condition on a node's labels."""

    key: QualifiedName
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: tuple[Annotated[str, _as_text], ...] = ()

    @model_validator(mode="after")
    def _values_fit(self) -> Self:
        if ("In" in self.operator) == (not self.values) or (self.operator in {"Gt", "Lt"} and len(self.values) != 1):
            wants = {"Gt": "one value", "Lt": "one value", "In": "values", "NotIn": "values"}.get(self.operator, "no values")
            raise ValueError(f"operator {self.operator} of {self.key} takes {wants}")
        return self


class Preference(Expression):
    """A condition that is weighed, not demanded."""

    weight: int = Field(ge=1, le=100)


class Affinity(Section):
    """Of a task to nodes: all of `required` must hold; nodes that `preferred` holds for come first."""

    required: tuple[Expression, ...] = ()
    preferred: tuple[Preference, ...] = ()


class Toleration(Section):
    """A taint of nodes that does not keep tasks away."""

    key: QualifiedName | Literal[""] = ""
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    seconds: int | None = Field(default=None, ge=0, description="with NoExecute: how long; missing is for ever")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.operator == "Exists" and self.value:
            raise ValueError("a toleration with the operator Exists takes no value")
        if self.operator == "Equal" and not self.key:
            raise ValueError("a toleration without a key needs the operator Exists")
        if self.seconds is not None and self.effect != "NoExecute":
            raise ValueError("seconds of a toleration need the effect NoExecute")
        return self


class Retries(Section):
    """How often a task that failed is started again."""

    count: int | None = Field(default=None, ge=0, le=20)
    backoff: Duration | None = None
    factor: int | None = Field(default=None, ge=1, le=10)


class Task(Section):
    """What a task gets; what is not said comes from a farther layer."""

    cpu: CpuAmount = CpuAmount()
    memory: MemoryAmount = MemoryAmount()
    gpu: Gpu | None = None
    node_selector: Labels = Field(default_factory=dict)
    affinity: Affinity = Affinity()
    tolerations: tuple[Toleration, ...] = ()
    volumes: dict[Claim, MountPath] = Field(default_factory=dict, description="volume claims, and where each is mounted")
    labels: Annotated[Labels, check_labels] = Field(default_factory=dict)
    annotations: Annotations = Field(default_factory=dict)
    timeout: Duration | None = None
    retry: Retries = Retries()

    @property
    def timeout_seconds(self) -> int:
        """How long an attempt may take."""
        return _seconds(str(self.timeout))

    @property
    def backoff(self) -> tuple[int, str, int]:
        """Number of retries, pause before the first one, and factor from each pause to the next."""
        return self.retry.count or 0, f"{_seconds(str(self.retry.backoff))}s", self.retry.factor or 1

    @property
    def longest(self) -> int:
        """Seconds from the start of the first attempt after which Argo ends the task: room for all attempts."""
        count, pause, factor = self.backoff
        pauses = sum(int(pause[:-1]) * factor**i for i in range(count))
        return (count + 1) * (self.timeout_seconds + WAITING) + int(pauses)


def _registry(value: str) -> str:
    if not registry_host(f"{value}/"):
        raise ValueError("without a host Docker takes a stranger's images; give registry.example/team or localhost:5000")
    if not re.fullmatch(r"[\w.-]+(:\d+)?(/[a-z0-9._-]+)*/?", value):
        raise ValueError("not a registry: give a host, perhaps a port and a path in lower case, such as registry.example/team")
    return value


class Images(Section):
    """Where the images are; `make push` writes this section."""

    registry: Annotated[str, AfterValidator(_registry)] = Field(
        default=NOWHERE, description="host, and perhaps a path: registry.example/team"
    )
    tag: Annotated[str, _as_text, StringConstraints(pattern=r"^\w[\w.-]{0,127}$")] = TAG
    digests: dict[Role, Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]] = Field(default_factory=dict)
    pull_policy: Literal["", "Always", "IfNotPresent", "Never"] = ""
    pull_secrets: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.digests and self.digests.keys() != IMAGES.keys():
            raise ValueError(f"digests: give those of {', '.join(IMAGES)}, or none")
        return self

    def of(self, stage: str) -> str:
        """The image of a stage."""
        role: Any = STAGES[stage].image
        return image(stage, self.registry, self.tag, self.digests.get(role, ""))


class Secrets(Section):
    """Names of the secrets that manifests/README.md makes."""

    llm: Name = "pada-agent-llm"
    storage: Name = "pada-agent-storage"
    hub: Name = "pada-agent-hub"


class Machine(Section):
    """What trains and evaluates on Vertex AI, unless a run says otherwise."""

    accelerator_type: str = "NVIDIA_L4"
    accelerator_count: Annotated[str, _as_text, StringConstraints(pattern=r"^[1-9]\d?$")] = "1"
    cpu_limit: Cpu = "8"
    memory_limit: Memory = "32G"


def _stage(name: str) -> str:
    if name not in STAGES:
        raise ValueError(f"there is no stage of this name; there are {', '.join(STAGES)}")
    return name


class Placement(Section):
    """A whole file."""

    images: Images = Images()
    service_account: Name | Literal[""] = Field(default="", description="of the run: submit takes it from the package")
    secrets: Secrets = Secrets()
    model_cache: Claim | Literal[""] = Field(default="", description="volume claim for fetched models, mounted at /models")
    all: Task = Task()
    roles: dict[Role, Task] = Field(default_factory=dict)
    stages: dict[Annotated[str, AfterValidator(_stage)], Task] = Field(default_factory=dict)
    vertex: Machine = Machine()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for stage in STAGES:
            _check_amounts(stage, self.of(stage))
        return self

    def of(self, stage: str) -> Task:
        """Everything that is said about the tasks of a stage."""
        role: Any = STAGES[stage].image
        layers = (self.all, self.roles.get(role, Task()), self.stages.get(stage, Task()))
        said = [_defaults(stage), *(layer.model_dump(exclude_unset=True) for layer in layers)]
        return Task.model_validate(reduce(_over, said))


def read_placement(file: Path | None = None, images: Path | None = None, registry: str = "", tag: str = "") -> Placement:
    """The placement in `file`, with the images that `make push` wrote into `images`, or another registry and tag.

    Raises InputError in one line.
    """
    values = read_yaml(file, "--placement", SECTIONS) if file else {}
    placement = validated(values, Placement, file) if file else Placement()
    if not (images or registry or tag):
        return placement
    if images and (registry or tag):
        raise InputError("--images: names registry and digests; leave out --registry and --tag, or --images")
    said = placement.images.model_dump(exclude_unset=True)
    if images:
        pushed = validated(read_yaml(images, "--images", "registry, digests"), Images, images)
        said |= pushed.model_dump(exclude_unset=True)
    else:
        if "digests" in said:
            raise InputError(f"--registry, --tag: the digests in {file} are of other images; take them out there")
        said |= {key: value for key, value in (("registry", registry), ("tag", tag)) if value}
    try:
        return placement.model_copy(update={"images": Images.model_validate(said)})
    except ValidationError as e:
        raise InputError(f"--{validation_message(e, Images)}") from e


def _defaults(stage: str) -> dict[str, Any]:
    needs, retry = STAGES[stage].resources, STAGES[stage].retry
    return {
        "cpu": dict(zip(("request", "limit"), needs.cpu, strict=True)),
        "memory": dict(zip(("request", "limit"), needs.memory, strict=True)),
        "gpu": Gpu().model_dump() if needs.gpu else None,
        "timeout": f"{needs.timeout_seconds}s",
        "retry": {"count": retry.count, "backoff": f"{retry.backoff_seconds}s", "factor": retry.factor},
    }


def _over(far: dict[str, Any], near: dict[str, Any]) -> dict[str, Any]:
    merged = dict(far)
    for key, value in near.items():
        known = far.get(key)
        merged[key] = _over(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def _check_amounts(stage: str, task: Task) -> None:
    """Raises ValueError where a request is above its limit, which Kubernetes refuses for each pod."""
    from kubernetes.utils.quantity import parse_quantity

    for what, amount in (("cpu", task.cpu), ("memory", task.memory)):
        if parse_quantity(amount.request) > parse_quantity(amount.limit):
            raise ValueError(
                f"{what} of {stage}: the request {amount.request} is above the limit {amount.limit}; give both in roles."
                f"{STAGES[stage].image} or stages.{stage}"
            )
    if len(set(task.volumes.values())) < len(task.volumes):
        raise ValueError(f"volumes of {stage}: two at one path")


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * SECONDS[duration[-1]]
