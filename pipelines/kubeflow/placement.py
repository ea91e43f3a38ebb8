"""Where the tasks of a package run and what they are given: GPU, memory, secrets, labels, retries, caching.

Kubernetes' own features (secrets, tolerations, labels, timeouts) make a package that Vertex AI cannot load, so each target has
its own placement.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kfp import dsl, kubernetes

from pada_agent.components.images import TAG, image
from pada_agent.components.stages import STAGES

KEYS = {"teacher": "TEACHER_API_KEY", "judge": "JUDGE_API_KEY"}
STORAGE_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")
USER = 10001  # the images' own
MODELS = "/models"


@dataclass(frozen=True)
class Kubernetes:
    """Kubeflow Pipelines on a cluster. Names are those of manifests/."""

    registry: str = ""
    tag: str = TAG
    gpu: str = "nvidia.com/gpu"  # '': train and evaluate on the CPU
    node_selector: Mapping[str, str] = field(default_factory=dict)
    llm_secret: str = "pada-agent-llm"
    storage_secret: str = "pada-agent-storage"
    hub_secret: str = "pada-agent-hub"
    model_cache: str = ""  # name of a PVC

    def __call__(self, task: dsl.PipelineTask, stage: str) -> None:
        """Place one task."""
        known, needs = STAGES[stage], STAGES[stage].resources
        _anywhere(task, stage, self.registry, self.tag)
        task.set_cpu_request(needs.cpu[0]).set_cpu_limit(needs.cpu[1])
        task.set_memory_request(needs.memory[0]).set_memory_limit(needs.memory[1])
        kubernetes.set_timeout(task, needs.timeout_seconds)
        kubernetes.set_security_context(task, run_as_user=USER, run_as_group=USER, run_as_non_root=True)
        kubernetes.add_pod_label(task, "pada-agent/stage", stage.replace("_", "-"))
        kubernetes.add_pod_label(task, "pada-agent/egress", "llm" if known.llm else "storage")
        if known.llm:
            _secret(task, self.llm_secret, (KEYS[known.llm],))
        _secret(task, self.storage_secret, STORAGE_KEYS, optional=True)
        if known.hub:
            _secret(task, self.hub_secret, ("HF_TOKEN",), optional=True)
            if self.model_cache:
                kubernetes.mount_pvc(task, pvc_name=self.model_cache, mount_path=MODELS)
                task.set_env_variable("HF_HOME", f"{MODELS}/huggingface").set_env_variable("PADA_MODELS", MODELS)
        if needs.gpu:
            self._on_gpu(task)

    def _on_gpu(self, task: dsl.PipelineTask) -> None:
        # PyTorch's workers share tensors through /dev/shm, which is 64 MiB in a pod.
        kubernetes.empty_dir_mount(task, volume_name="shared-memory", mount_path="/dev/shm", medium="Memory", size_limit="2Gi")
        if self.gpu:
            task.set_accelerator_type(self.gpu).set_accelerator_limit(1)
            kubernetes.add_toleration(task, key=self.gpu, operator="Exists", effect="NoSchedule")
        for key, value in self.node_selector.items():
            kubernetes.add_node_selector(task, key, value)


class Machine(NamedTuple):
    """What trains and evaluates on Vertex AI: parameters of the run."""

    accelerator_type: Any
    accelerator_count: Any
    cpu_limit: Any
    memory_limit: Any


@dataclass(frozen=True)
class Vertex:
    """Vertex AI Pipelines: one YAML document; machine and accelerator are parameters, keys come from Secret Manager."""

    registry: str = ""
    tag: str = TAG

    def on(self, machine: Machine) -> Callable[[dsl.PipelineTask, str], None]:
        """How to place one task, with `machine` for those that train and evaluate."""

        def place(task: dsl.PipelineTask, stage: str) -> None:
            needs = STAGES[stage].resources
            _anywhere(task, stage, self.registry, self.tag)
            if needs.gpu:
                task.set_cpu_limit(machine.cpu_limit).set_memory_limit(machine.memory_limit)
                task.set_accelerator_type(machine.accelerator_type).set_accelerator_limit(machine.accelerator_count)
            else:
                task.set_cpu_limit(needs.cpu[1]).set_memory_limit(needs.memory[1].removesuffix("i"))

        return place


def _anywhere(task: dsl.PipelineTask, stage: str, registry: str, tag: str) -> None:
    task.set_container_image(image(stage, registry, tag))
    task.set_caching_options(STAGES[stage].cached)
    retry = STAGES[stage].retry
    task.set_retry(retry.count, retry.backoff, retry.factor, retry.longest)


def _secret(task: dsl.PipelineTask, name: str, keys: tuple[str, ...], optional: bool = False) -> None:
    kubernetes.use_secret_as_env(task, secret_name=name, secret_key_to_env={key: key for key in keys}, optional=optional)
