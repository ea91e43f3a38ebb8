"""`pada doctor --target kubernetes` with Kubernetes' own client against a loopback API server."""

import base64
import socket

import pytest
import yaml
from cluster_cases import compile_with_volumes, write_config

from pada_agent.pipelines.kubeflow.compile import write_package, write_study
from pada_agent.pipelines.kubeflow.pipeline import Shape
from pada_agent.pipelines.kubeflow.placement import Kubernetes
from pada_agent.pipelines.kubeflow.placement_file import Placement

SPACE = "/api/v1/namespaces/pada-agent"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/pada-agent/networkpolicies"
CLAIM = f"{SPACE}/persistentvolumeclaims/pada-agent-models"
HEALTHZ = "/apis/v2beta1/healthz"
PROXY = f"/api/v1/namespaces/kubeflow/services/ml-pipeline:8888/proxy{HEALTHZ}"
CONTROLLER = "/api/v1/namespaces/kubeflow/configmaps/workflow-controller-configmap"
VALUE = base64.b64encode(b"sk-never-show-this").decode()
TOKEN = "token-of-the-kubeconfig"


@pytest.fixture
def kubeconfig(tmp_path, http_stub, monkeypatch):
    """A kubeconfig with two contexts, of which the current one is the stub."""
    for name in ("KUBERNETES_SERVICE_HOST", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = free.getsockname()[1]
    file = tmp_path / "kubeconfig"
    clusters = {"here": http_stub.url, "gone": f"http://127.0.0.1:{dead}"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": name, "cluster": {"server": url}} for name, url in clusters.items()],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "jane"}} for name in clusters],
        "users": [{"name": "jane", "user": {"token": TOKEN}}],
    }
    file.write_text(yaml.safe_dump(config))
    return file


@pytest.fixture
def cluster(http_stub):
    """A cluster that has everything."""
    http_stub.on("GET", "/version/", {"major": "1", "minor": "33", "gitVersion": "v1.33.2", **_VERSION})
    review = {"status": {"userInfo": {"username": "jane@example.org", "groups": ["system:authenticated"]}}}
    http_stub.on("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review, status=201)
    http_stub.on("GET", SPACE, {"metadata": {"name": "pada-agent"}, "status": {"phase": "Active"}})
    google = {"iam.gke.io/gcp-service-account": "runner@p.iam.gserviceaccount.com"}
    http_stub.on("GET", f"{SPACE}/serviceaccounts/pada-agent-runner", {"metadata": {"annotations": google}})
    http_stub.on("GET", f"{SPACE}/secrets/pada-agent-llm", {"data": {"TEACHER_API_KEY": VALUE, "JUDGE_API_KEY": VALUE}})
    http_stub.on("GET", f"{SPACE}/persistentvolumeclaims/pada-agent-models", _claim("Bound"))
    policies = {"items": [{"metadata": {"name": name}, "spec": {"podSelector": {}}} for name in ("deny-all", "llm-egress")]}
    http_stub.on("GET", "/apis/networking.k8s.io/v1/namespaces/pada-agent/networkpolicies", policies)
    http_stub.on("GET", "/api/v1/nodes", {"items": [_node("a", 2), _node("b", 1), _node("cpu", 0)]})
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    classes = [("standard", default), ("fast", {})]
    http_stub.on(
        "GET",
        "/apis/storage.k8s.io/v1/storageclasses",
        {"items": [{"metadata": {"name": name, "annotations": notes}, "provisioner": "x"} for name, notes in classes]},
    )
    http_stub.on("GET", CONTROLLER, _controller("Always"))
    http_stub.on("GET", PROXY, {"multi_user": True})
    return http_stub


_VERSION = dict.fromkeys(("buildDate", "compiler", "gitCommit", "gitTreeState", "goVersion", "platform"), "x")


def _controller(policy):
    """As KFP 2.17 ships it, with another policy."""
    strategy = {"limit": 2, "retryPolicy": policy} if policy else {}
    defaults = {"spec": {"templateDefaults": {"retryStrategy": strategy}}}
    return {"data": {"executor": "imagePullPolicy: IfNotPresent\n", "workflowDefaults": yaml.safe_dump(defaults)}}


def _claim(phase):
    return {"spec": {"accessModes": ["ReadWriteMany"]}, "status": {"phase": phase}}


def _node(name, gpus, taints=(), **spec):
    taints = [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}, *taints] if gpus else []
    allocatable = {"cpu": "8", **({"nvidia.com/gpu": str(gpus)} if gpus else {})}
    labels = {"nvidia.com/gpu.product": "NVIDIA-L4"} if gpus else {}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints, **spec},
        "status": {"allocatable": allocatable},
    }


