"""Finds out whether Kubeflow Pipelines answers at an address, before anything is asked of it.

KFP's own client asks five times with a traceback each, and takes a login page for an answer.

    {"multi_user": true, "pipeline_store": "database"}          healthz of the API server
    {"apiServerReady": true, "apiServerTagName": "2.17.0", ...}  healthz through the UI's server
"""

import http.client
import json
import os
import socket
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from pada_agent.components.core.errors import InputError

HEALTHZ = "/apis/v2beta1/healthz"
FORWARD = "kubectl -n kubeflow port-forward svc/ml-pipeline-ui 8080:80"
_SECONDS = 20.0
_MOST = 1 << 20


@dataclass(frozen=True)
class Health:
    """What KFP says of itself. If it is multi-user, a run belongs to a namespace; `version` is '' if unknown."""

    multi_user: bool
    version: str = ""


def check_host(host: str) -> str:
    """`host` without a slash at its end. Raises InputError when it is no URL."""
    parts = urlsplit(host)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InputError(f"--host: {host.rpartition('@')[2]!r} is not a URL; give e.g. http://127.0.0.1:8080 after `{FORWARD}`")
    if parts.username or parts.password:
        raise InputError("--host: leave user and password out of the URL; give a token with --token-env")
    return host.rstrip("/")


def ask_health(host: str, token: str = "", ca_cert: str = "") -> Health:
    """Ask KFP's API at `host`. Raises InputError that says what is there instead."""
    request = Request(check_host(host) + HEALTHZ, headers={"Accept": "application/json"})
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        # KFP's client knows no proxy variables, so neither does this.
        opener = build_opener(ProxyHandler({}), _Stay(), HTTPSHandler(context=_context(ca_cert)))
        with opener.open(request, timeout=_SECONDS) as reply:
            kind = reply.headers.get("Content-Type", "")
            body = reply.read(_MOST)
    except HTTPError as e:
        raise InputError(refusal(host, e.code, bool(token), e.headers.get("Location", ""))) from e
    except URLError as e:
        raise InputError(unreachable(host, e.reason)) from e
    except (OSError, http.client.HTTPException) as e:
        raise InputError(unreachable(host, e)) from e
    return read_health(host, body, kind)


def read_health(where: str, body: bytes, kind: str = "") -> Health:
    """What a healthz answer says. Raises InputError for anything else."""
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if not isinstance(said, dict) or "kind" in said:
        what = "a web page" if "html" in kind or body.lstrip()[:1] == b"<" else "something other than Kubeflow Pipelines"
        raise InputError(
            f"{where}: answers with {what}; give the address of KFP's API or UI, behind Kubeflow's dashboard that is https://.../pipeline"
        )
    if said.get("apiServerReady") is False:
        raise InputError(f"{where}: KFP's UI is up, its API server is not; see `kubectl -n kubeflow get pods -l app=ml-pipeline`")
    multi_user = said.get("multi_user", said.get("apiServerMultiUser", False))
    return Health(bool(multi_user), str(said.get("apiServerTagName") or said.get("tag_name") or ""))


def refusal(host: str, status: int, token: bool, location: str = "") -> str:
    """One line for an HTTP status that means no answer."""
    if 300 <= status < 400:
        page = location.partition("?")[0] or "another page"
        return (
            f"{host}: sends on to {page}, as a login does; give a token with --token-env, or go past the login with `{FORWARD}`"
        )
    if status == 401:
        todo = "it may have expired: put a fresh one into the variable" if token else "give one with --token-env NAME"
        return f"{host}: {'refuses the token' if token else 'wants a token'} (HTTP 401); {todo}"
    if status == 403:
        return f"{host}: does not let you in (HTTP 403); ask its operator for access, or use another token (--token-env)"
    if status == 404:
        return f"{host}: has no {HEALTHZ} (HTTP 404); give the address of Kubeflow Pipelines 2.x, e.g. after `{FORWARD}`"
    return f"{host}: KFP's API does not answer (HTTP {status}); see `kubectl -n kubeflow get pods -l app=ml-pipeline`"


def unreachable(host: str, error: Any) -> str:
    """One line for a connection that failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{host}: its certificate is not trusted ({error.verify_message}); give the authority's file with --ca-cert"
    if isinstance(error, ssl.SSLError):
        return f"{host}: does not speak TLS ({error.reason}); is it http:// instead of https://?"
    if isinstance(error, socket.gaierror):
        return f"{host}: there is no such host; correct --host"
    if isinstance(error, TimeoutError):
        return f"{host}: no answer within {_SECONDS:.0f} s; is --host right, and does a firewall let you through?"
    if isinstance(error, ConnectionRefusedError):
        return f"{host}: nothing listens there; is `{FORWARD}` running?"
    return f"{host}: no HTTP answer ({type(error).__name__}: {error}); is --host right, https:// instead of http://?"


def authorities(ca_cert: str) -> str:
    """File of the certificate authorities to trust; without one of the user's own, those that KFP's client trusts."""
    import certifi

    return ca_cert or os.environ.get("SSL_CERT_FILE", "") or certifi.where()


def _context(ca_cert: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authorities(ca_cert))
    except OSError as e:
        raise InputError(f"--ca-cert: {ca_cert} cannot be read as certificates ({e.strerror or e})") from e


class _Stay(HTTPRedirectHandler):
    """Follows no redirect: KFP's API has none, and a token must not travel."""

    def redirect_request(self, *arguments: Any) -> None:
        return None
