"""Gives the tasks of a package what a placement file says: image, machine, secrets, volumes, labels, retries, caching.

Kubernetes' own features (secrets, tolerations, labels, timeouts) make a package that Vertex AI cannot load, so each target has
its own placement. `Kubernetes` also places single components in a pipeline of your own, see pipelines/examples.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

from kfp import dsl, kubernetes

from pada_agent.components.stages import CONTAINERS
from pada_agent.pipelines.kubeflow.kubernetes_names import SHARED_MEMORY
from pada_agent.pipelines.kubeflow.launch import launched
from pada_agent.pipelines.kubeflow.package import ACCOUNT, KEYS
from pada_agent.pipelines.kubeflow.placement_file import Placement, read_placement
from pada_agent.pipelines.kubeflow.task_placement import Affinity, Task

STORAGE_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")
USER = 10001  # the images' own
MODELS = "/models"


@dataclass(frozen=True)
class Kubernetes:
    """Kubeflow Pipelines on a cluster."""

    placement: Placement = field(default_factory=Placement)

    @classmethod
    def read(cls, file: Path | None = None, registry: str = "", tag: str = "") -> Self:
        """Of a placement file, or stages.py's defaults with the images of a registry. Raises InputError."""
        return cls(read_placement(file, registry=registry, tag=tag))

    def __call__(self, task: dsl.PipelineTask, stage: str) -> None:
        """Place one task, which runs `stage`."""
        needs = self.placement.of(stage)
        _image_and_cache(task, stage, self.placement)
        task.set_retry(*needs.backoff, f"{needs.longest}s")
        task.set_cpu_request(needs.cpu.request).set_cpu_limit(needs.cpu.limit)
        task.set_memory_request(needs.memory.request).set_memory_limit(needs.memory.limit)
        kubernetes.set_timeout(task, needs.timeout_seconds)
        kubernetes.set_security_context(task, run_as_user=USER, run_as_group=USER, run_as_non_root=True)
        self._pod(task, stage, needs)
        self._secrets(task, stage)
        self._volumes(task, stage, needs)
        _nodes(task, needs)
        if CONTAINERS[stage].by_gpu and needs.gpu and task.container_spec:
            task.container_spec.command = launched(task.container_spec.command, needs.gpu.count)

    def _pod(self, task: dsl.PipelineTask, stage: str, needs: Task) -> None:
        ours = {"pada-agent/stage": stage.replace("_", "-"), "pada-agent/egress": "llm" if CONTAINERS[stage].llm else "storage"}
        for key, value in {**needs.labels, **ours}.items():
            kubernetes.add_pod_label(task, key, value)
        account = {ACCOUNT: self.placement.service_account} if self.placement.service_account else {}
        for key, value in {**needs.annotations, **account}.items():
            kubernetes.add_pod_annotation(task, key, value)
        images = self.placement.images
        if images.pull_policy:
            kubernetes.set_image_pull_policy(task, images.pull_policy)
        if images.pull_secrets:
            kubernetes.set_image_pull_secrets(task, list(images.pull_secrets))

    def _secrets(self, task: dsl.PipelineTask, stage: str) -> None:
        known, secrets = CONTAINERS[stage], self.placement.secrets
        if known.keys:
            _secret(task, secrets.llm, tuple(KEYS[role] for role in known.keys))
        if known.optional_keys:
            _secret(task, secrets.llm, tuple(KEYS[role] for role in known.optional_keys), optional=True)
        _secret(task, secrets.storage, STORAGE_KEYS, optional=True)
        if known.hub:
            _secret(task, secrets.hub, ("HF_TOKEN",), optional=True)

    def _volumes(self, task: dsl.PipelineTask, stage: str, needs: Task) -> None:
        if self.placement.model_cache and CONTAINERS[stage].models:
            kubernetes.mount_pvc(task, pvc_name=self.placement.model_cache, mount_path=MODELS)
            task.set_env_variable("HF_HOME", f"{MODELS}/huggingface").set_env_variable("PADA_MODELS", MODELS)
        for claim, path in needs.volumes.items():
            kubernetes.mount_pvc(task, pvc_name=claim, mount_path=path)
        if CONTAINERS[stage].resources.gpu:
            # PyTorch's workers share tensors through /dev/shm, which is 64 MiB in a pod.
            kubernetes.empty_dir_mount(task, volume_name=SHARED_MEMORY, mount_path="/dev/shm", medium="Memory", size_limit="2Gi")


class Parameters(NamedTuple):
    """What trains and evaluates on Vertex AI: parameters of the run."""

    accelerator_type: Any
    accelerator_count: Any
    cpu_limit: Any
    memory_limit: Any


@dataclass(frozen=True)
class Vertex:
    """Vertex AI Pipelines: one YAML document; machine and accelerator are parameters, keys come from Secret Manager."""

    placement: Placement = field(default_factory=Placement)

    def on(self, machine: Parameters) -> Callable[[dsl.PipelineTask, str], None]:
        """How to place one task, with `machine` for those that train and evaluate."""

        def place(task: dsl.PipelineTask, stage: str) -> None:
            needs = self.placement.of(stage)
            _image_and_cache(task, stage, self.placement)
            task.set_retry(*needs.backoff)  # and no longer than the hour that Vertex allows at most
            if CONTAINERS[stage].resources.gpu:
                task.set_cpu_limit(machine.cpu_limit).set_memory_limit(machine.memory_limit)
                task.set_accelerator_type(machine.accelerator_type).set_accelerator_limit(machine.accelerator_count)
            else:
                task.set_cpu_limit(needs.cpu.limit).set_memory_limit(str(needs.memory.limit).removesuffix("i"))

        return place


def _image_and_cache(task: dsl.PipelineTask, stage: str, placement: Placement) -> None:
    task.set_container_image(placement.images.of(stage))
    task.set_caching_options(CONTAINERS[stage].cached)


def _secret(task: dsl.PipelineTask, name: str, keys: tuple[str, ...], optional: bool = False) -> None:
    kubernetes.use_secret_as_env(task, secret_name=name, secret_key_to_env={key: key for key in keys}, optional=optional)


def _nodes(task: dsl.PipelineTask, needs: Task) -> None:
    """GPUs, and on which nodes."""
    if needs.gpu:
        # As text: KFP's driver gives no GPU for a number.
        task.set_accelerator_type(needs.gpu.resource).set_accelerator_limit(str(needs.gpu.count))
        kubernetes.add_toleration(task, key=needs.gpu.resource, operator="Exists", effect="NoSchedule")
    for taint in needs.tolerations:
        kubernetes.add_toleration(
            task, taint.key, taint.operator, taint.value or None, taint.effect or None, toleration_seconds=taint.seconds
        )
    for key, value in needs.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    _affinity(task, needs.affinity)


def _affinity(task: dsl.PipelineTask, affinity: Affinity) -> None:
    # One call for all that is required: Kubernetes takes a node for which the terms of any one call hold.
    if affinity.required:
        kubernetes.add_node_affinity(task, match_expressions=[expression.model_dump() for expression in affinity.required])
    for preference in affinity.preferred:
        kubernetes.add_node_affinity(
            task, match_expressions=[preference.model_dump(exclude={"weight"})], weight=preference.weight
        )