@pytest.fixture
def doctor(pada, kubeconfig):
    """Call `pada doctor --target kubernetes`; returns exit code and lines by the name of their check."""

    def call(*more):
        code, out, said = pada("doctor", "--target", "kubernetes", "--kubeconfig", kubeconfig, *more)
        assert said == ""
        assert "never-show" not in out and VALUE not in out and TOKEN not in out
        return code, {line[9:30].strip(): line for line in out.splitlines()}

    return call


def test_a_cluster_that_has_everything(cluster, doctor):
    code, lines = doctor()
    assert code == 0
    assert {line.split()[0] for line in lines.values()} == {"ok"}
    assert lines["cluster"].endswith(f"v1.33.2 at {cluster.url}, as jane@example.org")
    assert lines["namespace pada-agent"].endswith("active")
    assert lines["service account"].endswith("pada-agent-runner is there, acts as runner@p.iam.gserviceaccount.com")
    assert lines["secret pada-agent-llm"].endswith("holds JUDGE_API_KEY, TEACHER_API_KEY")
    assert lines["network policies"].endswith("2: deny-all, llm-egress")
    assert lines["retries"].endswith("Always")
    assert lines["gpu"].endswith("3 allocatable on 2 of 3 nodes: NVIDIA-L4")
    assert lines["storage class"].endswith("standard (default), fast")
    assert lines["model cache"].endswith("pada-agent-models: Bound, ReadWriteMany")
    assert lines["kubeflow"].endswith("is healthy, version unknown, multi-user")
    assert {ask.headers["authorization"] for ask in cluster.asks} == {f"Bearer {TOKEN}"}


MISSING = {"kind": "Status", "message": "not found", "code": 404}
GONE = [
    (SPACE, "namespace pada-agent", "MISSING", "kubectl apply -k manifests/overlays/"),
    (f"{SPACE}/serviceaccounts/pada-agent-runner", "service account", "MISSING", "kubectl apply -k manifests/overlays/"),
    (
        f"{SPACE}/secrets/pada-agent-llm",
        "secret pada-agent-llm",
        "MISSING",
        "kubectl -n pada-agent create secret generic pada-agent-llm "
        '--from-literal=TEACHER_API_KEY="$TEACHER_API_KEY" --from-literal=JUDGE_API_KEY="$JUDGE_API_KEY"',
    ),
    (f"{SPACE}/persistentvolumeclaims/pada-agent-models", "model cache", "note", "none is needed"),
    (PROXY, "kubeflow", "MISSING", "install Kubeflow Pipelines, or give its address with --host"),
]


@pytest.mark.parametrize("path, name, word, mend", GONE)
def test_a_thing_that_is_not_there(cluster, doctor, path, name, word, mend):
    cluster.instead("GET", path, MISSING, status=404)
    code, lines = doctor()
    assert code == (word == "MISSING")
    assert lines[name].startswith(word)
    assert mend in lines[name].split("   ->   ")[1]
    assert [line.split()[0] for other, line in lines.items() if other != name] == ["ok"] * 9


EMPTY = [
    ("/api/v1/nodes", "gpu", "no node offers one now   ->   kubectl -n kube-system get configmap cluster-autoscaler-status"),
    (POLICIES, "network policies", "none: pods may talk"),
    ("/apis/storage.k8s.io/v1/storageclasses", "storage class", "none"),
]


