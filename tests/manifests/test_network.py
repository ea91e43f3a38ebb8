"""Which stage reaches what, computed from the built policies and compared with one table."""

import copy
import ipaddress
import itertools
from pathlib import Path
from typing import Any

import pytest
from manifest_builds import plain_files
from network_policies import Pod, Target, allowed, applying, reaches

from pada_agent.components.stages import STUDY_PROGRAMS

STAGES = {
    "prepare-data": "storage",
    "train-lora": "storage",
    "evaluate-slm": "storage",
    "score-answers": "llm",
    "analyze-patterns": "llm",
    "generate-data": "llm",
    "control-quality": "llm",
    "publish-result": "storage",
    "update-state": "storage",
    "study-plan": "storage",
    "study-cell": "llm",
    "study-tables": "storage",
}
OF_A_RUN = {"pipelines.kubeflow.org/v2_component": "true"}
LLM_LABELS = {"app.kubernetes.io/component": "llm-server"}
LLM_STAGES = {stage for stage, egress in STAGES.items() if egress == "llm"}
HUB_STAGES = {"prepare-data", "train-lora", "analyze-patterns", "study-cell"}

DNS = Pod("kube-system", {"k8s-app": "kube-dns"})
KFP = {
    name: Pod("kubeflow", labels)
    for name, labels in {
        "api": {"app": "ml-pipeline"},
        "metadata": {"component": "metadata-grpc-server"},
        "store": {"app": "seaweedfs"},
        "old store": {"app": "minio"},
        "database": {"app": "mysql"},
    }.items()
}
LAUNCHER = {"dns", "dns over tcp", "kfp api", "kfp metadata", "kfp store", "kfp old store", "kubernetes", "kubernetes 443"}
GOOGLE = {
    "dns address",
    "dns address over tcp",
    "node dns",
    "cloud dns",
    "metadata server",
    "node metadata server",
    "cloud storage",
}
ADDRESS = {"local-cluster": "172.18.0.2", "gke": "192.0.2.1"}
COMPONENTS = ["llm-external", "llm-in-cluster", "model-hub"]
CASES = [(overlay, *chosen) for overlay in ("gke", "local-cluster") for chosen in [(), *((c,) for c in COMPONENTS), COMPONENTS]]


def task(stage: str, namespace: str) -> Pod:
    return Pod(namespace, {**OF_A_RUN, "pada-agent/stage": stage, "pada-agent/egress": STAGES[stage]})


def server(name: str, namespace: str) -> Pod:
    return Pod(namespace, {**LLM_LABELS, "app.kubernetes.io/name": name})


def targets(overlay: str, namespace: str) -> dict[str, Target]:
    kubernetes = ADDRESS[overlay]
    return {
        "dns": Target(53, DNS, protocol="UDP"),
        "dns over tcp": Target(53, DNS),
        "kfp api": Target(8887, KFP["api"]),
        "kfp metadata": Target(8080, KFP["metadata"]),
        "kfp store": Target(8333, KFP["store"]),
        "kfp old store": Target(9000, KFP["old store"]),
        "kubernetes": Target(6443, address=kubernetes),
        "kubernetes 443": Target(443, address=kubernetes),
        "dns address": Target(53, address="34.118.224.10", protocol="UDP"),
        "dns address over tcp": Target(53, address="34.118.224.10"),
        "node dns": Target(53, address="169.254.20.10", protocol="UDP"),
        "cloud dns": Target(53, address="169.254.169.254", protocol="UDP"),
        "metadata server": Target(80, address="169.254.169.254"),
        "node metadata server": Target(988, address="169.254.169.252"),
        "cloud storage": Target(443, address="199.36.153.7"),
        "teacher": Target(8000, server("teacher", namespace)),
        "judge": Target(8000, server("judge", namespace)),
        "internet": Target(443, address="93.184.216.34"),
        # From here on: nobody.
        "kfp api over http": Target(8888, KFP["api"]),
        "kfp database": Target(3306, KFP["database"]),
        "dns of another name server": Target(53, address="8.8.8.8", protocol="UDP"),
        "kubelet": Target(10250, address=kubernetes),
        "internet without tls": Target(80, address="93.184.216.34"),
        "metadata server as https": Target(443, address="169.254.169.254"),
        **{f"private {a}": Target(443, address=a) for a in ("10.1.2.3", "100.64.1.1", "172.20.0.9", "192.168.1.1")},
        "teacher's other port": Target(22, server("teacher", namespace)),
        "another task": Target(8000, task("train-lora", namespace)),
        "another namespace": Target(443, Pod("default", {"app": "x"})),
    }


