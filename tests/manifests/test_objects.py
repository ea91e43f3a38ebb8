"""Every way to build the manifests: valid for current Kubernetes, complete, and no more rights than needed."""

import copy
import functools
import ipaddress
import re
from typing import Any

import kubernetes_validate
import manifest_builds
import pytest
import yaml
from kubernetes_validate import utils
from manifest_builds import COMPONENTS, MANIFESTS, OVERLAYS, WAYS, kustomize, named, plain_files, pod_templates, walk

from pada_agent.components.stages import CONTAINERS

VERSIONS = sorted({utils.major_minor(v) for v in utils.all_versions()}, key=lambda v: [int(n) for n in v.split(".")])[-3:]
# Names that the compiled pipelines and `pada doctor` use.
SECRETS = {
    "pada-agent-llm": {"TEACHER_API_KEY", "JUDGE_API_KEY", "SCORER_API_KEY"},
    "pada-agent-storage": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"},
    "pada-agent-hub": {"HF_TOKEN"},
}
# What selectors may rest on besides our own labels: labels that others set, and where that is written.
OTHERS_PODS = {
    ("kube-system", "k8s-app", "kube-dns"),  # Kubernetes' own DNS add-ons
    ("kubeflow", "app", "ml-pipeline"),  # kubeflow/pipelines, manifests/kustomize/base/pipeline
    ("kubeflow", "component", "metadata-grpc-server"),  # ... base/metadata/base
    ("kubeflow", "app", "seaweedfs"),  # ... third-party/seaweedfs
    ("kubeflow", "app", "minio"),  # ... third-party/minio, in older releases
}
OF_A_RUN = ("pipelines.kubeflow.org/v2_component", "true")  # KFP's backend/src/v2/compiler/argocompiler/argo.go
STAGES = {name.replace("_", "-") for name in CONTAINERS}


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_are_valid(everything: list[dict[str, Any]], version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utils, "schema_contents", functools.cache(utils.schema_contents))
    for o in everything:
        assert kubernetes_validate.validate(o, version, strict=True) == version
    wrong = copy.deepcopy(next(o for o in everything if o["kind"] == "Deployment"))
    wrong["spec"]["template"]["spec"]["containers"][0]["startupProb"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="startupProb"):
        kubernetes_validate.validate(wrong, version, strict=True)


@pytest.mark.parametrize("way", WAYS, ids="+".join)
def test_each_way_has_its_objects(build: Any, way: tuple[str, ...]) -> None:
    objects = build(*way)
    names = {(o["kind"], o["metadata"]["name"]) for o in objects}
    assert len(names) == len(objects)
    expected = {("ServiceAccount", "pada-agent-runner"), ("Role", "pada-agent-runner"), ("RoleBinding", "pada-agent-runner")}
    expected |= {("NetworkPolicy", name) for name in ("default-deny", "kfp", "kubernetes-api")}
    if "kfp-standalone" not in way:
        expected |= {("Namespace", "pada-agent"), ("ResourceQuota", "pada-agent")}
    if "gke" in way:
        expected |= {("NetworkPolicy", "google")}
    if "llm-external" in way:
        expected |= {("NetworkPolicy", "llm-external")}
    if "model-hub" in way:
        expected |= {("NetworkPolicy", "model-hub")}
    if "model-cache" in way:
        expected |= {("PersistentVolumeClaim", "pada-agent-models"), ("Job", "pada-agent-models-writable")}
    if "llm-in-cluster" in way:
        expected |= {("NetworkPolicy", "llm-clients"), ("NetworkPolicy", "llm-server"), ("ServiceAccount", "pada-agent-llm")}
        expected |= {(k, n) for k in ("Deployment", "Service", "PersistentVolumeClaim") for n in ("teacher", "judge")}
    assert names == expected
    namespace = "kubeflow" if "kfp-standalone" in way else "pada-agent"
    assert {o["metadata"].get("namespace") for o in objects if o["kind"] != "Namespace"} == {namespace}
    assert {s["namespace"] for o in objects for s in o.get("subjects", [])} == {namespace}