@pytest.mark.parametrize("path, name, found", EMPTY)
def test_an_empty_list(cluster, doctor, path, name, found):
    cluster.instead("GET", path, {"items": []})
    code, lines = doctor()
    assert code == 0
    assert lines[name].startswith("note") and found in lines[name] and "->" in lines[name]


HIDDEN = [
    (SPACE, "namespace pada-agent", "get namespaces/pada-agent"),
    (f"{SPACE}/serviceaccounts/pada-agent-runner", "service account", "get serviceaccounts/pada-agent-runner -n pada-agent"),
    (f"{SPACE}/secrets/pada-agent-llm", "secret pada-agent-llm", "get secrets/pada-agent-llm -n pada-agent"),
    ("/api/v1/nodes", "gpu", "list nodes"),
    (
        "/apis/networking.k8s.io/v1/namespaces/pada-agent/networkpolicies",
        "network policies",
        "list networkpolicies -n pada-agent",
    ),
    ("/apis/storage.k8s.io/v1/storageclasses", "storage class", "list storageclasses"),
    (
        f"{SPACE}/persistentvolumeclaims/pada-agent-models",
        "model cache",
        "get persistentvolumeclaims/pada-agent-models -n pada-agent",
    ),
    (CONTROLLER, "retries", "get configmaps/workflow-controller-configmap -n kubeflow"),
]


@pytest.mark.parametrize("path, name, right", HIDDEN)
def test_what_may_not_be_looked_at_is_not_called_missing(cluster, doctor, path, name, right):
    cluster.instead("GET", path, {"kind": "Status", "message": f"{name} is forbidden: User jane cannot"}, status=403)
    code, lines = doctor()
    assert code == 0
    assert lines[name].startswith("note")
    assert f"no right to look, it may be there (HTTP 403: {name} is forbidden" in lines[name]
    assert lines[name].endswith(f"   ->   kubectl auth can-i {right}")


RETRIES = [
    (_controller("OnError"), "OnError: a stage that ends with an error is not started again, only one whose pod is lost"),
    (_controller(""), "OnFailure, Argo's own default: a stage whose pod is lost is not started again"),
    ({"data": None}, "OnFailure, Argo's own default"),
    ({"data": {"config": yaml.safe_dump({"workflowDefaults": {"spec": None}})}}, "OnFailure, Argo's own default"),
    (_controller("OnTransientError"), "OnTransientError: most failures do not start a stage again"),
    ({"data": {"workflowDefaults": "spec: ["}}, "workflowDefaults that are no YAML mapping"),
    ({"data": {"workflowDefaults": "spec"}}, "workflowDefaults that are no YAML mapping"),
]


@pytest.mark.parametrize("found, said", RETRIES)
def test_which_failures_start_a_task_again(cluster, doctor, found, said):
    cluster.instead("GET", CONTROLLER, found)
    code, lines = doctor()
    assert code == 0
    assert lines["retries"].startswith("note") and said in lines["retries"]
    assert "   ->   kubectl -n kubeflow edit configmap workflow-controller-configmap, and in" in lines["retries"]
    assert lines["retries"].endswith("retryPolicy: Always")


def test_the_policy_in_a_controller_s_one_key(cluster, doctor):
    whole = {"workflowDefaults": yaml.safe_load(_controller("Always")["data"]["workflowDefaults"])}
    cluster.instead("GET", CONTROLLER, {"data": {"config": yaml.safe_dump(whole)}})
    assert doctor()[1]["retries"].startswith("ok")


def test_an_old_cluster_that_cannot_say_who_asks(cluster, doctor):
    cluster.instead("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", MISSING, status=404)
    code, lines = doctor()
    assert code == 0
    assert "v1.33.2" in lines["cluster"]


def test_a_secret_lacks_a_key(cluster, doctor):
    cluster.instead("GET", f"{SPACE}/secrets/pada-agent-llm", {"data": {"TEACHER_API_KEY": VALUE, "JUDGE_API_KEY": ""}})
    code, lines = doctor()
    assert code == 1
    assert "lacks JUDGE_API_KEY" in lines["secret pada-agent-llm"]
    assert lines["secret pada-agent-llm"].endswith("--dry-run=client -o yaml | kubectl apply -f -")


