"""The parts of `make test-cluster` that see to it that nobody's things are touched and that waiting ends with a sentence."""

import time

import pytest
import yaml
from compare import differences
from given import Missing, read_given
from kube import MARK, Kube, task_of
from kubernetes import client
from manifest_builds import lacking
from objects import manifests
from runs import Desk, check_waiting, place_like
from stand_in.kubernetes_api import KubernetesApi

from pada_agent.pipelines.kubeflow.package import documents_of

TOLD = {
    "KFP_HOST": "http://127.0.0.1:8080/",
    "REGISTRY": "localhost:5000/mine",
    "STORE": "minio://mlpipeline",
    "STORE_ENDPOINT": "http://seaweedfs.kubeflow.svc:9000",
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
}


class Api(KubernetesApi):
    """It may refuse to delete anything, or say that it will not have one do something with what is `refused`."""

    grudging, refused = False, ()

    def answer(self, method, path, query, body):
        if method == "DELETE" and self.grudging:
            return 403, {"message": "no"}
        if "selfsubjectaccessreviews" in path and body["spec"]["resourceAttributes"]["resource"] in self.refused:
            return 201, {**body, "status": {"allowed": False}}
        return super().answer(method, path, query, body)


@pytest.fixture
def api():
    found = Api("ns")
    yield found
    found.server.close()


@pytest.fixture
def kube(api, tmp_path, monkeypatch):
    file = tmp_path / "kubeconfig"
    contexts = [{"name": "here", "context": {"cluster": "here", "user": "me"}}]
    clusters, users = [{"name": "here", "cluster": {"server": api.server.url}}], [{"name": "me", "user": {}}]
    kinds = {"apiVersion": "v1", "kind": "Config", "current-context": "here"}
    file.write_text(yaml.safe_dump({**kinds, "clusters": clusters, "users": users, "contexts": contexts}))
    monkeypatch.setenv("KUBECONFIG", str(file))
    made = Kube("", tmp_path)
    made.namespace = "ns"
    return made


def config_map(name, text, **labels):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"text": text}}


def texts(kube):
    found = client.CoreV1Api(kube.api).list_namespaced_config_map("ns").items
    return {item.metadata.name: item.data["text"] for item in found}


def test_what_is_somebody_elses_is_neither_changed_nor_removed(kube):
    core = client.CoreV1Api(kube.api)
    core.create_namespaced_config_map("ns", config_map("theirs", "theirs"))
    core.create_namespaced_config_map("ns", config_map("left", "of an earlier test", **{MARK: "yes"}))
    kept = kube.place([config_map("theirs", "ours"), config_map("left", "ours"), config_map("new", "ours")])
    assert kept == ["configmap theirs"]
    assert texts(kube) == {"theirs": "theirs", "left": "ours", "new": "ours"}
    assert kube.remove(seconds=5) == []
    assert texts(kube) == {"theirs": "theirs"}


def test_what_cannot_be_removed_is_named(kube, api):
    api.grudging = True
    kube.place([config_map("new", "ours")])
    assert kube.remove(seconds=0) == ["configmap new in namespace ns"]


def test_a_namespace_that_is_not_there_and_rights_that_are_lacking_are_told(kube, api):
    objects = [config_map("new", "ours"), {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "new"}}]
    assert list(kube.lacking(objects)) == []
    api.refused = {"secrets", "roles"}
    (sentence,) = kube.lacking(objects)
    assert "may not do in namespace ns what is needed (secrets: create, get, patch, delete); use one that may" in sentence
    kube.namespace = "nowhere"
    assert list(kube.lacking(objects)) == ["NAMESPACE: there is no nowhere; create it, in Kubeflow with profiles as a profile"]


def pod(kube, name, state, phase="Pending", node="run.root.condition-1.train-lora-2.executor(0)"):
    labels = {"pipeline/runid": "r1", "pada-agent/stage": "train-lora"}
    metadata = {"name": name, "labels": labels, "annotations": {"workflows.argoproj.io/node-name": node}}
    status = {"phase": phase, "containerStatuses": [state]} if "name" in state else {"phase": phase, **state}
    client.CoreV1Api(kube.api).create_namespaced_pod("ns", {"metadata": metadata, "spec": {"containers": []}, "status": status})


def container(**state):
    return {"name": "main", "image": "", "imageID": "", "ready": False, "restartCount": 0, "state": state}


def test_pods_say_what_they_do_and_why_they_do_not_start(kube, monkeypatch):
    times = {"startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:07Z"}
    pod(kube, "at-work", container(running={"startedAt": times["startedAt"]}), "Running")
    pod(kube, "ended", container(terminated={**times, "exitCode": 1, "message": "InputError: no rows"}), "Failed")
    pod(kube, "no-image", container(waiting={"reason": "ImagePullBackOff", "message": "not found"}))
    unscheduled = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes: Insufficient memory"}
    pod(kube, "no-node", {"conditions": [unscheduled]})
    pods = {found.name: found for found in kube.pods("r1")}
    assert {found.task for found in pods.values()} == {"train-lora-2"}
    assert [name for name, found in pods.items() if found.running] == ["at-work"]
    assert (pods["ended"].ended - pods["ended"].started, pods["ended"].message) == (7, "InputError: no rows")
    assert pods["no-image"].stuck and pods["no-image"].message == "ImagePullBackOff: not found"
    assert pods["no-node"].message == "no node takes it: 0/1 nodes: Insufficient memory"
    assert kube.pods("r2") == []
    monkeypatch.setattr("kube.HOPELESS_SECONDS", 0)
    with pytest.raises(RuntimeError, match="pod no-image: ImagePullBackOff: not found"):
        kube.wait("it starts", 60, lambda: False, "no-image")


