"""A loopback LLM endpoint for tests: real sockets, scripted answers, and a failure for every request it was not told about.

    def test_judge(llm_stub):                                   # the fixture of tests/conftest.py
        llm_stub.on("Rate this batch", reply={"adherence": 8})  # a text that the messages hold
        llm_stub.on(lambda ask: ask.temperature > 0.5, reply=lambda ask: {"n": ask.number})
        llm_stub.on("flaky", status=429, headers={"Retry-After": "1"}, times=1)
        llm_stub.on("flaky", reply={"ok": True})                # after the one above is used up
        settings = LlmSettings(model="stub", base_url=llm_stub.url)
        ...
        assert llm_stub.paid == 3                               # completions sent out, the ones that would cost money

The first rule that matches and is not used up (`times`) answers. What it does: `reply` (a JSON value, or a function of the ask),
`text` (raw content instead), `wrap` ("fence", "prose", "think"), `finish` (finish_reason), `tokens` (input, output; None leaves
usage out), `usage` (more counts), `message` (keys of the message, over its own), `status` + `error` + `headers`, `body` (a whole
body instead), `delay` (seconds before the answer), `drip` (seconds between the answer's bytes), `trouble` ("reset": broken
connection, "cut": half of the body is sent). `reply=from_schema` gives what fits the request's schema.
`stub.refuse_format("json_schema")` answers 400 to such a response_format. An ask that no rule matches gets a 500 that says so,
is kept in `stub.unexpected`, and fails the test that used the fixture.
"""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, TypeVar

_LONG = "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor "


@dataclass(frozen=True)
class Ask:
    """One request as it came in."""

    number: int  # from 1
    body: dict[str, Any]
    headers: dict[str, str]
    at: float = field(default_factory=time.monotonic)

    @property
    def messages(self) -> list[dict[str, str]]:
        return self.body.get("messages", [])

    @property
    def text(self) -> str:
        """All messages in one."""
        return "\n".join(m["content"] for m in self.messages)

    @property
    def last(self) -> str:
        return self.messages[-1]["content"]

    @property
    def temperature(self) -> float:
        return self.body.get("temperature", 1.0)

    @property
    def format(self) -> str:
        """json_schema, json_object or '' for none."""
        return self.body.get("response_format", {}).get("type", "")

    @property
    def schema(self) -> dict[str, Any]:
        """The schema of response_format, {} when there is none."""
        form = self.body.get("response_format", {})
        return form.get("json_schema", form).get("schema", {})


@dataclass
class Rule:
    """What the stub was told; see the module's head."""

    match: str | Callable[[Ask], bool]
    reply: Any = None
    text: str | None = None
    wrap: Literal["", "fence", "prose", "think"] = ""
    finish: str | None = "stop"
    tokens: tuple[int, int] | None = (100, 20)
    message: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    status: int = 200
    error: str = "scripted trouble"
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: float = 0.0
    trouble: Literal["", "reset", "cut"] = ""
    times: int = 1_000_000
    used: int = 0

    @property
    def is_completion(self) -> bool:
        return self.status == 200 and self.body is None

    def matches(self, ask: Ask) -> bool:
        if self.used >= self.times:
            return False
        return self.match in ask.text if isinstance(self.match, str) else self.match(ask)

    def content(self, ask: Ask) -> str:
        if self.text is not None:
            return self.text
        value = self.reply(ask) if callable(self.reply) else self.reply
        text = json.dumps(value, ensure_ascii=False)
        return {
            "": text,
            "fence": f"```json\n{text}\n```",
            "prose": f"Sure, here you are:\n{text}\nLet me know if you need {{more}}.",
            "think": f'<think>They want {{"a": 1}}, so</think>\n{text}',
        }[self.wrap]


class LlmStub:
    """The server. Thread-safe; `url` is the base_url for an OpenAI client."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        self.rules: list[Rule] = []
        self.asks: list[Ask] = []
        self.unexpected: list[Ask] = []
        self.paid = 0
        self.busy = 0
        self.busiest = 0  # the most requests that were open at once
        self._lock = threading.Lock()
        self._server = _Server((address, port), self.handler())
        self.url = f"http://{address}:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """What answers a connection."""
        return _handler(self)

    def on(self, match: str | Callable[[Ask], bool], **how: Any) -> Rule:
        """Add a rule; see the module's head."""
        rule = Rule(match, **how)
        with self._lock:
            self.rules.append(rule)
        return rule

    def refuse_format(self, *formats: str, status: int = 400, error: str = "response_format is not supported here") -> Rule:
        """Be a server that does not know these response_format types. Comes before all other rules."""
        rule = Rule(lambda ask: ask.format in formats, status=status, error=error)
        with self._lock:
            self.rules.insert(0, rule)
        return rule

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, body: dict[str, Any], headers: dict[str, str]) -> tuple[Ask, Rule | None]:
        with self._lock:
            ask = Ask(len(self.asks) + 1, body, headers)
            self.asks.append(ask)
            rule = next((r for r in self.rules if r.matches(ask)), None)
            if rule is None:
                self.unexpected.append(ask)
            else:
                rule.used += 1
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
            return ask, rule

    def done(self, paid: bool) -> None:
        with self._lock:
            self.busy -= 1
            self.paid += paid