def test_nodes_that_tasks_may_not_use(cluster, doctor):
    taints = [{"key": "team", "value": "vision", "effect": "NoSchedule"}, {"key": "soft", "effect": "PreferNoSchedule"}]
    nodes = [_node("a", 4, taints), _node("b", 2, unschedulable=True)]
    cluster.instead("GET", "/api/v1/nodes", {"items": [*nodes, _node("c", 1)]}, times=1)
    code, lines = doctor()
    assert code == 0
    assert "1 allocatable on 1 of 3 nodes" in lines["gpu"]
    assert lines["gpu of a"].startswith("note") and "tainted team=vision:NoSchedule, which" in lines["gpu of a"]
    assert lines["gpu of b"].endswith("cordoned   ->   kubectl uncordon b")
    cluster.instead("GET", "/api/v1/nodes", {"items": nodes})
    code, lines = doctor()
    assert code == 0
    assert lines["gpu"].startswith("note") and "no node that tasks may use offers one now" in lines["gpu"]


def test_a_pool_that_grows_from_zero_fails_nothing(cluster, doctor):
    node = _node("cpu", 0)
    node["metadata"]["labels"]["cloud.google.com/gke-nodepool"] = "default"
    cluster.instead("GET", "/api/v1/nodes", {"items": [node]})
    code, lines = doctor()
    assert code == 0
    assert lines["gpu"].startswith("note")
    assert "no node offers one now   ->   gcloud container node-pools list" in lines["gpu"]


HUB = {"train": "org/rows", "validation": "org/rows"}


def test_a_config_says_which_keys_and_volumes_are_needed(cluster, doctor, tmp_path, http_stub, monkeypatch):
    changes = {
        "judge": {"api_key_env": "GRADER_KEY"},
        "slm": {"model": "/models/slm"},
        "task": {"train": "b/x", "validation": "b/x"},
    }
    config = write_config(tmp_path / "c.yaml", changes)
    cluster.instead("GET", f"{SPACE}/persistentvolumeclaims/pada-agent-models", MISSING, status=404)
    code, lines = doctor("--config", config)
    assert code == 1
    assert "lacks GRADER_KEY" in lines["secret pada-agent-llm"]
    assert lines["model cache"].startswith("MISSING")


def test_a_config_that_submit_would_refuse(cluster, doctor, tmp_path):
    code, lines = doctor("--config", write_config(tmp_path / "c.yaml", {"task": HUB}))
    assert code == 0
    assert lines["config"].startswith("ok")
    changes = {"task": {**HUB, "train": "train.jsonl"}}
    code, lines = doctor("--config", write_config(tmp_path / "c.yaml", changes))
    assert code == 1
    assert f"task.train: {tmp_path / 'train.jsonl'} is on no volume that prepare_data has; upload it to gs://" in lines["config"]


@pytest.fixture
def package(tmp_path):
    """The whole loop placed by a file that names everything otherwise."""
    placement = {
        "images": {"registry": "registry.example"},
        "service_account": "nlp",
        "secrets": {"llm": "nlp-llm", "storage": "nlp-storage"},
        "model_cache": "nlp-models",
        "roles": {
            "analysis": {"volumes": {"nlp-data": "/data"}},
            "slm": {
                "gpu": {"resource": "amd.com/gpu"},
                "node_selector": {"pool": "gpu"},
                "tolerations": [{"key": "team", "value": "nlp"}, {"key": "old", "operator": "Exists", "effect": "NoExecute"}],
            },
        },
    }
    write_package(Shape(1, 1), Kubernetes(Placement.model_validate(placement)), tmp_path / "loop.yaml")
    return tmp_path / "loop.yaml"


