"""Where the tasks of a package run and what they are given: GPU, memory, secrets, labels, retries, caching. One table for each.

Kubernetes' own features (secrets, tolerations, labels, timeouts) make a package that Vertex AI cannot load, so each target has
its own placement.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kfp import dsl, kubernetes

from pada_agent.components.images import TAG, image, role_of

# What a task may use. LLM stages wait for an endpoint; training and evaluation hold a model of up to 7B in bf16.
CPU = {"agents": ("1", "2"), "analysis": ("2", "4"), "slm": ("4", "8")}  # requested, at most
MEMORY = {"agents": ("1Gi", "4Gi"), "analysis": ("4Gi", "8Gi"), "slm": ("16Gi", "32Gi")}
TIMEOUT_SECONDS = {"agents": 6 * 3600, "analysis": 6 * 3600, "slm": 24 * 3600}

# Only a stage that gives the same for the same inputs and has no effect outside may be served from the cache. prepare_data reads
# addresses whose content may have changed; agents ask LLMs, and their ledger makes a repeated call free; update_state exports.
CACHED = frozenset({"train_lora", "evaluate_slm"})

RETRIES, BACKOFF, FACTOR, LONGEST = 3, "60s", 2.0, "600s"
KEYS = {"analyze_patterns": ("TEACHER_API_KEY",), "generate_data": ("TEACHER_API_KEY",), "control_quality": ("JUDGE_API_KEY",)}
STORAGE_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")
USES_HUB = frozenset({"prepare_data", "train_lora", "evaluate_slm", "analyze_patterns"})
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
        role = role_of(stage)
        _anywhere(task, stage, self.registry, self.tag)
        task.set_cpu_request(CPU[role][0]).set_cpu_limit(CPU[role][1])
        task.set_memory_request(MEMORY[role][0]).set_memory_limit(MEMORY[role][1])
        kubernetes.set_timeout(task, TIMEOUT_SECONDS[role])
        kubernetes.set_security_context(task, run_as_user=USER, run_as_group=USER, run_as_non_root=True)
        kubernetes.add_pod_label(task, "pada-agent/stage", stage.replace("_", "-"))
        kubernetes.add_pod_label(task, "pada-agent/egress", "llm" if stage in KEYS else "storage")
        if stage in KEYS:
            _secret(task, self.llm_secret, KEYS[stage])
        _secret(task, self.storage_secret, STORAGE_KEYS, optional=True)
        if stage in USES_HUB:
            _secret(task, self.hub_secret, ("HF_TOKEN",), optional=True)
            if self.model_cache:
                kubernetes.mount_pvc(task, pvc_name=self.model_cache, mount_path=MODELS)
                task.set_env_variable("HF_HOME", f"{MODELS}/huggingface").set_env_variable("PADA_MODELS", MODELS)
        if role == "slm":
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
            role = role_of(stage)
            _anywhere(task, stage, self.registry, self.tag)
            if role == "slm":
                task.set_cpu_limit(machine.cpu_limit).set_memory_limit(machine.memory_limit)
                task.set_accelerator_type(machine.accelerator_type).set_accelerator_limit(machine.accelerator_count)
            else:
                task.set_cpu_limit(CPU[role][1]).set_memory_limit(MEMORY[role][1].removesuffix("i"))

        return place


def _anywhere(task: dsl.PipelineTask, stage: str, registry: str, tag: str) -> None:
    task.set_container_image(image(stage, registry, tag))
    task.set_caching_options(stage in CACHED)
    task.set_retry(num_retries=RETRIES, backoff_duration=BACKOFF, backoff_factor=FACTOR, backoff_max_duration=LONGEST)


def _secret(task: dsl.PipelineTask, name: str, keys: tuple[str, ...], optional: bool = False) -> None:
    kubernetes.use_secret_as_env(task, secret_name=name, secret_key_to_env={key: key for key in keys}, optional=optional)
