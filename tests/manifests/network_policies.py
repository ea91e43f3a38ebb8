"""Says who may talk to whom under a set of NetworkPolicies, by the rules of the Kubernetes API reference.

    policies = [{"spec": {"podSelector": {}, "policyTypes": ["Egress"]}, "metadata": {"namespace": "a"}, ...}]
    reaches(policies, Pod("a", {"app": "x"}), Target(port=443, address="203.0.113.1"))   -> False

Namespaces are known by the label kubernetes.io/metadata.name alone, which every cluster sets. Ports are numbers.
"""

import ipaddress
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Pod:
    namespace: str
    labels: dict[str, str] = field(hash=False)


@dataclass(frozen=True)
class Target:
    """A pod, or an address outside."""

    port: int
    pod: Pod | None = None
    address: str = ""
    protocol: str = "TCP"


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for term in selector.get("matchExpressions", []):
        here, operator = labels.get(term["key"]), term["operator"]
        answers = {
            "In": here in term.get("values", []),
            "NotIn": here not in term.get("values", []),
            "Exists": here is not None,
            "DoesNotExist": here is None,
        }
        if not answers[operator]:
            return False
    return True


def peer_matches(peer: dict[str, Any], own_namespace: str, pod: Pod | None, address: str) -> bool:
    if "ipBlock" in peer:
        # Addresses of pods are for selectors: that an implementation may also match them here opens nothing we rely on.
        block = peer["ipBlock"]
        inside = bool(address) and ipaddress.ip_address(address) in ipaddress.ip_network(block["cidr"])
        return inside and not any(ipaddress.ip_address(address) in ipaddress.ip_network(out) for out in block.get("except", []))
    if pod is None:
        return False
    if "namespaceSelector" in peer:
        if not selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": pod.namespace}):
            return False
    elif pod.namespace != own_namespace:
        return False
    return selects(peer.get("podSelector", {}), pod.labels)


def port_matches(ports: list[dict[str, Any]] | None, port: int, protocol: str) -> bool:
    if not ports:
        return True
    return any(
        p.get("protocol", "TCP") == protocol and ("port" not in p or p["port"] <= port <= p.get("endPort", p["port"]))
        for p in ports
    )


def applying(policies: list[dict[str, Any]], pod: Pod, direction: str) -> list[dict[str, Any]]:
    return [
        p
        for p in policies
        if p["metadata"]["namespace"] == pod.namespace
        and direction in p["spec"]["policyTypes"]
        and selects(p["spec"]["podSelector"], pod.labels)
    ]


def allowed(policies: list[dict[str, Any]], pod: Pod, direction: str, other: Pod | None, target: Target) -> bool:
    """Whether the policies on `pod` let it talk to (Egress), or be reached by (Ingress), the other side at the target's port."""
    mine = applying(policies, pod, direction)
    if not mine:
        return True
    way = {"Egress": "to", "Ingress": "from"}[direction]
    address = target.address if direction == "Egress" else ""
    for policy in mine:
        for rule in policy["spec"].get(direction.lower(), []):
            peers = rule.get(way)
            if port_matches(rule.get("ports"), target.port, target.protocol) and (
                not peers or any(peer_matches(peer, policy["metadata"]["namespace"], other, address) for peer in peers)
            ):
                return True
    return False


def reaches(policies: list[dict[str, Any]], pod: Pod, target: Target) -> bool:
    """Both ends must agree."""
    if not allowed(policies, pod, "Egress", target.pod, target):
        return False
    return target.pod is None or allowed(policies, target.pod, "Ingress", pod, target)
