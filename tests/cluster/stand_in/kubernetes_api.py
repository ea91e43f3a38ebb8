"""A small Kubernetes API for the stand-in cluster: objects by address, no controllers, no admission, everything allowed.

It knows the kinds that `make test-cluster` uses. A real kube-apiserver can take its place, since all else talks to it over HTTP.
"""

import re
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from stand_in.json_server import JsonServer

KINDS = {
    "v1": {
        "pods": "Pod",
        "services": "Service",
        "configmaps": "ConfigMap",
        "secrets": "Secret",
        "serviceaccounts": "ServiceAccount",
        "resourcequotas": "ResourceQuota",
        "namespaces": "Namespace",
        "nodes": "Node",
        "endpoints": "Endpoints",
    },
    "networking.k8s.io/v1": {"networkpolicies": "NetworkPolicy"},
    "rbac.authorization.k8s.io/v1": {"roles": "Role", "rolebindings": "RoleBinding"},
    "authorization.k8s.io/v1": {"selfsubjectaccessreviews": "SelfSubjectAccessReview"},
}
VERBS = ["create", "delete", "get", "list", "patch"]
_PATH = re.compile(
    r"/(?:api|apis)/(?P<group>v1|[^/]+/v1)(?:/namespaces/(?P<space>[^/]+)(?=/))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<part>status|log))?"
)
Object = dict[str, Any]
Key = tuple[str, str, str, str]  # group and version, plural, namespace, name


class KubernetesApi:
    """The server. `logs` gives the text of a pod's log by its name."""

    def __init__(self, namespace: str, logs: Callable[[str], str] = lambda name: "") -> None:
        self.logs = logs
        self.objects: dict[Key, Object] = {}
        self._lock = threading.Lock()
        self._put(("v1", "namespaces", "", namespace), {"kind": "Namespace", "metadata": {"name": namespace}})
        self._put(("v1", "serviceaccounts", namespace, "default"), {"kind": "ServiceAccount", "metadata": {"name": "default"}})
        self.server = JsonServer(self.answer)

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        """HTTP status and JSON value."""
        path = path.rstrip("/")
        if path in _DISCOVERY:
            return 200, _DISCOVERY[path]
        found = _PATH.fullmatch(path)
        group = found["group"] if found else ""
        if not found or found["plural"] not in KINDS.get(group, {}):
            return 404, _failure(404, f"{method} {path} is not known here")
        key = (group, found["plural"], found["space"] or "", found["name"] or "")
        if found["plural"] == "selfsubjectaccessreviews":
            return 201, {**body, "status": {"allowed": True}}
        with self._lock:
            return self._answer(method, key, found["part"], query, body)

    def _answer(self, method: str, key: Key, part: str | None, query: dict[str, str], body: Any) -> tuple[int, Any]:
        there = self.objects.get(key)
        if method == "GET" and not key[3]:
            items = [o for k, o in self.objects.items() if k[:2] == key[:2] and key[2] in {"", k[2]}]
            kind = f"{KINDS[key[0]][key[1]]}List"
            chosen = [o for o in items if _selected(o, query.get("labelSelector", ""))]
            return 200, {"kind": kind, "apiVersion": key[0], "metadata": {"resourceVersion": "1"}, "items": chosen}
        if method == "POST":
            return 201, self._put((*key[:3], body["metadata"]["name"]), body)
        if method == "PATCH" and (there is not None or part is None):
            return 200, self._put(key, _merged(there or {}, body))
        if method == "DELETE" and not key[3]:
            for chosen in [k for k, o in self.objects.items() if k[:3] == key[:3] and _selected(o, query["labelSelector"])]:
                del self.objects[chosen]
            return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        if there is None:
            return 404, _failure(404, f'{key[1]} "{key[3]}" not found')
        if method == "GET":
            return (200, self.logs(key[3])) if part == "log" else (200, there)
        del self.objects[key]
        return 200, there

    def _put(self, key: Key, body: Object) -> Object:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata = {"uid": str(uuid.uuid4()), "creationTimestamp": now, **body["metadata"], "resourceVersion": uuid.uuid4().hex}
        if key[2]:
            metadata["namespace"] = key[2]
        made = {**body, "apiVersion": key[0], "kind": KINDS[key[0]][key[1]], "metadata": metadata}
        if key[1] == "pods":
            made.setdefault("status", {"phase": "Pending"})
        self.objects[key] = made
        return made


def _merged(there: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    base = there if isinstance(there, dict) else {}
    return {**base, **{key: _merged(base.get(key), value) for key, value in patch.items()}}


def _selected(item: Object, selector: str) -> bool:
    labels = item["metadata"].get("labels") or {}
    wanted = [part.partition("=") for part in selector.split(",") if part]
    return all(labels.get(key) == value if equals else key in labels for key, equals, value in wanted)


def _failure(code: int, message: str) -> Object:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}


def _resources(group: str) -> Object:
    cluster = {"namespaces", "nodes", "selfsubjectaccessreviews"}
    listed = [
        {"name": plural, "singularName": "", "kind": kind, "namespaced": plural not in cluster, "verbs": VERBS}
        for plural, kind in KINDS[group].items()
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": listed}


def _groups() -> Object:
    named = [group.partition("/") for group in KINDS if "/" in group]
    versions = [(name, {"groupVersion": f"{name}/{version}", "version": version}) for name, _, version in named]
    groups = [{"name": name, "versions": [version], "preferredVersion": version} for name, version in versions]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


_DISCOVERY = {
    "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.0-stand-in"}
    | dict.fromkeys(("gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"), "stand-in"),
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": _groups(),
    **{f"/{'apis' if '/' in group else 'api'}/{group}": _resources(group) for group in KINDS},
}
