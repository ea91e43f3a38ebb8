"""A loopback HTTP server for tests: it answers what it was told, keeps what came in, and fails a test that asks anything else.

    def test_upload(http_stub):                                    # the fixture of tests/conftest.py
        http_stub.on("GET", "/apis/v2beta1/healthz", {"multi_user": False})
        http_stub.on("POST", "/apis/v2beta1/runs", lambda ask: {"run_id": "r1", **ask.json})
        http_stub.on("GET", "/apis/v2beta1/runs/r1", {"state": "RUNNING"}, times=1)
        http_stub.on("GET", "/apis/v2beta1/runs/r1", {"state": "SUCCEEDED"})   # after the one above is used up
        ...
        assert http_stub.asked("POST", "/apis/v2beta1/runs")[0].json["display_name"] == "a run"

The first rule of the same method and path that is not used up (`times`) answers: `reply` is a JSON value, text, bytes or a
function of the ask; `status`, `headers`; `trouble` "reset" breaks the connection instead. A path is compared without its query.
A server that nobody must ask at all is one without rules.
"""

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Ask:
    """One request as it came in; names of headers are in small letters."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def parts(self) -> dict[str, bytes]:
        """The parts of a multipart/form-data body by their names."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        whole = BytesParser().parsebytes(head + self.body)
        return {str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True) for part in whole.walk()}


@dataclass
class Rule:
    """What the stub was told; see the module's head."""

    method: str
    path: str
    reply: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    trouble: str = ""
    times: int = 1_000_000
    used: int = 0


class HttpStub:
    """The server. Thread-safe."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self.asks: list[Ask] = []
        self.unexpected: list[Ask] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def on(self, method: str, path: str, reply: Any = None, **how: Any) -> Rule:
        """Add a rule; see the module's head."""
        rule = Rule(method, path, reply, **how)
        with self._lock:
            self.rules.append(rule)
        return rule

    def instead(self, method: str, path: str, reply: Any = None, **how: Any) -> Rule:
        """Add a rule that goes before all others."""
        rule = self.on(method, path, reply, **how)
        with self._lock:
            self.rules.insert(0, self.rules.pop())
        return rule

    def asked(self, method: str, path: str) -> list[Ask]:
        """What came in for a method and path, in order."""
        return [ask for ask in self.asks if (ask.method, ask.path) == (method, path)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, ask: Ask) -> Rule | None:
        with self._lock:
            self.asks.append(ask)
            fits = (r for r in self.rules if (r.method, r.path) == (ask.method, ask.path) and r.used < r.times)
            rule = next(fits, None)
            if rule is None:
                self.unexpected.append(ask)
            else:
                rule.used += 1
            return rule


@contextmanager
def serving() -> Iterator[HttpStub]:
    """A stub that must not be asked anything it was not told about."""
    stub = HttpStub()
    try:
        yield stub
    finally:
        stub.close()
    said = [f"{ask.method} {ask.path} {ask.query} {ask.body[:500]!r}" for ask in stub.unexpected]
    assert not said, f"the HTTP stub was asked what it was not told about: {said}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up on purpose here."""


def _handler(stub: HttpStub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            ask = Ask(self.command, parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)), headers, body)
            rule = stub.take(ask)
            if rule is None:
                self._send(500, {}, b'{"message": "the stub was not told about this request"}')
            elif rule.trouble == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
            else:
                self._send(rule.status, rule.headers, _bytes(rule.reply(ask) if callable(rule.reply) else rule.reply))

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _any

        def _send(self, status: int, headers: dict[str, str], raw: bytes) -> None:
            self.send_response(status)
            for name, text in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    return Handler


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()