def expected(stage: str, overlay: str, components: tuple[str, ...]) -> set[str]:
    names = LAUNCHER | (GOOGLE if overlay == "gke" else set())
    if ("llm-external" in components and stage in LLM_STAGES) or ("model-hub" in components and stage in HUB_STAGES):
        # Cloud Storage's addresses lie in the public internet.
        names = names | {"internet", "cloud storage"} | ({"kubernetes 443"} if overlay == "gke" else set())
    if "llm-in-cluster" in components and stage in LLM_STAGES:
        names = names | {"teacher", "judge"}
    return names


def policies_of(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [o for o in objects if o["kind"] == "NetworkPolicy"]


def reached(policies: list[dict[str, Any]], pod: Pod, overlay: str) -> set[str]:
    return {name for name, target in targets(overlay, pod.namespace).items() if reaches(policies, pod, target)}


def test_the_stages_are_all_there() -> None:
    folders = (Path(__file__).parents[2] / "components").glob("*/__main__.py")
    assert {name.replace("_", "-") for name in (*(f.parent.name for f in folders), *STUDY_PROGRAMS)} == set(STAGES)


@pytest.mark.parametrize("case", CASES, ids="+".join)
@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_reaches_what_the_table_says(build: Any, stage: str, case: tuple[str, ...]) -> None:
    overlay, components = case[0], case[1:]
    assert reached(policies_of(build(*case)), task(stage, "pada-agent"), overlay) == expected(stage, overlay, components)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("overlay", ["gke", "local-cluster"])
def test_the_same_holds_in_the_namespace_of_kfp(build: Any, stage: str, overlay: str) -> None:
    policies = policies_of(build(overlay, *COMPONENTS, "kfp-standalone"))
    assert reached(policies, task(stage, "kubeflow"), overlay) == expected(stage, overlay, tuple(COMPONENTS))


@pytest.mark.parametrize("case", CASES, ids="+".join)
def test_code_of_a_model_gets_no_wide_address_range(build: Any, case: tuple[str, ...]) -> None:
    mine = applying(policies_of(build(*case)), task("evaluate-slm", "pada-agent"), "Egress")
    rules = [rule for policy in mine for rule in policy["spec"].get("egress", [])]
    assert rules and all(rule.get("to") and rule.get("ports") for rule in rules), "a rule for every address or port"
    for peer in (peer for rule in rules for peer in rule["to"]):
        if "ipBlock" in peer:
            assert ipaddress.ip_network(peer["ipBlock"]["cidr"]).prefixlen >= 16
        else:
            assert peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] in {"kubeflow", "kube-system"}


def test_what_kfp_adds_to_a_run_reaches_no_llm(build: Any) -> None:
    policies = policies_of(build("gke", *COMPONENTS))
    assert reached(policies, Pod("pada-agent", OF_A_RUN), "gke") == LAUNCHER | GOOGLE
    assert reached(policies, Pod("pada-agent", {"app": "stranger"}), "gke") == set()


