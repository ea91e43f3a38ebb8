"""A loopback LLM endpoint with OpenAI's batch API beside the chat calls of llm_stub.py, whose rules answer a batch's lines too.

    def test_batches(batch_stub):                                     # the fixture of tests/conftest.py
        batch_stub.on("rate", reply={"score": 8})                     # each line is an ask, as a chat call is one
        batch_stub.on("flaky", status=500, times=1)                   # this line stands in the error file, once
        batch_stub.plan(answers=3, end="expired")                     # the first batch: three lines, then its time is over
        batch_stub.plan(errors=[("token_limit_exceeded", "...")])     # the second one fails before anything is run
        ...                                                           # all others end well
        assert [len(b.lines) for b in batch_stub.batches] == [7, 4, 2]

It behaves as documented (https://developers.openai.com/api/docs/guides/batch): validating, in_progress, finalizing, completed, a
step at each look; files of results only at the end, their lines in another order than they were asked; no file of errors, or of
replies, where there is none; lists from the newest on. `hold` keeps batches in progress. It refuses what the documents forbid.
"""

import json
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from llm_stub import LlmStub, body_of, served

ENDED = {"completed", "failed", "expired", "cancelled"}


@dataclass
class Plan:
    """What becomes of one batch. `end` is its last state, `answers` how many lines are run before, `errors` make it fail."""

    end: str = "completed"
    answers: int = 1_000_000
    errors: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Batch:
    """One batch as the server has it."""

    id: str
    file: str
    lines: list[dict[str, Any]]
    metadata: dict[str, str]
    plan: Plan
    created: float
    status: str = "validating"
    looks: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        return [line["custom_id"] for line in self.lines]

    def json(self) -> dict[str, Any]:
        errors = [{"code": code, "message": said, "line": None, "param": None} for code, said in self.plan.errors]
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "input_file_id": self.file,
            "created_at": int(self.created),
            "status": self.status,
            "metadata": self.metadata,
            "request_counts": self.counts or {"total": len(self.lines), "completed": 0, "failed": 0},
            "errors": {"object": "list", "data": errors} if self.status == "failed" else None,
            **self.outputs,
        }