def test_waiting_ends_with_a_sentence(kube, monkeypatch):
    with pytest.raises(RuntimeError, match="it starts: not within 0 s; see kubectl -n ns get pods,events"):
        kube.wait("it starts", 0, lambda: False)
    pod(kube, "no-node", {"conditions": [{"type": "PodScheduled", "status": "False", "message": "no room"}]})
    monkeypatch.setattr("runs.STUCK_SECONDS", 0)
    waiting = {}
    check_waiting("loop", kube.pods("r1"), waiting)
    time.sleep(0.01)
    with pytest.raises(RuntimeError, match="loop: pod no-node of train-lora-2 has waited 0 s: no node takes it: no room"):
        check_waiting("loop", kube.pods("r1"), waiting)


@pytest.mark.parametrize(
    ("node", "task"),
    [
        ("loop-x7.root.prepare-data.executor", "prepare-data"),
        ("loop-x7.root.condition-1.condition-2.train-lora-3.executor(0)", "train-lora-3"),
        ("loop-x7.root.evaluate-slm(1).executor(2)", "evaluate-slm"),
        ("", ""),
    ],
)
def test_the_task_of_a_pod(node, task):
    assert task_of(node) == task


def test_states_are_compared_up_to_rounding_and_without_what_counts_seconds():
    here = {"models": [{"name": "a", "train_seconds": 3.0, "metrics": {"accuracy": 0.1 + 0.2}}], "iterations": [1, 2]}
    same = {"models": [{"name": "a", "train_seconds": 9.0, "metrics": {"accuracy": 0.3}}], "iterations": [1, 2]}
    assert list(differences(here, same)) == []
    other = {"models": [{"name": "b", "metrics": {"accuracy": 0.31}}], "iterations": [1]}
    assert [line.partition(":")[0] for line in differences(here, other)] == [
        "iterations",
        "models[0].metrics.accuracy",
        "models[0].name",
    ]


def test_every_wrong_variable_is_told_at_once():
    with pytest.raises(Missing) as missing:
        read_given({"STORE": "/tmp/x", "MINUTES": "0", "ONLY": "loop lop", "STORE_ENDPOINT": "seaweedfs:9000"}, ("loop",))
    starts = [sentence.partition(":")[0] for sentence in missing.value.sentences]
    assert starts == ["KFP_HOST", "REGISTRY", "STORE", "STORE_ENDPOINT", "MINUTES", "ONLY"]
    with pytest.raises(Missing, match="AWS_SECRET_ACCESS_KEY: missing"):
        read_given({**TOLD, "AWS_SECRET_ACCESS_KEY": ""}, ())


def test_stages_know_kfps_own_store_as_s3_and_kfp_as_minio():
    given = read_given(TOLD, ())
    assert given.uri("data") == given.kfp_uri("data").replace("minio://", "s3://")
    assert given.kfp_uri("data").startswith("minio://mlpipeline/test-cluster-")
    assert read_given(TOLD, ()).store != given.store, "each test has a folder of its own, which it removes"


@pytest.mark.skipif(bool(lacking()), reason=f"NO MANIFEST IS TESTED: {lacking()}")
@pytest.mark.parametrize(("multi_user", "namespace"), [(False, "kubeflow"), (True, "team-a")])
def test_the_manifests_are_built_for_the_namespace_and_the_api_that_are_there(multi_user, namespace, tmp_path):
    built = manifests(read_given(TOLD, ()), namespace, multi_user, [("10.1.2.3", 8443), ("fd00::1", 6443)], tmp_path)
    assert {o["metadata"].get("namespace") for o in built} == {namespace}
    kinds = {o["kind"] for o in built}
    assert "Namespace" not in kinds and ("ResourceQuota" in kinds) == multi_user
    (binding,) = [o for o in built if o["kind"] == "RoleBinding"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "pada-agent-runner", "namespace": namespace}]
    (policy,) = [o for o in built if o["metadata"]["name"] == "kubernetes-api"]
    (rule,) = policy["spec"]["egress"]
    assert [to["ipBlock"]["cidr"] for to in rule["to"]] == ["10.1.2.3/32", "fd00::1/128"]
    assert {port["port"] for port in rule["ports"]} == {443, 6443, 8443}
    assert "llm-external" not in {o["metadata"]["name"] for o in built}


def test_components_in_another_pipeline_are_placed_like_the_loops(tmp_path):
    from kfp import compiler

    from pada_agent.pipelines.examples.augmentation import augmentation

    given = read_given({**TOLD, "PULL_SECRET": "mine"}, ())
    desk = Desk(given, None, None, False, tmp_path)
    other = tmp_path / "other.yaml"
    compiler.Compiler().compile(augmentation, str(other))
    place_like(desk.compile(1), other)
    spec, platform = documents_of(other.read_text())
    containers = {n: e["container"] for n, e in spec["deploymentSpec"]["executors"].items() if "container" in e}
    assert len(containers) == 6
    placed = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for name, container in containers.items():
        assert container["image"].startswith("localhost:5000/mine/pada-agent/")
        assert float(container["resources"]["memoryLimit"]) <= 8, "a node of 8 GiB must take it"
        assert [secret["secretName"] for secret in placed[name]["imagePullSecret"]] == ["mine"]
        secrets = {secret["secretName"] for secret in placed[name]["secretAsEnv"] if not secret.get("optional")}
        assert secrets <= {"pada-agent-test-llm", "pada-agent-test-storage"}
