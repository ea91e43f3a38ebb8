"""A model hub on the loopback that serves data sets out of memory, to huggingface_hub's and datasets' own clients.

    hub.files["owner/name"] = {"README.md": b"---\\nconfigs: ...", "data/train.csv": b"..."}
    hub.private["owner/name"] = "hf_secret"        who does not bring this token is told that there is nothing

It answers as the hub does, by its HTTP API: what a repository holds, and files by ranges. Anything else is an error of the test.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

SHA = "0123456789abcdef0123456789abcdef01234567"
_API = re.compile(r"/api/datasets/(?P<name>[^/]+/[^/]+)(?:/(?P<what>revision|tree|paths-info)/(?P<rev>[^/]+)(?:/(?P<path>.*))?)?")
_FILE = re.compile(r"/datasets/(?P<name>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<path>.*)")


class HubStub:
    """The server. `asked` are the paths that came in."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, str] = {}
        self.asked: list[str] = []
        self.unexpected: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def entries(self, name: str, below: str = "") -> list[dict[str, Any]]:
        """Files and folders of a repository as its API lists them."""
        below = f"{below.strip('/')}/" if below.strip("/") else ""
        files = {path: data for path, data in self.files[name].items() if path.startswith(below)}
        folders = {path[: at.start()] for path in files for at in re.finditer("/", path) if path[: at.start()] + "/" != below}
        found = [
            {"type": "directory", "oid": _oid(f.encode()), "size": 0, "path": f} for f in sorted(folders) if f.startswith(below)
        ]
        return found + [{"type": "file", "oid": _oid(d), "size": len(d), "path": p} for p, d in sorted(files.items())]


@contextmanager
def serving() -> Iterator[HubStub]:
    hub = HubStub()
    try:
        yield hub
    finally:
        hub.close()
    assert not hub.unexpected, f"the hub was asked what it does not know: {hub.unexpected}"


def _oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def _handler(hub: HubStub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            path = urlsplit(self.path).path
            query = dict(parse_qsl(urlsplit(self.path).query))
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hub.asked.append(unquote(path))
            match = _API.fullmatch(path) or _FILE.fullmatch(path)  # before it is unquoted: a revision may have slashes
            if path == "/api/agent-harnesses":
                self._send(404, b"{}")
            elif not match:
                hub.unexpected.append(f"{self.command} {self.path}")
                self._send(500, b"{}")
            elif match["name"] not in hub.files or not self._may(match["name"]):
                self._send(401, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
            elif match.re is _FILE:
                self._file(hub.files[match["name"]], unquote(match["path"]))
            else:
                self._api(match, query, body)

        do_GET = do_HEAD = do_POST = _any

        def _may(self, name: str) -> bool:
            token = hub.private.get(name)
            return not token or self.headers.get("Authorization") == f"Bearer {token}"

        def _api(self, match: re.Match[str], query: dict[str, str], body: bytes) -> None:
            name, what = match["name"], match["what"]
            if what in (None, "revision"):
                siblings = [{"rfilename": path} for path in hub.files[name]]
                self._json(
                    {"id": name, "sha": SHA, "private": name in hub.private, "siblings": siblings, "tags": [], "downloads": 0}
                )
            elif what == "tree":
                below = unquote(match["path"] or "")
                found = hub.entries(name, below)
                if below and not found:
                    self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
                    return
                deep = query.get("recursive", "false").lower() == "true"
                self._json([e for e in found if deep or "/" not in e["path"][len(below) + 1 if below else 0 :]])
            else:
                wanted = (
                    json.loads(body)["paths"]
                    if body.startswith(b"{")
                    else [v for k, v in parse_qsl(body.decode()) if k == "paths"]
                )
                self._json([e for e in hub.entries(name) if e["path"] in wanted])

        def _file(self, files: dict[str, bytes], path: str) -> None:
            if path not in files:
                self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": SHA})
                return
            data, status, more = (
                files[path],
                200,
                {"X-Repo-Commit": SHA, "ETag": f'"{_oid(files[path])}"', "Accept-Ranges": "bytes"},
            )
            if part := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
                first, last = int(part[1]), min(int(part[2] or len(data) - 1), len(data) - 1)
                more["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
                data, status = data[first : last + 1], 206
            self._send(status, data, more)

        def _json(self, value: Any) -> None:
            self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json", "X-Repo-Commit": SHA})

        def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, text in (headers or {}).items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    return Handler