class BatchStub(LlmStub):
    """The server."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.batches: list[Batch] = []
        self.hold = False
        self.absent: set[str] = set()  # paths that this server does not know, such as "/files"
        self.lose_answers = 0  # to so many requests for a batch, which is made all the same
        self.unlisted = 0  # so many lists do not have the newest batch yet
        self.cut_downloads = 0  # so many are broken off in the middle
        self.queue = 1_000_000  # lines in one batch; a longer one fails for its tokens
        self.calls: list[str] = []  # method and path of each request about batches
        self.headers: list[dict[str, str]] = []  # of each of them
        self.trouble: list[tuple[str, int, dict[str, str]]] = []  # a call, the status it gets next, headers
        self.before: Callable[[str], object] = lambda call: None  # an answer to a request about batches
        self._plans: list[Plan] = []
        self._batch_lock = threading.RLock()
        super().__init__()

    def handler(self) -> type[BaseHTTPRequestHandler]:
        return _with_batches(self, super().handler())

    def plan(self, **how: Any) -> None:
        """What becomes of the next batch that has no plan yet."""
        self._plans.append(Plan(**how))

    def keep(self, content: bytes) -> str:
        with self._batch_lock:
            name = f"file-{len(self.files) + 1}"
            self.files[name] = content
            return name

    def make(self, asked: dict[str, Any]) -> Batch:
        assert asked["endpoint"] == "/v1/chat/completions" and asked["completion_window"] == "24h", asked
        lines = [json.loads(line) for line in self.files[asked["input_file_id"]].splitlines()]
        assert lines and len({line["custom_id"] for line in lines}) == len(lines), "an empty batch, or the same custom_id twice"
        assert all(line["method"] == "POST" and line["url"] == asked["endpoint"] for line in lines)
        assert all(len(line["custom_id"]) <= 64 for line in lines) and len({line["body"]["model"] for line in lines}) == 1
        with self._batch_lock:
            plan = self._plans.pop(0) if self._plans else Plan()
            if len(lines) > self.queue:
                plan = Plan(errors=[("token_limit_exceeded", "Enqueued token limit reached for stub. Limit: 9 tokens.")])
            id_ = f"batch_{len(self.batches) + 1}"
            batch = Batch(id_, asked["input_file_id"], lines, asked.get("metadata") or {}, plan, time.time())
            self.batches.append(batch)
            return batch

    def find(self, id_: str) -> Batch | None:
        return next((batch for batch in self.batches if batch.id == id_), None)

    def look(self, batch: Batch) -> None:
        """Time passes: one step at each look."""
        with self._batch_lock:
            batch.looks += 1
            if batch.status in ENDED:
                return
            if batch.status == "validating":
                batch.status = "failed" if batch.plan.errors else "in_progress"
            elif batch.status == "in_progress" and not self.hold:
                batch.status = "cancelling" if batch.plan.end == "cancelled" else "finalizing"
            elif not self.hold:
                self._run(batch)
                batch.status = batch.plan.end

    def _run(self, batch: Batch) -> None:
        good, bad = [], []
        for number, line in enumerate(batch.lines):
            result: dict[str, Any] = {
                "id": f"batch_req_{number}",
                "custom_id": line["custom_id"],
                "response": None,
                "error": None,
            }
            if number >= batch.plan.answers:
                result["error"] = {"code": f"batch_{batch.plan.end}", "message": "This request could not be executed."}
                bad.append(result)
                continue
            ask, rule = self.take(line["body"], {})
            assert rule is not None, f"the stub was not told about this line: {ask.text}"
            result["response"] = {"status_code": rule.status, "request_id": "r", "body": body_of(ask, rule)}
            (good if rule.status == 200 else bad).append(result)
            self.done(paid=rule.is_completion)
        batch.counts = {"total": len(batch.lines), "completed": len(good), "failed": len(bad)}
        for name, results in (("output_file_id", good), ("error_file_id", bad)):
            if results:
                batch.outputs[name] = self.keep("".join(json.dumps(r) + "\n" for r in reversed(results)).encode())


def serving() -> AbstractContextManager[BatchStub]:
    """A stub that must not be asked anything it was not told about."""
    return served(BatchStub())


def _with_batches(stub: BatchStub, base: type[BaseHTTPRequestHandler]) -> type[BaseHTTPRequestHandler]:
    class Handler(base):  # type: ignore[misc, valid-type]
        def do_POST(self) -> None:
            if self.path.endswith("/chat/completions"):
                super().do_POST()
                return
            self._about_batches("POST", self.rfile.read(int(self.headers["Content-Length"])))

        def do_GET(self) -> None:
            self._about_batches("GET", b"")

        def _about_batches(self, method: str, body: bytes) -> None:
            at = urlsplit(self.path)
            path = at.path.removeprefix("/v1")
            call = f"{method} {path}"
            stub.calls.append(call)
            stub.headers.append(dict(self.headers))
            stub.before(call)
            told = next((t for t in stub.trouble if call.startswith(t[0])), None)
            if told:
                stub.trouble.remove(told)
                self._error(told[1], told[2])
            elif f"/{path.split('/')[1]}" in stub.absent:
                self._error(404)
            elif method == "POST" and path == "/files":
                self._json(_uploaded(stub, self.headers["Content-Type"], body))
            elif method == "POST" and path == "/batches":
                self._make(json.loads(body))
            elif path == "/batches":
                self._list({name: values[0] for name, values in parse_qs(at.query).items()})
            elif path.startswith("/batches/") and (batch := stub.find(path.split("/")[2])):
                stub.look(batch)
                self._json(batch.json())
            elif path.endswith("/content") and path.split("/")[2] in stub.files:
                self._raw(200, stub.files[path.split("/")[2]], "application/octet-stream")
            else:
                self._error(404)

        def _make(self, asked: dict[str, Any]) -> None:
            batch = stub.make(asked)
            if stub.lose_answers:
                stub.lose_answers -= 1
                self.close_connection = True
                self.connection.close()
            else:
                self._json(batch.json())

        def _list(self, query: dict[str, str]) -> None:
            newest = list(reversed(stub.batches))[bool(stub.unlisted) :]
            stub.unlisted = max(0, stub.unlisted - 1)
            if "after" in query:
                newest = newest[[batch.id for batch in newest].index(query["after"]) + 1 :]
            limit = int(query.get("limit", 20))
            page = [batch.json() for batch in newest[:limit]]
            ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {}
            self._json({"object": "list", "data": page, "has_more": len(newest) > limit, **ends})

        def _json(self, value: dict[str, Any]) -> None:
            self._raw(200, json.dumps(value).encode(), "application/json")

        def _error(self, status: int, headers: dict[str, str] | None = None) -> None:
            self._raw(status, b'{"error": {"message": "scripted trouble"}}', "application/json", headers)

        def _raw(self, status: int, raw: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, text in {"Content-Type": kind, "Content-Length": str(len(raw)), **(headers or {})}.items():
                self.send_header(name, text)
            self.end_headers()
            if stub.cut_downloads and kind == "application/octet-stream":
                stub.cut_downloads -= 1
                raw, self.close_connection = raw[: len(raw) // 2], True
            self.wfile.write(raw)

    return Handler


def _uploaded(stub: BatchStub, kind: str, body: bytes) -> dict[str, Any]:
    form = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    parts = {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in form.get_payload()}
    assert parts["purpose"] == b"batch", parts["purpose"]
    name = stub.keep(parts["file"])
    size = len(stub.files[name])
    return {"id": name, "object": "file", "bytes": size, "created_at": int(time.time()), "filename": "f", "purpose": "batch"}
