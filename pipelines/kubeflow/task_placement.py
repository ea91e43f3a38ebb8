"""What a placement file says of a task: machine, nodes, volumes, labels, time and retries."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pada_agent.components.core.settings import Section
from pada_agent.pipelines.kubeflow.kubernetes_names import (
    Annotations,
    Claim,
    Labels,
    MountPath,
    QualifiedName,
    as_text,
    check_labels,
    like,
)

WAITING = 24 * 3600  # seconds that a task may wait for a node, in each attempt, before its retries are over
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

Cpu = Annotated[str, as_text, like(r"\d+(\.\d+)?|\d+m", "2, 0.5 or 500m")]
Memory = Annotated[str, as_text, like(r"\d+(Ki|Mi|Gi|Ti|K|M|G|T)?", "16Gi or 16G")]
Duration = Annotated[str, like(r"[1-9]\d*[smhd]", "90s, 30m, 6h or 2d")]


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
    values: tuple[Annotated[str, as_text], ...] = ()

    @model_validator(mode="after")
    def _values_fit(self) -> Self:
        wants = {"In": "values", "NotIn": "values", "Gt": "one value", "Lt": "one value"}.get(self.operator, "no values")
        if not {"values": self.values, "one value": len(self.values) == 1, "no values": not self.values}[wants]:
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
    value: Annotated[str, as_text] = ""
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

    def check(self, who: str) -> None:
        """Raises ValueError for what Kubernetes refuses in every pod: a request above its limit, two volumes at one path."""
        from kubernetes.utils.quantity import parse_quantity

        for what, amount in (("cpu", self.cpu), ("memory", self.memory)):
            if parse_quantity(amount.request) > parse_quantity(amount.limit):
                raise ValueError(f"{what} of {who}: the request {amount.request} is above the limit {amount.limit}; give both")
        if len(set(self.volumes.values())) < len(self.volumes):
            raise ValueError(f"volumes of {who}: two at one path")

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


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * SECONDS[duration[-1]]