def test_a_package_says_what_it_needs_of_a_cluster(cluster, doctor, package):
    cluster.on("GET", f"{SPACE}/serviceaccounts/nlp", {"metadata": {}})
    cluster.on("GET", f"{SPACE}/secrets/nlp-llm", {"data": {"TEACHER_API_KEY": VALUE, "JUDGE_API_KEY": VALUE}})
    cluster.on("GET", f"{SPACE}/persistentvolumeclaims/nlp-models", _claim("Bound"))
    cluster.on("GET", f"{SPACE}/persistentvolumeclaims/nlp-data", MISSING, status=404)
    taint = {"key": "team", "value": "nlp", "effect": "NoSchedule"}
    nodes = {
        "good": ([taint, {"key": "old", "effect": "NoExecute"}], {"pool": "gpu"}),
        "selected-not": ([taint], {"pool": "cpu"}),
        "of-others": ([{**taint, "value": "vision"}], {"pool": "gpu"}),
        "old-too": ([{"key": "old", "effect": "NoSchedule"}], {"pool": "gpu"}),
    }
    items = [
        {
            "metadata": {"name": name, "labels": labels},
            "spec": {"taints": taints},
            "status": {"allocatable": {"amd.com/gpu": "2"}},
        }
        for name, (taints, labels) in nodes.items()
    ]
    cluster.instead("GET", "/api/v1/nodes", {"items": [*items, _node("b", 4)]})
    code, lines = doctor("--package", package)
    assert code == 1
    assert lines["service account"].endswith("nlp is there")
    assert lines["secret nlp-llm"].startswith("ok") and lines["volume nlp-models"].startswith("ok")
    assert lines["volume nlp-data"].startswith("MISSING")
    assert "2 allocatable on 1 of 5 nodes" in lines["gpu"]
    assert "lacks pool=gpu, which tasks ask for" in lines["gpu of selected-not"]
    assert "tainted team=vision:NoSchedule, which tasks do not tolerate" in lines["gpu of of-others"]
    assert "tainted old:NoSchedule, which" in lines["gpu of old-too"]
    assert "gpu of good" not in lines


def test_a_package_of_a_study_says_what_its_cells_need(cluster, doctor, tmp_path):
    place = Kubernetes(Placement.model_validate({"images": {"registry": "registry.example"}}))
    write_study({}, {}, 1, place, tmp_path / "study.yaml")
    code, lines = doctor("--package", tmp_path / "study.yaml")
    assert code == 0 and "3 allocatable on 2 of 3 nodes" in lines["gpu"]


def test_a_package_without_gpus_asks_no_node_for_one(cluster, doctor, tmp_path):
    placement = Placement.model_validate({"images": {"registry": "registry.example"}, "all": {"gpu": None}})
    write_package(Shape(1, 1), Kubernetes(placement), tmp_path / "loop.yaml")
    code, lines = doctor("--package", tmp_path / "loop.yaml")
    assert code == 0 and "gpu" not in lines
    assert not cluster.asked("GET", "/api/v1/nodes")


def test_another_namespace(cluster, doctor):
    other = "/api/v1/namespaces/team-a"
    cluster.on("GET", other, MISSING, status=404)
    for path in ("serviceaccounts/pada-agent-runner", "secrets/pada-agent-llm", "persistentvolumeclaims/pada-agent-models"):
        cluster.on("GET", f"{other}/{path}", MISSING, status=404)
    cluster.on("GET", "/apis/networking.k8s.io/v1/namespaces/team-a/networkpolicies", {"items": []})
    code, lines = doctor("--namespace", "team-a")
    assert code == 1
    assert lines["namespace team-a"].startswith("MISSING")


def test_a_cluster_that_does_not_answer(doctor):
    code, lines = doctor("--context", "gone")
    assert code == 1
    assert list(lines) == ["cluster"]
    assert "cannot be reached" in lines["cluster"] and "Connection refused" in lines["cluster"]
    assert lines["cluster"].endswith("   ->   kubectl cluster-info")


def test_a_cluster_that_does_not_know_us(http_stub, doctor):
    http_stub.on("GET", "/version/", {"message": "Unauthorized"}, status=401)
    code, lines = doctor()
    assert code == 1
    assert "does not let us in (HTTP 401: Unauthorized)" in lines["cluster"]


