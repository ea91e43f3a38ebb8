"""The checks of `pada doctor` that look at objects in a Kubernetes cluster."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from pada_agent.pipelines.doctor import Check
from pada_agent.pipelines.kubeflow.cluster.kubernetes_api import SECONDS, Denied, Unanswered, ask, look

STORAGE_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
MODEL_CACHE = "pada-agent-models"
# A pool that grows from zero shows no node until a task waits for one, so that none is there now proves nothing.
POOLS = "kubectl -n kube-system get configmap cluster-autoscaler-status -o yaml: a node group with GPUs may grow"
GKE_POOLS = "gcloud container node-pools list --cluster NAME --location PLACE: a pool with an accelerator may grow"
CONTROLLER, KUBEFLOW = "workflow-controller-configmap", "kubeflow"
# Argo's policies, and what does not start a task again although its package has retries left.
POLICIES = {
    "Always": "",
    "OnError": "a stage that ends with an error is not started again, only one whose pod is lost",
    "OnFailure": "a stage whose pod is lost is not started again, only one that ends with an error",
    "OnTransientError": "most failures do not start a stage again",
}
APPLY = "kubectl apply -k manifests/overlays/local-cluster, or your cluster's overlay"


def cluster(api: Any) -> Check:
    """Its version, and as whom we are known. Raises Unanswered."""
    from kubernetes import client

    where = api.configuration.host
    try:
        version = ask(lambda: client.VersionApi(api).get_code(_request_timeout=SECONDS))
    except Denied as e:
        raise Unanswered(f"{where} does not let us in ({e})", "kubectl auth whoami; log in to the cluster again") from e
    except Unanswered as e:
        raise Unanswered(f"{where} {e}", e.mend) from e
    if version is None:
        raise Unanswered(f"{where} is not a Kubernetes API (no /version)", "kubectl config view --minify")
    try:
        review = client.V1SelfSubjectReview()
        known = ask(lambda: client.AuthenticationV1Api(api).create_self_subject_review(review, _request_timeout=SECONDS))
    except Denied:
        known = None
    user = known.status.user_info.username if known and known.status and known.status.user_info else "a user it does not name"
    return Check("cluster", f"{version.git_version} at {where}, as {user}")


def namespace(api: Any, space: str) -> Check:
    """Whether it is there and not being deleted."""
    from kubernetes import client

    def tell(found: Any) -> Check:
        if found is None:
            return Check(name, "not there", APPLY)
        phase = found.status.phase if found.status else "Active"
        return Check(name, phase.lower(), "" if phase == "Active" else f"wait until it is gone, then {APPLY}")

    name = f"namespace {space}"
    return look(
        name, lambda: client.CoreV1Api(api).read_namespace(space, _request_timeout=SECONDS), tell, f"get namespaces/{space}"
    )


def account(api: Any, space: str, account: str) -> Check:
    """The service account that a run's pods have."""
    from kubernetes import client

    def tell(found: Any) -> Check:
        if found is None:
            return Check(name, f"no service account {account}", APPLY)
        google = (found.metadata.annotations or {}).get("iam.gke.io/gcp-service-account")
        return Check(name, f"{account} is there" + (f", acts as {google}" if google else ""))

    name = "service account"
    read = client.CoreV1Api(api).read_namespaced_service_account
    right = f"get serviceaccounts/{account} -n {space}"
    return look(name, lambda: read(account, space, _request_timeout=SECONDS), tell, right)


def secret(api: Any, space: str, name: str, keys: Sequence[str]) -> Check:
    """Which keys it holds; values are only checked for being empty."""
    from kubernetes import client

    values = " ".join(f'--from-literal={key}="${key}"' for key in keys)
    make = f"kubectl -n {space} create secret generic {name} {values}"

    def tell(found: Any) -> Check:
        if found is None:
            return Check(f"secret {name}", "not there", make)
        filled = {key for key, value in (found.data or {}).items() if value}
        lacking = [key for key in keys if key not in filled]
        if lacking:
            again = f"{make} --dry-run=client -o yaml | kubectl apply -f -"
            return Check(f"secret {name}", f"lacks {', '.join(lacking)}", again)
        return Check(f"secret {name}", f"holds {', '.join(sorted(filled))}")

    read = client.CoreV1Api(api).read_namespaced_secret
    return look(f"secret {name}", lambda: read(name, space, _request_timeout=SECONDS), tell, f"get secrets/{name} -n {space}")


def policies(api: Any, space: str) -> Check:
    """Network policies; whether the cluster enforces them cannot be seen from here."""
    from kubernetes import client

    def tell(found: Any) -> Check:
        names = sorted(item.metadata.name for item in found.items) if found else []
        if not names:
            return Check(name, "none: pods may talk to everything", APPLY, needed=False)
        return Check(name, f"{len(names)}: {', '.join(names)}"[:200])

    name = "network policies"
    read = client.NetworkingV1Api(api).list_namespaced_network_policy
    return look(name, lambda: read(space, _request_timeout=SECONDS), tell, f"list networkpolicies -n {space}")


def retries(api: Any) -> Check:
    """Which failures start a task again: KFP leaves that to the configuration of Argo's controller."""
    from kubernetes import client

    def tell(found: Any) -> Check:
        data = (found.data if found else None) or {}
        try:
            policy = _policy(data)
        except (yaml.YAMLError, AttributeError):
            return Check(name, f"{CONTROLLER} holds workflowDefaults that are no YAML mapping", mend, needed=False)
        said = policy or "OnFailure, Argo's own default"
        lost = POLICIES.get(policy or "OnFailure", "not a policy that Argo documents")
        return Check(name, f"{said}: {lost}" if lost else said, mend if lost else "", needed=False)

    name = "retries"
    mend = (
        f"kubectl -n {KUBEFLOW} edit configmap {CONTROLLER}, and in workflowDefaults set "
        "spec.templateDefaults.retryStrategy.retryPolicy: Always"
    )
    read = client.CoreV1Api(api).read_namespaced_config_map
    right = f"get configmaps/{CONTROLLER} -n {KUBEFLOW}"
    return look(name, lambda: read(CONTROLLER, KUBEFLOW, _request_timeout=SECONDS), tell, right)


def _policy(data: Mapping[str, str]) -> str:
    """The default retry policy of templates in the controller's ConfigMap: by key, or all in the one key `config`."""
    whole = yaml.safe_load(data.get("config", "")) or {}
    defaults = yaml.safe_load(data["workflowDefaults"]) if "workflowDefaults" in data else whole.get("workflowDefaults")
    found: Any = defaults or {}
    for key in ("spec", "templateDefaults", "retryStrategy", "retryPolicy"):
        found = found.get(key) or {}
    return str(found or "")


def gpus(api: Any, resource: str, pod: Mapping[str, Any]) -> Iterator[Check]:
    """GPUs that tasks placed like `pod` may get now, and why not those of other nodes."""
    from kubernetes import client

    nodes_with_gpu: list[Any] = []

    def count(node: Any) -> int:
        return int((node.status.allocatable or {}).get(resource, "0"))

    def tell(nodes: Any) -> Check:
        nodes_with_gpu.extend(node for node in (nodes.items if nodes else []) if count(node))
        usable = [node for node in nodes_with_gpu if not _obstacle(node, pod)]
        if not usable:
            why = "no node that tasks may use offers one now" if nodes_with_gpu else "no node offers one now"
            on_gke = any("cloud.google.com/gke-nodepool" in (n.metadata.labels or {}) for n in (nodes.items if nodes else []))
            return Check("gpu", why, f"{GKE_POOLS if on_gke else POOLS}; else add one", needed=False)
        cards = ", ".join(sorted({_card(node) for node in usable}))
        return Check("gpu", f"{sum(map(count, usable))} allocatable on {len(usable)} of {len(nodes.items)} nodes: {cards}")

    yield look("gpu", lambda: client.CoreV1Api(api).list_node(_request_timeout=SECONDS), tell, "list nodes")
    for node in nodes_with_gpu:
        if obstacle := _obstacle(node, pod):
            name = node.metadata.name
            mend = f"kubectl uncordon {name}" if node.spec.unschedulable else "say so in the placement file, or change the node"
            yield Check(f"gpu of {name}", obstacle, mend, needed=False)


def _obstacle(node: Any, pod: Mapping[str, Any]) -> str:
    """What keeps tasks placed like `pod` away from a node, '' for nothing."""
    if node.spec.unschedulable:
        return "cordoned"
    foreign = [
        f"{taint.key}{f'={taint.value}' if taint.value else ''}:{taint.effect}"
        for taint in node.spec.taints or []
        if taint.effect in {"NoSchedule", "NoExecute"} and not any(_tolerates(t, taint) for t in pod.get("tolerations", []))
    ]
    if foreign:
        return f"tainted {', '.join(foreign)}, which tasks do not tolerate"
    wanted = pod.get("nodeSelector", {}).get("labels", {})
    lacking = [f"{key}={value}" for key, value in wanted.items() if (node.metadata.labels or {}).get(key) != value]
    return f"lacks {', '.join(lacking)}, which tasks ask for" if lacking else ""


def _tolerates(toleration: Mapping[str, Any], taint: Any) -> bool:
    exists = toleration.get("operator") == "Exists"
    return (
        toleration.get("effect", "") in {"", taint.effect}
        and (toleration.get("key", "") == taint.key or (exists and not toleration.get("key")))
        and (exists or toleration.get("value", "") == (taint.value or ""))
    )


def _card(node: Any) -> str:
    labels = node.metadata.labels or {}
    return str(labels.get("nvidia.com/gpu.product") or labels.get("cloud.google.com/gke-accelerator") or "unnamed card")


def storage_class(api: Any) -> Check:
    """The storage classes that volumes can have."""
    from kubernetes import client

    def tell(found: Any) -> Check:
        names = [_class_name(item) for item in found.items] if found else []
        mend = "" if names else "install a storage class; without one no model cache can be made"
        return Check("storage class", ", ".join(names) or "none", mend, needed=False)

    return look(
        "storage class",
        lambda: client.StorageV1Api(api).list_storage_class(_request_timeout=SECONDS),
        tell,
        "list storageclasses",
    )


def volume(api: Any, space: str, claim: str, needed: bool = True) -> Check:
    """A volume claim that tasks mount; the model cache is not needed, except when the config names a path in it."""
    from kubernetes import client

    def tell(found: Any) -> Check:
        if found is None:
            mend = "see manifests/README.md" if needed else "none is needed; see manifests/README.md to fetch models only once"
            return Check(name, f"no volume claim {claim}", mend, needed=needed)
        phase = found.status.phase
        mend = f"kubectl -n {space} describe pvc {claim}" if phase == "Lost" else ""
        return Check(name, f"{claim}: {phase}, {', '.join(found.spec.access_modes or [])}", mend)

    name = "model cache" if claim == MODEL_CACHE else f"volume {claim}"
    read = client.CoreV1Api(api).read_namespaced_persistent_volume_claim
    right = f"get persistentvolumeclaims/{claim} -n {space}"
    return look(name, lambda: read(claim, space, _request_timeout=SECONDS), tell, right)


def _class_name(item: Any) -> str:
    default = (item.metadata.annotations or {}).get("storageclass.kubernetes.io/is-default-class") == "true"
    return str(item.metadata.name) + (" (default)" if default else "")
