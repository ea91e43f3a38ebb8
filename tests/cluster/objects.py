"""What is put into the namespace: the manifests as this repository ships them, keys, and the teacher as a pod."""

import base64
import ipaddress
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from given import KEYS, Given

from pada_agent.components.images import REPOSITORY
from pada_agent.components.stages import IMAGES

HERE = Path(__file__).parent
MANIFESTS = HERE.parents[1] / "manifests"
MARK = "pada-agent/test-cluster"  # the label on everything of this test
TEACHER, LOOKS = "pada-agent-test-teacher", "pada-agent-test-look"
LLM_SECRET, STORAGE_SECRET = "pada-agent-test-llm", "pada-agent-test-storage"
TEACHER_KEY, JUDGE_KEY = "key-of-the-teacher", "key-of-the-judge"  # the teacher's log says whether they arrive
PORT, DELAY = 8000, 1.0  # seconds before rows that it writes, so that their writer can be caught at work
STANDALONE = "kubeflow"
_USER = 10001
_RESTRICTED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
_OF_STAGES = {"matchExpressions": [{"key": "pada-agent/stage", "operator": "Exists"}]}
Object = dict[str, Any]


def image(given: Given, role: str) -> str:
    return f"{given.registry}/{REPOSITORY}/{role}:{given.tag}"


def manifests(given: Given, namespace: str, multi_user: bool, api: Sequence[tuple[str, int]], scratch: Path) -> list[Object]:
    """The overlay `local-cluster` for the namespace, as kustomize builds it; `api`: addresses of the Kubernetes API.

    Without the LLM's policy and the Namespace itself, which is there. Raises RuntimeError with what kustomize says.
    """
    copy = Path(shutil.copytree(MANIFESTS, scratch / "manifests"))
    overlay = copy / "overlays" / "local-cluster" / "kustomization.yaml"
    document = yaml.safe_load(overlay.read_text())
    document["components"] = [] if multi_user else ["../../components/kfp-standalone"]
    overlay.write_text(yaml.safe_dump(document))
    ours = copy / "overlays" / "here"
    ours.mkdir()
    (ours / "kustomization.yaml").write_text(yaml.safe_dump({"namespace": namespace, "resources": ["../local-cluster"]}))
    command = ["kubectl", "kustomize"] if shutil.which("kubectl") else ["kustomize", "build"]
    if not shutil.which(command[0]):
        raise RuntimeError("kubectl: not on the PATH; its kustomize builds the manifests: install 1.27 or newer, or kustomize 5")
    done = subprocess.run([*command, str(ours)], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}; kubectl 1.27 or newer is needed, or kustomize 5")
    built = [o for o in yaml.safe_load_all(done.stdout) if o["kind"] != "Namespace"]
    for policy in built:
        if policy["metadata"]["name"] == "kubernetes-api" and api:
            ports = [{"port": port, "protocol": "TCP"} for port in sorted({443, *(port for _, port in api)})]
            policy["spec"]["egress"] = [
                {"to": [{"ipBlock": {"cidr": str(ipaddress.ip_network(ip))}} for ip, _ in api], "ports": ports}
            ]
    return built


def of_this_test(given: Given, variables: dict[str, str]) -> list[Object]:
    """Keys, the teacher's script, service and policies."""
    files = {file.name: file.read_text() for file in (HERE.parent / "llm_stub.py", HERE / "teacher.py")}
    storage = {key: variables[key] for key in KEYS if variables.get(key)}
    if given.endpoint:
        storage["AWS_ENDPOINT_URL"] = given.endpoint
    return [
        _secret(LLM_SECRET, {"TEACHER_API_KEY": TEACHER_KEY, "JUDGE_API_KEY": JUDGE_KEY}),
        _secret(STORAGE_SECRET, storage),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": TEACHER}, "data": files},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": TEACHER},
            "spec": {
                "selector": {"app": TEACHER},
                "ports": [{"name": "http", "port": PORT, "targetPort": PORT, "protocol": "TCP"}],
            },
        },
        *_policies(given),
    ]


def teacher(given: Given) -> Object:
    """The pod that serves tests/llm_stub.py from the agents' image."""
    container = {
        "name": "teacher",
        "image": image(given, "agents"),
        "command": ["python", "-B", "/teacher/teacher.py", str(PORT), str(DELAY)],
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "volumeMounts": [{"name": "script", "mountPath": "/teacher", "readOnly": True}],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}},
    }
    pod = _pod(given, TEACHER, [container])
    pod["metadata"]["labels"]["app"] = TEACHER
    pod["spec"]["volumes"] = [{"name": "script", "configMap": {"name": TEACHER}}]
    return pod