@pytest.mark.parametrize("given", [["--context", "none"], ["--kubeconfig", "/nowhere/config"]])
def test_no_usable_kubeconfig(doctor, given):
    code, lines = doctor(*given)
    assert code == 1
    assert "no usable kubeconfig: " in lines["cluster"] and "kubectl config get-contexts" in lines["cluster"]


def test_kubeflow_at_an_address_of_its_own(cluster, doctor, http_stub, monkeypatch):
    monkeypatch.setenv("KFP_TOKEN", TOKEN)
    http_stub.on("GET", HEALTHZ, {"apiServerReady": True, "apiServerTagName": "2.17.0", "multi_user": False})
    code, lines = doctor("--host", http_stub.url, "--token-env", "KFP_TOKEN")
    assert code == 0
    assert "is healthy, 2.17.0, single-user: tasks run in its own namespace" in lines["kubeflow"]
    assert lines["kubeflow"].startswith("note") and "--namespace kubeflow" in lines["kubeflow"]
    http_stub.instead("GET", HEALTHZ, "<html>", headers={"Content-Type": "text/html"})
    code, lines = doctor("--host", http_stub.url, "--token-env", "KFP_TOKEN")
    assert code == 1
    assert "answers with a web page; give the address of KFP's API" in lines["kubeflow"]


def test_object_stores(cluster, doctor, monkeypatch, http_stub):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", http_stub.url)
    with socket.create_server(("127.0.0.1", 0)) as free:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    for name, value in {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    cluster.on("GET", f"{SPACE}/secrets/pada-agent-storage", {"data": {"AWS_ACCESS_KEY_ID": VALUE}})
    http_stub.on("GET", "/storage/v1/b/work/o/w", MISSING, status=404)
    http_stub.on("GET", "/storage/v1/b/work/o", {"items": []})
    http_stub.on("GET", "/storage/v1/b/work", {"name": "work"})
    code, lines = doctor("--work-uri", "gs://work/w", "--export-uri", "file:///tmp/x")
    assert code == 1
    assert "gs://work/w: its bucket is there, seen from this machine" in lines["--work-uri"]
    assert lines["--export-uri"].startswith("MISSING")
    code, lines = doctor("--export-uri", "s3://out/e")
    assert code == 1
    assert "lacks AWS_SECRET_ACCESS_KEY" in lines["secret pada-agent-sto"]  # the name is cut by the fixture
    assert "s3://out/e: cannot be reached" in lines["--export-uri"]


def test_kfp_s_own_store_needs_the_same_keys(cluster, doctor, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    for name, value in {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    cluster.on("GET", f"{SPACE}/secrets/pada-agent-storage", MISSING, status=404)
    code, lines = doctor("--work-uri", "minio://mlpipeline/work")
    assert code == 1
    assert lines["secret pada-agent-sto"].startswith("MISSING")
    assert "minio://mlpipeline/work: cannot be reached" in lines["--work-uri"]


def test_a_config_for_a_package_with_volumes(cluster, doctor, tmp_path):
    for claim in ("claimdata", "claimmodels", "claimscratch"):
        cluster.on("GET", f"{SPACE}/persistentvolumeclaims/{claim}", _claim("Bound"))
    rows = dict.fromkeys(("train", "validation", "test"), "/data/rows.jsonl")
    config = write_config(tmp_path / "c.yaml", {"task": rows, "slm": {"model": "/models/slm"}})
    code, lines = doctor("--config", config, "--package", compile_with_volumes(tmp_path))
    assert code == 0
    assert lines["config"].endswith("fits a cluster and volumes.yaml")
    code, lines = doctor("--config", config)
    assert code == 1
    assert "task.train: /data/rows.jsonl is on no volume that prepare_data has" in lines["config"]


def test_options_for_a_cluster_are_not_for_this_machine(pada):
    code, _, said = pada("doctor", "--host", "http://127.0.0.1:8080")
    assert code == 1
    assert said == "pada: --host: is not an option of --target local; leave it out"