Stub = TypeVar("Stub", bound=LlmStub)


def serving() -> AbstractContextManager[LlmStub]:
    """A stub that must not be asked anything it was not told about."""
    return served(LlmStub())


@contextmanager
def served(stub: Stub) -> Iterator[Stub]:
    """`stub`, closed in the end, when it must not have been asked anything it was not told about."""
    try:
        yield stub
    finally:
        stub.close()
    assert not stub.unexpected, f"the LLM stub was asked what it was not told about: {stub.unexpected[0].text[:2000]}"


SOLVER = "Answer what the user asks, as exactly as you can."


def is_solver(ask: Ask) -> bool:
    """Whether a sample is to be solved that one is not shown the answer to."""
    return ask.text.startswith(SOLVER)


def from_schema(ask: Ask) -> Any:
    """Some value that fits the ask's schema; other asks get other texts, and every text is as short as it may be."""
    return value_of(ask.schema, ask.number)


def value_of(schema: dict[str, Any], number: int = 1) -> Any:
    """Some value that fits `schema` (the parts of JSON schema that the stages use); `number` varies texts."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    if kind == "object":
        return {k: value_of(v, number * 10 + i) for i, (k, v) in enumerate(schema.get("properties", {}).items())}
    if kind == "array":
        return [value_of(schema.get("items", {}), number * 10 + i) for i in range(max(1, schema.get("minItems", 1)))]
    if kind == "string":
        text = f"text {number} " + _LONG * 20
        return text[: min(max(12, schema.get("minLength", 0)), schema.get("maxLength", 12))]
    return {"integer": schema.get("minimum", 1), "number": schema.get("minimum", 1), "boolean": True, "null": None}[kind]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up on purpose here; a traceback for each would drown the test's own output."""


def _handler(stub: LlmStub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not self.path.endswith("/chat/completions"):
                self._send(404, {"error": {"message": f"no such path {self.path}"}}, Rule(""))
                return
            ask, rule = stub.take(body, {k.lower(): v for k, v in self.headers.items()})
            paid = False
            try:
                paid = self._answer(ask, rule)
            finally:
                stub.done(paid)

        def _answer(self, ask: Ask, rule: Rule | None) -> bool:
            if rule is None:
                self._send(500, {"error": {"message": "the stub was not told about this request"}}, Rule(""))
                return False
            time.sleep(rule.delay)
            if rule.trouble == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                return False
            self._send(rule.status, body_of(ask, rule), rule)
            return rule.is_completion

        def _send(self, status: int, value: Any, rule: Rule) -> None:
            raw = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            for name, text in rule.headers.items():
                self.send_header(name, text)
            self.end_headers()
            if rule.trouble == "cut":
                self.wfile.write(raw[: len(raw) // 2])
                self.close_connection = True
                with suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)
            elif rule.drip:
                for i in range(len(raw)):
                    self.wfile.write(raw[i : i + 1])
                    time.sleep(rule.drip)
            else:
                self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    return Handler


def body_of(ask: Ask, rule: Rule) -> Any:
    """The body of what the rule answers."""
    if rule.body is not None:
        return rule.body
    if rule.status != 200:
        return {"error": {"message": rule.error, "type": "scripted", "code": None}}
    return _completion(ask, rule)


def _completion(ask: Ask, rule: Rule) -> dict[str, Any]:
    content = rule.content(ask)
    message = {"role": "assistant", "content": content, **rule.message}
    value: dict[str, Any] = {
        "id": f"stub-{ask.number}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": ask.body.get("model", ""),
        "choices": [{"index": 0, "finish_reason": rule.finish, "message": message}],
    }
    if rule.tokens:
        value["usage"] = (
            dict(zip(("prompt_tokens", "completion_tokens", "total_tokens"), (*rule.tokens, sum(rule.tokens)), strict=True))
            | rule.usage
        )
    return value