@pytest.mark.parametrize("namespace", ["pada-agent", "kubeflow"])
def test_servers_are_reached_by_llm_stages_only_and_fetch_weights(build: Any, namespace: str) -> None:
    standalone = ["kfp-standalone"] if namespace == "kubeflow" else []
    policies = policies_of(build("gke", "llm-in-cluster", *standalone))
    for name in ("teacher", "judge"):
        pod = server(name, namespace)
        dns = {"dns", "dns over tcp", "dns address", "dns address over tcp", "node dns", "cloud dns"}
        assert reached(policies, pod, "gke") == dns | {"internet", "cloud storage", "kubernetes 443"}
        # The server's own door, whatever the other side's policies let out.
        door = {s for s in STAGES if allowed(policies, pod, "Ingress", task(s, namespace), Target(8000, pod))}
        assert door == LLM_STAGES


def test_nobody_reaches_a_task(build: Any) -> None:
    policies = policies_of(build("gke", *COMPONENTS))
    for stage, sender in itertools.product(STAGES, [Pod("kubeflow", {}), Pod("pada-agent", {}), server("teacher", "pada-agent")]):
        pod = task(stage, "pada-agent")
        assert not allowed(policies, pod, "Ingress", sender, Target(8000, pod))


def test_kfp_itself_is_left_alone_in_its_own_namespace(build: Any) -> None:
    policies = policies_of(build("gke", *COMPONENTS, "kfp-standalone"))
    for labels in (*(pod.labels for pod in KFP.values()), OF_A_RUN):
        pod = Pod("kubeflow", labels)
        assert not applying(policies, pod, "Egress") and not applying(policies, pod, "Ingress")


def test_the_check_goes_as_evaluate_slm() -> None:
    (check,) = (o for o in plain_files() if o["metadata"]["name"] == "egress-check")
    assert check["spec"]["template"]["metadata"]["labels"] == task("evaluate-slm", "").labels
    (script,) = check["spec"]["template"]["spec"]["containers"][0]["args"]
    door, internet = (line for line in script.splitlines() if line.startswith("nc "))
    assert "$KUBERNETES_SERVICE_HOST" in door and door.endswith("||") and internet.endswith("&&")


def smaller(policies: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Every way of taking one thing out: a policy, a rule, a peer, a port, an exception."""
    ways: list[tuple[str, list[dict[str, Any]]]] = []

    def without(what: str, *path: Any) -> None:
        fewer: Any = copy.deepcopy(policies)
        holder = fewer
        for step in path[:-1]:
            holder = holder[step]
        del holder[path[-1]]
        ways.append((what, fewer))

    for i, policy in enumerate(policies):
        name = policy["metadata"]["name"]
        without(name, i)
        for direction, way in (("egress", "to"), ("ingress", "from")):
            for r, rule in enumerate(policy["spec"].get(direction, [])):
                at = (i, "spec", direction, r)
                without(f"{name} rule {r}", *at)
                for p, peer in enumerate(rule[way]):
                    if len(rule[way]) > 1:
                        without(f"{name} rule {r} peer {p}", *at, way, p)
                    for x in range(len(peer.get("ipBlock", {}).get("except", []))):
                        without(f"{name} rule {r} except {x}", *at, way, p, "ipBlock", "except", x)
                for p in range(len(rule["ports"])):
                    if len(rule["ports"]) > 1:
                        without(f"{name} rule {r} port {p}", *at, "ports", p)
    return ways


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("overlay", ["gke", "local-cluster"])
def test_nothing_can_be_taken_out_unnoticed(build: Any, overlay: str, component: str) -> None:
    pods = [task(stage, "pada-agent") for stage in STAGES]
    pods += [server("teacher", "pada-agent"), Pod("pada-agent", {"app": "stranger"})]

    def table(policies: list[dict[str, Any]]) -> list[set[str]]:
        return [reached(policies, pod, overlay) for pod in pods]

    policies = policies_of(build(overlay, component))
    whole = table(policies)
    dead = [what for what, fewer in smaller(policies) if table(fewer) == whole]
    assert not dead, f"taking these out changes nothing: {dead}"
