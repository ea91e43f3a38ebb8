"""The pods that the manifests bring: hardened, pinned, probed, and wired to their services, volumes and keys."""

import re
from typing import Any

import pytest
from manifest_builds import OVERLAYS, named, plain_files, pod_templates


def test_pods_pass_the_restricted_profile(everything: list[dict[str, Any]]) -> None:
    templates = pod_templates(everything)
    assert set(templates) == {"teacher", "judge", "pada-agent-models-writable", "egress-check"}
    for name, template in templates.items():
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] > 0, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert all(v.keys() - {"name"} in ({"emptyDir"}, {"persistentVolumeClaim"}) for v in pod.get("volumes", [])), name
        for container in pod["containers"]:
            context = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
            assert container["securityContext"] == context, name
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            assert "memory" in container["resources"]["limits"], name
            assert re.fullmatch(r"[\w./-]+:v?\d+(\.\d+)+[\w.-]*", container["image"]), (
                f"{name}: {container['image']} is not pinned"
            )


def test_jobs_end(everything: list[dict[str, Any]]) -> None:
    jobs = named(everything, "Job")
    assert {job["spec"]["template"]["spec"]["restartPolicy"] for job in jobs.values()} == {"Never"}
    (check,) = jobs["egress-check"]["spec"]["template"]["spec"]["containers"]
    assert check["command"] == ["sh", "-c"]
    assert jobs["egress-check"]["spec"]["backoffLimit"] == 0, "a second try would hide the first one's answer"
    assert jobs["egress-check"]["spec"]["ttlSecondsAfterFinished"] > 0, "else it cannot be run again"


def test_a_new_cache_is_handed_to_the_user_of_the_tasks(build: Any) -> None:
    pod = pod_templates(build("gke", "model-cache"))["pada-agent-models-writable"]["spec"]
    assert pod["securityContext"].items() >= {"runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001}.items()
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == "pada-agent-models"
    assert pod["containers"][0]["volumeMounts"][0]["mountPath"] == "/models"
    assert pod["containers"][0]["command"] == ["test", "-w", "/models"]


def test_volumes_have_a_size(everything: list[dict[str, Any]]) -> None:
    claims = named(everything, "PersistentVolumeClaim")
    assert claims.keys() == {"pada-agent-models", "teacher", "judge"}
    for claim in claims.values():
        assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
        assert re.fullmatch(r"\d+Gi", claim["spec"]["resources"]["requests"]["storage"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_service_has_its_server(build: Any, overlay: str) -> None:
    objects = build(overlay, "llm-in-cluster")
    deployments, services = named(objects, "Deployment"), named(objects, "Service")
    assert deployments.keys() == services.keys() == {"teacher", "judge"}
    assert named(objects, "ServiceAccount")["pada-agent-llm"]["automountServiceAccountToken"] is False
    for name in deployments:
        (container,) = deployments[name]["spec"]["template"]["spec"]["containers"]
        (port,) = services[name]["spec"]["ports"]
        assert port["port"] == {p["name"]: p["containerPort"] for p in container["ports"]}[port["targetPort"]] == 8000
        for selector in (services[name]["spec"]["selector"], deployments[name]["spec"]["selector"]["matchLabels"]):
            chosen = {
                d for d, o in deployments.items() if selector.items() <= o["spec"]["template"]["metadata"]["labels"].items()
            }
            assert chosen == {name}


@pytest.mark.parametrize("name", ["teacher", "judge"])
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_server(build: Any, overlay: str, name: str) -> None:
    deployment = named(build(overlay, "llm-in-cluster"), "Deployment")[name]
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    # User and group of the image; vLLM's caches and the volume are writable for them.
    assert pod["securityContext"].items() >= {"runAsUser": 2000, "runAsGroup": 0, "fsGroup": 2000}.items()
    assert pod["serviceAccountName"] == "pada-agent-llm" and deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert pod["enableServiceLinks"] is False
    mounts = {m["mountPath"]: next(v for v in pod["volumes"] if v["name"] == m["name"]) for m in container["volumeMounts"]}
    assert mounts.keys() == {"/models", "/home/vllm", "/tmp", "/dev/shm"}
    assert (
        mounts["/dev/shm"]["emptyDir"].keys() == {"medium", "sizeLimit"} and mounts["/dev/shm"]["emptyDir"]["medium"] == "Memory"
    )
    assert mounts["/models"]["persistentVolumeClaim"]["claimName"] == name
    env = {e["name"]: e.get("value", e.get("valueFrom", {}).get("secretKeyRef", {}).get("key")) for e in container["env"]}
    assert env == {
        "HOME": "/home/vllm",
        "HF_HOME": "/models",
        "VLLM_CACHE_ROOT": "/models/vllm",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_API_KEY": f"{name.upper()}_API_KEY",
        "HF_TOKEN": "HF_TOKEN",
    }
    assert container["resources"]["requests"]["nvidia.com/gpu"] == container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod["tolerations"]


def test_probes_wait_for_the_model_and_forgive_load(build: Any) -> None:
    for deployment in named(build("gke", "llm-in-cluster"), "Deployment").values():
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        probes = {name: container[f"{name}Probe"] for name in ("startup", "readiness", "liveness")}
        for probe in probes.values():
            assert probe["httpGet"] == {"path": "/health", "port": "http"}
        patience = {name: probe["periodSeconds"] * probe.get("failureThreshold", 3) for name, probe in probes.items()}
        assert patience["startup"] >= 1800, "the first start downloads the model"
        assert patience["liveness"] >= 120 > patience["readiness"]
        assert min(probes[name]["timeoutSeconds"] for name in ("readiness", "liveness")) >= 5


def test_the_judge_is_not_the_teacher(build: Any) -> None:
    containers = [t["spec"]["containers"][0] for t in pod_templates(build("gke", "llm-in-cluster")).values()]
    assert all(c["command"] == ["vllm", "serve"] for c in containers)
    models, lengths = zip(*(c["args"] for c in containers), strict=True)
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+", model) for model in models) and len(set(models)) == 2
    assert all(re.fullmatch(r"--max-model-len=\d+", length) for length in lengths)


def test_the_examples_lie_in_the_namespace() -> None:
    assert {o["metadata"]["namespace"] for o in plain_files() if o["kind"] == "Secret"} == {"pada-agent"}
