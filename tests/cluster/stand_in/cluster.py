"""The whole stand-in: a Kubernetes API, a node and KFP on the loopback, SeaweedFS as the store; and what leads there."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from forks import forks
from kubernetes import client
from stand_in.kubeflow import Kubeflow
from stand_in.kubelet import Kubelet
from stand_in.kubernetes_api import KubernetesApi
from stores import Store, prepared, seaweed

NAMESPACE = "kubeflow"  # of a single-user KFP


@dataclass
class StandIn:
    """Its parts, for a test that wants to look behind the scenes."""

    api: Any
    kubelet: Kubelet
    kubeflow: Kubeflow
    store: Store
    variables: dict[str, str]


@contextmanager
def stand_in(folder: Path, kube_apiserver: str = "", profile: str = "") -> Iterator[StandIn]:
    """A cluster that is there until the block ends.

    `kube_apiserver`: address of a real one, which then takes the API's place; `profile`: namespace of a multi-user KFP.
    """
    namespace = profile or NAMESPACE
    logs = folder / "pods"
    logs.mkdir()
    with ExitStack() as stack:
        fork = stack.enter_context(forks())  # first: pods know the store from their secrets alone
        endpoint = stack.enter_context(seaweed())
        keys = {"AWS_ACCESS_KEY_ID": "runner", "AWS_SECRET_ACCESS_KEY": "secret"}
        store = prepared(Store("s3", {"AWS_ENDPOINT_URL": endpoint, **keys}, "mlpipeline"))
        stack.enter_context(store.used())
        own = None if kube_apiserver else KubernetesApi(namespace)
        if own:
            stack.callback(own.server.close)
        url = own.server.url if own else kube_apiserver
        api = client.ApiClient(client.Configuration(host=url))
        kubelet = Kubelet(api, namespace, fork, logs)
        stack.callback(kubelet.stop)
        if own:
            own.logs = kubelet.log
        kubeflow = Kubeflow(api, namespace, folder / "runs", bool(profile))
        stack.callback(kubeflow.server.close)
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(_kubeconfig(url)))
        variables = {
            "KUBECONFIG": str(kubeconfig),
            "KFP_HOST": kubeflow.server.url,
            "STORE": "minio://mlpipeline/tests",
            "STORE_ENDPOINT": endpoint,
            "REGISTRY": "registry.example/team",
            **keys,
        }
        yield StandIn(api, kubelet, kubeflow, store, variables)


def _kubeconfig(url: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": url}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
    }