def test_the_namespace_is_restricted_and_known_to_kfp(build: Any) -> None:
    labels = named(build("base"), "Namespace")["pada-agent"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == labels["pod-security.kubernetes.io/warn"] == "restricted"
    assert labels["app.kubernetes.io/part-of"] == "kubeflow-profile"
    assert labels["pipelines.kubeflow.org/enabled"] == "true"
    limits = named(build("base"), "ResourceQuota")["pada-agent"]["spec"]["hard"]
    # Teacher, judge and one run have to fit in.
    assert limits.keys() == {"requests.nvidia.com/gpu", "pods"} and int(limits["requests.nvidia.com/gpu"]) >= 3


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_run_may_do_nothing_but_this(build: Any, overlay: str) -> None:
    objects = build(overlay, "llm-in-cluster", "model-cache")
    (role,) = named(objects, "Role").values()
    assert not {"ClusterRole", "ClusterRoleBinding"} & {o["kind"] for o in objects}
    rights = {
        (group, resource, name, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }
    expected = {("argoproj.io", "workflowtaskresults", "", verb) for verb in ("create", "patch")}
    expected |= {("", "configmaps", "kfp-launcher", "get"), ("", "pods", "", "get")}
    expected |= {("", "secrets", "mlpipeline-minio-artifact", "get")} if overlay == "local-cluster" else set()
    assert rights == expected
    (binding,) = named(objects, "RoleBinding").values()
    assert [(s["kind"], s["name"]) for s in binding["subjects"]] == [("ServiceAccount", "pada-agent-runner")]
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role["metadata"]["name"]}


def test_secrets_are_examples_only(everything: list[dict[str, Any]], build: Any) -> None:
    examples = named(plain_files(), "Secret")
    assert {name: set(o["stringData"]) for name, o in examples.items()} == SECRETS
    assert not any(o["kind"] == "Secret" for way in WAYS for o in build(*way))
    used = [value for o in everything for key, value in walk(o) if key == "secretKeyRef"]
    assert used
    for ref in used:
        assert ref["key"] in SECRETS[ref["name"]]
        assert ref.get("optional") or ref["name"] == "pada-agent-llm", "only the LLM's keys must be there"


def test_policies_rest_on_labels_that_someone_sets(everything: list[dict[str, Any]]) -> None:
    servers = {
        item
        for name, t in pod_templates(everything).items()
        if name in {"teacher", "judge"}
        for item in t["metadata"]["labels"].items()
    }
    ours = {("pada-agent/stage", s) for s in STAGES} | {("pada-agent/egress", "llm"), ("pada-agent/egress", "storage")}
    for policy in (o for o in everything if o["kind"] == "NetworkPolicy"):
        peers = [p for d, way in (("egress", "to"), ("ingress", "from")) for r in policy["spec"].get(d, []) for p in r[way]]
        own = [policy["spec"]["podSelector"], *(p["podSelector"] for p in peers if p.keys() == {"podSelector"})]
        for selector in own:
            items = set(selector.get("matchLabels", {}).items())
            for term in selector.get("matchExpressions", []):
                items |= {(term["key"], v) for v in term.get("values", ["update-state"])}
            assert items <= ours | servers | {OF_A_RUN}, policy["metadata"]["name"]
        for peer in peers:
            if "namespaceSelector" in peer:
                (namespace,) = peer["namespaceSelector"]["matchLabels"].values()
                assert {(namespace, k, v) for k, v in peer["podSelector"]["matchLabels"].items()} <= OTHERS_PODS
        for key, value in walk(policy):
            for block in [value] if key == "cidr" else value if key == "except" else []:
                ipaddress.ip_network(block)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_settings_go_where_they_belong(tree: Any, overlay: str) -> None:
    root = tree()
    settings = root / "overlays" / overlay / "settings.yaml"
    config = yaml.safe_load(settings.read_text())
    mine = {
        "google-service-account": "mine@mine.iam.gserviceaccount.com",
        "kubernetes-api": "10.77.0.1/32",
        "cluster-dns": "10.77.0.53/32",
        "accelerator": "nvidia-h100-80gb",
    }
    defaults, config["data"] = config["data"], {key: mine[key] for key in config["data"]}
    settings.write_text(yaml.safe_dump(config))
    objects = manifest_builds.build(root, overlay, ("llm-in-cluster",))
    text = yaml.safe_dump_all(objects)
    assert not any(o["kind"] == "ConfigMap" for o in objects)
    for key, default in defaults.items():
        assert mine[key] in text and default not in text, key
    policies = named(objects, "NetworkPolicy")
    assert policies["kubernetes-api"]["spec"]["egress"][0]["to"] == [{"ipBlock": {"cidr": "10.77.0.1/32"}}]
    if overlay == "gke":
        account = named(objects, "ServiceAccount")["pada-agent-runner"]
        assert account["metadata"]["annotations"]["iam.gke.io/gcp-service-account"] == mine["google-service-account"]
        for name in ("kfp", "llm-server"):
            rule = policies[name]["spec"]["egress"][0]
            assert rule["to"][0]["ipBlock"]["cidr"] == "10.77.0.53/32" and {p["port"] for p in rule["ports"]} == {53}
        for deployment in named(objects, "Deployment").values():
            selector = deployment["spec"]["template"]["spec"]["nodeSelector"]
            assert selector == {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_builds_as_it_lies_here(tree: Any, overlay: str) -> None:
    policies = named(kustomize(tree() / "overlays" / overlay), "NetworkPolicy")
    assert "llm-external" in policies and "llm-clients" not in policies


def test_the_readme_names_what_is_here() -> None:
    text = (MANIFESTS / "README.md").read_text()
    assert all(f"| `components/{name}` |" in text for name in COMPONENTS)
    paths = re.findall(r"(?:kubectl apply -k |apply -f |EDITOR )manifests/(\S+)", text) + re.findall(
        r"`((?:base|overlays|components)/[\w./-]+)`", text
    )
    assert len(paths) > 10
    assert [path for path in paths if not (MANIFESTS / path).exists()] == []