def look(given: Given, role: str, teacher_url: str) -> Object:
    """A pod that looks at the world with the eyes of a stage of an image: at the store and at the teacher."""
    container = {
        "name": "look",
        "image": image(given, role),
        "command": ["python", "-B", "-c", LOOK, given.uri("data/train.jsonl"), "" if role == "slm" else teacher_url],
        "envFrom": [{"secretRef": {"name": STORAGE_SECRET}}],
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        "resources": {"requests": {"cpu": "200m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "2Gi"}},
    }
    pod = _pod(given, f"{LOOKS}-{role}", [container])
    # The policies take it for a task; that KFP made none of it is told by the missing label pipeline/runid.
    labels = {"pada-agent/stage": "look", "pada-agent/egress": "storage" if role == "slm" else "llm"}
    pod["metadata"]["labels"] |= {**labels, "pipelines.kubeflow.org/v2_component": "true"}
    pod["spec"]["volumes"] = [{"name": "tmp", "emptyDir": {}}]
    return pod


LOOK = """
import socket, sys, time, urllib.parse
from pada_agent.components.backends.store.objects import read
from pada_agent.components.core.errors import PadaError

rows, teacher = sys.argv[1:]
parts = urllib.parse.urlsplit(teacher)


def trouble():
    try:
        if not read(rows):
            return f"{rows}: not there for a pod, though uploaded; do STORE_ENDPOINT and STORE_ENDPOINT_HERE lead to one store?"
    except PadaError as e:
        return f"{e} (as a pod sees the store: STORE_ENDPOINT, the keys, network policies)"
    try:
        if teacher:
            socket.create_connection((parts.hostname, parts.port), 10).close()
    except OSError as e:
        return f"{teacher}: a pod does not reach the teacher's pod ({e}); DNS, or network policies of the cluster's own?"


deadline = time.monotonic() + 60  # network policies take a moment to reach a new pod
while (said := trouble()) and time.monotonic() < deadline:
    time.sleep(2)
sys.exit(said)
"""


def runner_images(given: Given) -> dict[str, str]:
    """By role."""
    return {role: image(given, role) for role in IMAGES}


def _pod(given: Given, name: str, containers: list[Object]) -> Object:
    for container in containers:
        container["securityContext"] = _RESTRICTED
        container["imagePullPolicy"] = "IfNotPresent"
        container["terminationMessagePolicy"] = "FallbackToLogsOnError"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        # A mesh's sidecar would keep a pod alive that has done its work.
        "metadata": {
            "name": name,
            "labels": {"sidecar.istio.io/inject": "false"},
            "annotations": {"sidecar.istio.io/inject": "false"},
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsUser": _USER,
                "runAsGroup": _USER,
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "imagePullSecrets": [{"name": given.pull_secret}] if given.pull_secret else [],
            "containers": containers,
        },
    }


def _secret(name: str, values: dict[str, str]) -> Object:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def _policies(given: Given) -> list[Object]:
    asking = {"matchLabels": {"pada-agent/egress": "llm"}}
    to_teacher = {"podSelector": {"matchLabels": {"app": TEACHER}}}
    port = [{"port": PORT, "protocol": "TCP"}]
    policies = [
        _policy(TEACHER, to_teacher["podSelector"], ingress=[{"from": [{"podSelector": asking}], "ports": port}], egress=[]),
        _policy(f"{TEACHER}-clients", asking, egress=[{"to": [to_teacher], "ports": port}]),
    ]
    if (place := _store_outside(given)) is not None:
        policies.append(_policy("pada-agent-test-store", _OF_STAGES, egress=[place]))
    return policies


def _policy(name: str, pods: Object, **rules: list[Object]) -> Object:
    kinds = [kind for kind in ("Ingress", "Egress") if kind.lower() in rules]
    spec = {"podSelector": pods, "policyTypes": kinds, **rules}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec}


def _store_outside(given: Given) -> Object | None:
    """The way to a store that is not KFP's own, which the manifests know; None for KFP's own."""
    parts = urlsplit(given.endpoint or "https://outside")
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    labels = host.split(".")
    if given.scheme == "minio" and labels[1:2] in ([], [STANDALONE]):
        return None
    anywhere = {"ipBlock": {"cidr": "0.0.0.0/0"}}
    in_cluster = len(labels) == 1 or labels[2:3] == ["svc"]
    # The port of a service need not be that of its pods.
    return {"to": [{"namespaceSelector": {}}]} if in_cluster else {"to": [anywhere], "ports": [{"port": port, "protocol": "TCP"}]}
