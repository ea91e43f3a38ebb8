"""Asks a Kubernetes API, and tells apart what is not there, what may not be seen, and a cluster that does not answer."""

import json
import os
from collections.abc import Callable
from typing import Any

from pada_agent.components.core.errors import InputError
from pada_agent.pipelines.doctor import Check

SECONDS = 20


class Denied(Exception):
    """Role-based access control does not show it: it may be there."""


class Unanswered(InputError):
    """The cluster gives no answer; `mend` is the command that shows or mends why."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(what)
        self.mend = mend


def connect(kubeconfig: str = "", context: str = "") -> Any:
    """A client for the cluster of the kubeconfig, or of the pod this runs in. Raises Unanswered."""
    try:
        from kubernetes import client, config
    except ImportError as e:
        raise Unanswered(f"the package kubernetes is not installed ({e})", "pip install 'pada-agent[kfp]'") from e
    settings = client.Configuration()
    try:
        if os.environ.get("KUBERNETES_SERVICE_HOST") and not kubeconfig and not context:
            config.load_incluster_config(client_configuration=settings)
        else:
            config.load_kube_config(kubeconfig or None, context or None, client_configuration=settings)
    except (config.ConfigException, OSError, ValueError, TypeError) as e:
        raise Unanswered(f"no usable kubeconfig: {one_line(e)}", "kubectl config get-contexts; --kubeconfig, --context") from e
    settings.retries = 0
    return client.ApiClient(settings)


def ask(question: Callable[[], Any]) -> Any:
    """The answer, or None for what is not there. Raises Denied and Unanswered."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        return question()
    except ApiException as e:
        if e.status == 404:
            return None
        if e.status in {401, 403}:
            raise Denied(f"HTTP {e.status}: {_message(e)}") from e
        raise Unanswered(f"the cluster answers HTTP {e.status} ({_message(e)})", "kubectl get --raw /readyz") from e
    except (HTTPError, OSError) as e:
        raise Unanswered(f"cannot be reached ({one_line(getattr(e, 'reason', None) or e)})", "kubectl cluster-info") from e


def look(name: str, question: Callable[[], Any], tell: Callable[[Any], Check], right: str) -> Check:
    """What `tell` makes of the answer (None where there is none); `right` is what RBAC would have to allow."""
    try:
        answer = ask(question)
    except Denied as e:
        return Check(name, f"no right to look, it may be there ({e})", f"kubectl auth can-i {right}", needed=False)
    return tell(answer)


def one_line(value: object) -> str:
    """Without line breaks, and not too long for a terminal."""
    return " ".join(str(value).split())[:300]


def _message(error: Any) -> str:
    try:
        return one_line(json.loads(error.body)["message"])
    except (ValueError, TypeError, KeyError):
        return one_line(error.reason or "no reason given")
