"""Containers of a compiled package, each held to what its pod would be: user, secrets and network as the package says."""

import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from llm_stub import LlmStub
from package_runner import Container

from pada_agent.components.stages import CONTAINERS, MODULES
from pada_agent.pipelines.kubeflow.package import stage_of
from pada_agent.pipelines.kubeflow.placement import KEYS, USER

HERE = "localhost"  # stands for the engine's own images, which have no registry
KEY = {"TEACHER_API_KEY": "teacher-of-the-cluster", "JUDGE_API_KEY": "judge-of-the-cluster"}


@dataclass
class Pods:
    """Of the package `text`; what they write is below `folder`, `mounts` are what else they see."""

    engine: Any
    text: str
    folder: Path
    stub: LlmStub
    store: Any
    mounts: Mapping[Path, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    ran: list[tuple[str, int]] = field(default_factory=list, init=False)  # task and exit code of each container
    messages: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.spec, platform = yaml.safe_load_all(self.text)
        self.pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        self.root = self.folder / "pods"

    def start(self, container: Container) -> int:
        """One container, as its pod would be; returns its exit code."""
        stage = MODULES[container.command[-1]]
        executors = self.spec["deploymentSpec"]["executors"]
        pod = next(self.pods[label] for label, one in executors.items() if stage_of(one["container"]) == stage)
        assert {pod["securityContext"][k] for k in ("runAsUser", "runAsGroup")} == {str(USER)}
        secrets = {pair["envVar"] for secret in pod["secretAsEnv"] if not secret["optional"] for pair in secret["keyToEnv"]}
        assert secrets == {KEYS[role] for role in CONTAINERS[stage].keys}
        for folder in (container.folder, container.scratch):
            self._give(folder, container.image)
        message = container.scratch.with_suffix(".message")
        message.touch()
        message.chmod(0o666)  # as Kubernetes makes it
        own = {self.root / "minio": "/minio", container.scratch: "/tmp/kfp/outputs", message: "/dev/termination-log"}
        asks_llm = pod["podMetadata"]["labels"]["pada-agent/egress"] == "llm"
        process = self.engine.start(
            container.image.removeprefix(f"{HERE}/"),
            [*container.command, *container.arguments],
            {**self.mounts, **own},
            {"OMP_NUM_THREADS": "1", **self.environment, **self.store.environment, **{name: KEY[name] for name in secrets}},
            "host" if asks_llm or self.store.uri in container.executor_input else "none",
            name := f"pada-{uuid.uuid4().hex}",
        )
        self.begun(process, name, stage, container.folder)
        _, err = process.communicate(timeout=900)
        self.ran.append((container.task, process.returncode))
        self.messages.append(message.read_text())
        assert not err.startswith("docker:"), err
        if process.returncode:
            print(f"{container.task} ended with {process.returncode}: {err[-2000:]}", file=sys.stderr)
        return int(process.returncode)

    def begun(self, process: "subprocess.Popen[str]", name: str, stage: str, folder: Path) -> None:
        """Called when a container has been started."""

    def _give(self, folder: Path, image: str) -> None:
        """The folder becomes the images' user's, as if the launcher had made it."""
        if os.geteuid() == 0:
            os.chown(folder, USER, USER)
        else:
            self.engine("run", "--rm", "--user=0", f"--volume={folder}:/folder", image, "chown", f"{USER}:{USER}", "/folder")

    def asks(self) -> list[str]:
        """What containers asked LLMs for."""
        return [ask.text for ask in list(self.stub.asks) if ask.headers["authorization"].endswith("-of-the-cluster")]
