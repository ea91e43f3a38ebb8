"""The node of the stand-in cluster: runs what pods say as processes of this machine, and reports as a kubelet does.

What it does not do: images (the code of this checkout runs), users, limits, network policies. A service's name leads to the
loopback.
"""

import base64
import os
import re
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from forks import Child, Forks
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from stores import free_port

ROOT = "stand-in/root"  # annotation: the folder that a pod takes for /
STAGE = re.compile(r"pada_agent\.components\.(\w+)")


@dataclass
class Running:
    """A pod's process. `end` is its exit code once it has ended."""

    name: str
    log: Path
    process: subprocess.Popen[bytes] | Child
    started: str
    port: int = 0
    end: int | None = None
    ready: bool = False

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, 9)


class Kubelet:
    """Polls the API for pods of one namespace until `stop`."""

    def __init__(self, api: Any, namespace: str, forks: Forks, folder: Path) -> None:
        self.core = client.CoreV1Api(api)
        self.namespace, self.forks, self.folder = namespace, forks, folder
        self.pods: dict[str, Running] = {}
        self.logs: dict[str, Path] = {}
        self._waiting: threading.Thread | None = None
        allocatable = {"cpu": "2", "memory": "8Gi"}
        node = {"metadata": {"name": "here"}, "spec": {"unschedulable": False}, "status": {"allocatable": allocatable}}
        self.core.create_node(node)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def log(self, name: str) -> str:
        """What a pod has printed."""
        file = self.logs.get(name)
        return file.read_text(errors="replace") if file and file.exists() else ""

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(10)
        for running in self.pods.values():
            running.kill()

    def _work(self) -> None:
        while not self._stopped.wait(0.1):
            with suppress(ApiException, OSError):
                self._round()

    def _round(self) -> None:
        there = {pod.metadata.name: pod for pod in self.core.list_namespaced_pod(self.namespace).items}
        for name in self.pods.keys() - there.keys():
            self.pods.pop(name).kill()
        for name, pod in there.items():
            if name not in self.pods and pod.status.phase == "Pending":
                self.pods[name] = self._start(pod)
                self._report(self.pods[name], phase="Running")
        for running in self.pods.values():
            if running.end is None and (code := _code(running.process)) is not None:
                running.end = code
                self._report(running, phase="Succeeded" if code == 0 else "Failed")
            elif running.port and not running.ready and _listens(running.port):
                running.ready = True
                self._report(running, phase="Running")

    def _start(self, pod: Any) -> Running:
        (container,) = pod.spec.containers
        log = self.folder / f"{pod.metadata.name}.log"
        self.logs[pod.metadata.name] = log
        port = free_port() if container.ports else 0
        words = [*container.command, *(container.args or [])]
        if port:
            own = str(container.ports[0].container_port)
            words = [str(port) if word == own else word for word in words]
        words = [self._named(self._mounted(word, pod)) for word in words]
        environment = {key: os.environ[key] for key in ("PATH", "HOME", "PYTHONPATH", "LANG") if key in os.environ}
        environment |= {"OMP_NUM_THREADS": "1", "PADA_MODELS": str(self.folder / "models"), **self._environment(container)}
        stage = STAGE.fullmatch(words[2]) if words[:2] == ["python", "-m"] else None
        if stage:
            if self._waiting:  # one fork at a time: its end is read from the same pipe
                self._waiting.join()
            root = Path(pod.metadata.annotations[ROOT])
            process: Any = self.forks.stage(stage[1], words[3:], log, root, environment)
            self._waiting = threading.Thread(target=process.wait, daemon=True)
            self._waiting.start()
        else:
            with log.open("wb") as out:
                process = subprocess.Popen([sys.executable, *words[1:]], stdout=out, stderr=out, env=environment, cwd=self.folder)
        return Running(pod.metadata.name, log, process, _now(), port)

    def _environment(self, container: Any) -> dict[str, str]:
        found = {one.name: one.value for one in container.env or [] if one.value is not None}
        for one in container.env or []:
            if one.value_from and one.value_from.secret_key_ref:
                of = one.value_from.secret_key_ref
                if (value := self._secret(of.name, bool(of.optional)).get(of.key)) is not None:
                    found[one.name] = value
        for source in container.env_from or []:
            found |= self._secret(source.secret_ref.name, False)
        return found

    def _secret(self, name: str, optional: bool) -> dict[str, str]:
        try:
            data = self.core.read_namespaced_secret(name, self.namespace).data or {}
        except ApiException:
            if optional:
                return {}
            raise
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def _mounted(self, word: str, pod: Any) -> str:
        """A path inside a volume of a config map as the path of a copy on this machine."""
        volumes = {volume.name: volume for volume in pod.spec.volumes or []}
        for mount in pod.spec.containers[0].volume_mounts or []:
            volume = volumes.get(mount.name)
            if volume is None or volume.config_map is None or not word.startswith(f"{mount.mount_path}/"):
                continue
            folder = self.folder / volume.config_map.name
            folder.mkdir(exist_ok=True)
            for name, text in self.core.read_namespaced_config_map(volume.config_map.name, self.namespace).data.items():
                (folder / name).write_text(text)
            return str(folder / word.removeprefix(f"{mount.mount_path}/"))
        return word

    def _named(self, word: str) -> str:
        """What cluster DNS and services do: the name of a service leads to the pod behind it."""
        for service in self.core.list_namespaced_service(self.namespace).items if ".svc" in word else ():
            selector = (service.spec.selector or {}).items()
            pods = self.core.list_namespaced_pod(self.namespace, label_selector=",".join(f"{k}={v}" for k, v in selector)).items
            for running in (self.pods[pod.metadata.name] for pod in pods if selector and pod.metadata.name in self.pods):
                name = f"{service.metadata.name}.{self.namespace}.svc:{service.spec.ports[0].port}"
                word = word.replace(name, f"127.0.0.1:{running.port}")
        return word

    def _report(self, running: Running, phase: str) -> None:
        state: dict[str, Any] = {"running": {"startedAt": running.started}}
        if running.end is not None:
            last = (running.log.read_text(errors="replace").strip().splitlines() or [""])[-1]
            ended = {"exitCode": running.end, "startedAt": running.started, "finishedAt": _now(), "message": last[:2000]}
            state = {"terminated": {**ended, "reason": "Completed" if running.end == 0 else "Error"}, "running": None}
        of_main = {"name": "main", "image": "", "imageID": "", "ready": running.ready, "restartCount": 0, "state": state}
        conditions = [{"type": "Ready", "status": "True" if running.ready else "False"}]
        status = {"phase": phase, "containerStatuses": [of_main], "conditions": conditions}
        self.core.patch_namespaced_pod_status(running.name, self.namespace, {"status": status})


def _code(process: Any) -> int | None:
    if isinstance(process, subprocess.Popen):
        return process.poll()
    return process.code


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
