"""A placement file: which images a package takes and where its tasks run. `pipelines/placements` has whole ones.

    images: {registry: registry.example/team, tag: 0.1.0}
    model_cache: pada-agent-models
    all: {labels: {team: nlp}}                                   # of every task
    roles:                                                       # by image: agents, analysis, slm, study
      slm:
        memory: {request: 24Gi, limit: 48Gi}
        gpu: {resource: nvidia.com/gpu, count: 1}
        node_selector: {cloud.google.com/gke-accelerator: nvidia-l4}
    stages: {evaluate_slm: {timeout: 3h}}                        # by stage

What a stage says wins over its role, the role over `all`, that over stages.py; what slm says holds for study, which may say
otherwise. Mappings are put together key by key.
"""

import re
from collections.abc import Collection
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import Section
from pada_agent.components.core.validation import validation_message
from pada_agent.components.images import NOWHERE, TAG, image, registry_host
from pada_agent.components.stages import BUILT_ON, CONTAINERS, IMAGES
from pada_agent.pipelines.kubeflow.kubernetes_names import Claim, Name, as_text, like
from pada_agent.pipelines.kubeflow.task_placement import Cpu, Gpu, Memory, Task
from pada_agent.pipelines.yaml_file import read_yaml, validated

SECTIONS = "images, roles, stages"


def _one_of(known: Collection[str]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"there is none of this name; there are {', '.join(known)}")
        return name

    return AfterValidator(check)


Role = Annotated[str, _one_of(IMAGES)]
Stage = Annotated[str, _one_of(CONTAINERS)]


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
    tag: Annotated[str, as_text, like(r"\w[\w.-]{0,127}", "letters, digits, _, . and -, at most 128")] = TAG
    digests: dict[Role, Annotated[str, like(r"sha256:[0-9a-f]{64}", "sha256: and 64 digits")]] = Field(default_factory=dict)
    pull_policy: Literal["", "Always", "IfNotPresent", "Never"] = ""
    pull_secrets: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.digests and self.digests.keys() != IMAGES.keys():
            raise ValueError(f"digests: give those of {', '.join(IMAGES)}, or none")
        return self

    def of(self, stage: str) -> str:
        """The image of a stage."""
        role = CONTAINERS[stage].image
        return image(stage, self.registry, self.tag, self.digests.get(role, ""))


class Secrets(Section):
    """Names of the secrets that manifests/README.md makes."""

    llm: Name = "pada-agent-llm"
    storage: Name = "pada-agent-storage"
    hub: Name = "pada-agent-hub"


class Machine(Section):
    """What trains and evaluates on Vertex AI, unless a run says otherwise."""

    accelerator_type: str = "NVIDIA_L4"
    accelerator_count: Annotated[str, as_text, like(r"[1-9]\d?", "a number from 1 on")] = "1"
    cpu_limit: Cpu = "8"
    memory_limit: Memory = "32G"


class Placement(Section):
    """A whole file."""

    images: Images = Images()
    service_account: Name | Literal[""] = Field(default="", description="of the run: submit takes it from the package")
    secrets: Secrets = Secrets()
    model_cache: Claim | Literal[""] = Field(default="", description="volume claim for fetched models, mounted at /models")
    all: Task = Task()
    roles: dict[Role, Task] = Field(default_factory=dict)
    stages: dict[Stage, Task] = Field(default_factory=dict)
    vertex: Machine = Machine()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for stage in CONTAINERS:
            task = self.of(stage)
            task.check(stage)
            if self.model_cache in task.volumes:
                raise ValueError(f"volumes of {stage}: '{self.model_cache}' is the model cache; KFP mounts a claim only once")
        return self

    def of(self, stage: str) -> Task:
        """Everything that is said about the tasks of a stage."""
        role = CONTAINERS[stage].image
        layers = (self.all, self.roles.get(BUILT_ON.get(role, "")), self.roles.get(role), self.stages.get(stage))
        said = [_defaults(stage), *(layer.model_dump(exclude_unset=True) for layer in layers if layer)]
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
    needs, retry = CONTAINERS[stage].resources, CONTAINERS[stage].retry
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
        if value is None and key != "gpu":  # nothing was said; no GPU is something
            continue
        merged[key] = _over(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged
