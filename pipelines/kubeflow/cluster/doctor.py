"""`pada doctor --target kubernetes`: what a run needs on a cluster, a line each, and the command that mends what is missing.

ok       cluster               v1.33.2 at https://34.1.2.3, as jane@example.org
MISSING  secret pada-agent-llm lacks JUDGE_API_KEY   ->   kubectl -n pada-agent create secret generic ...
note     gpu                   no right to look, it may be there (HTTP 403: ...)   ->   kubectl auth can-i list nodes
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pada_agent.components.core.addresses import addresses, speaks
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import Settings
from pada_agent.pipelines.doctor import Check, prompts, show, store
from pada_agent.pipelines.kubeflow.cluster import checks
from pada_agent.pipelines.kubeflow.cluster.kfp_api import HEALTHZ, Health, ask_health, read_health
from pada_agent.pipelines.kubeflow.cluster.kubernetes_api import SECONDS, Denied, Unanswered, ask, connect
from pada_agent.pipelines.kubeflow.package import KUBERNETES, Package, package_file, read_package
from pada_agent.pipelines.kubeflow.run_order import check_settings
from pada_agent.pipelines.kubeflow.submit_kubernetes import SERVICE_ACCOUNT, Cluster

LLM_KEYS = ("TEACHER_API_KEY", "JUDGE_API_KEY")
_SERVICE = "service ml-pipeline in namespace kubeflow"


@dataclass(frozen=True)
class ClusterTarget:
    """What to look at. `uris`: object store folders by the name of their option; `package`: None is the shipped one."""

    namespace: str
    kubeconfig: str = ""
    context: str = ""
    host: str = ""
    token_env: str = ""
    ca_cert: str = ""
    uris: dict[str, str] = field(default_factory=dict)
    package: Path | None = None


def examine_cluster(settings: Settings | None, target: ClusterTarget, say: Callable[[str], object] = print) -> bool:
    """Print all checks. Returns whether everything needed is there."""
    return show(_checks(settings, target), say)


def _checks(settings: Settings | None, target: ClusterTarget) -> Iterator[Check]:
    package = read_package(target.package or package_file(KUBERNETES), KUBERNETES)
    if settings is not None:
        yield _config(settings, package)
    uris = {a.key: a.value for a in addresses(settings) if a.is_uri} if settings else {}
    uris |= {key: uri for key, uri in target.uris.items() if uri}
    api = None
    try:
        api = connect(target.kubeconfig, target.context)
        yield from _on_cluster(api, settings, package, target.namespace, any(speaks(uri) == "s3" for uri in uris.values()))
    except Unanswered as e:
        yield Check("cluster", str(e), e.mend)
        api = None
    if api is not None or target.host:
        yield _kubeflow(api, target)
    for key, uri in uris.items():
        if key == "prompts":
            yield from prompts(key, uri)
        else:
            yield store(key, uri, to_read=not key.startswith("--"))


def _on_cluster(api: Any, settings: Settings | None, package: Package, space: str, s3: bool) -> Iterator[Check]:
    yield checks.cluster(api)
    yield checks.namespace(api, space)
    yield checks.account(api, space, package.service_account or SERVICE_ACCOUNT)
    keys = dict.fromkeys((llm.api_key_env for llm in settings.llms.values()) if settings else LLM_KEYS)
    if llm := package.secret_of(LLM_KEYS[0]):
        yield checks.secret(api, space, llm, list(keys))
    if s3 and (storage := package.secret_of(checks.STORAGE_KEYS[0])):
        yield checks.secret(api, space, storage, checks.STORAGE_KEYS)
    yield checks.policies(api, space)
    yield checks.retries(api)
    if package.gpu:
        yield from checks.gpus(api, package.gpu, package.pod(*package.runners(("train_lora",))))
    yield checks.storage_class(api)
    for claim in sorted(package.claims):
        yield checks.volume(api, space, claim)
    if not package.claims:
        models = (settings.slm.model, settings.embedding.model) if settings else ()
        yield checks.volume(api, space, checks.MODEL_CACHE, needed=any(model.startswith("/models/") for model in models))


def _config(settings: Settings, package: Package) -> Check:
    """Whether `pada submit` would take the config, with this package."""
    try:
        check_settings(package, settings)
    except InputError as e:
        return Check.failed("config", e)
    return Check("config", f"fits a cluster and {package.path.name}")


def _kubeflow(api: Any, target: ClusterTarget) -> Check:
    where = target.host or _SERVICE
    try:
        if target.host:
            health: Health | None = ask_health(where, Cluster(where, token_env=target.token_env).token(), target.ca_cert)
        else:
            health = _through_cluster(api)
    except Denied as e:
        return Check("kubeflow", f"may not be asked through the cluster ({e})", "give its address with --host", needed=False)
    except Unanswered as e:
        return Check(
            "kubeflow", f"{where}: {e}", "kubectl -n kubeflow get pods -l app=ml-pipeline; or give its address with --host"
        )
    except InputError as e:
        return Check.failed("kubeflow", e)
    if health is None:
        return Check("kubeflow", f"there is no {_SERVICE}", "install Kubeflow Pipelines, or give its address with --host")
    kind = "multi-user" if health.multi_user else "single-user: tasks run in its own namespace"
    elsewhere = not health.multi_user and target.namespace != "kubeflow"
    mend = "pada doctor --target kubernetes --namespace kubeflow, or wherever it is installed" if elsewhere else ""
    return Check("kubeflow", f"{where} is healthy, {health.version or 'version unknown'}, {kind}", mend, needed=False)


def _through_cluster(api: Any) -> Health | None:
    """KFP's health through the Kubernetes API: no port-forward; None where it is not there. Raises Denied and Unanswered."""
    path = f"/api/v1/namespaces/kubeflow/services/ml-pipeline:8888/proxy{HEALTHZ}"
    given = {"auth_settings": ["BearerToken"], "_preload_content": False, "_request_timeout": SECONDS}
    reply = ask(lambda: api.call_api(path, "GET", **given))
    if reply is None:
        return None
    return read_health(_SERVICE, reply[0].data, reply[0].headers.get("Content-Type", ""))
