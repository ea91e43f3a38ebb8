"""The LLM client's own work, measured against an endpoint in another process that takes a fixed time for each answer.

`make benchmark` states the share of the ideal. What fails here is a clear mistake, on a busy machine too.
"""

import asyncio
import importlib.util
import os
import sys
import time
from pathlib import Path

import httpx2
import pytest

from pada_agent.components.backends.llm.client import open_llm
from pada_agent.components.backends.llm.connection_pool import ConnectionPool
from pada_agent.components.backends.llm.ledger.in_file import LedgerFile
from pada_agent.components.core.llm_interface import LlmRequest
from pada_agent.components.core.settings import BudgetSettings, LlmSettings

ENDPOINT = Path(__file__).parents[3] / "benchmarks" / "slow_endpoint.py"
SECONDS, CONCURRENCY, ROUNDS = 1.0, 64, 4


@pytest.fixture(scope="module")
def slow_endpoint():
    spec = importlib.util.spec_from_file_location("slow_endpoint", ENDPOINT)
    module = sys.modules["slow_endpoint"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_many_calls_at_once_take_little_more_than_the_endpoint_does(tmp_path, slow_endpoint, monkeypatch):
    written = []
    append = LedgerFile.append
    monkeypatch.setattr(LedgerFile, "append", lambda self, lines: (written.append(lines.count(b"\n")), append(self, lines)))
    requests, handle = [], ConnectionPool.handle_async_request
    monkeypatch.setattr(
        ConnectionPool, "handle_async_request", lambda self, request: (requests.append(self), handle(self, request))[1]
    )
    with slow_endpoint.serving(SECONDS) as url:
        settings = LlmSettings(model="slow", base_url=url, concurrency=CONCURRENCY)
        llm = open_llm(settings, BudgetSettings(calls=10_000), str(tmp_path / "ledger.jsonl"))

        def ask(count, name):
            chats = [[{"role": "user", "content": f"{name} {i}: " + "why did this row fail? " * 60}] for i in range(count)]
            return llm.ask_all(name, [LlmRequest(name, chat, {"type": "object"}, dict, 0.0) for chat in chats])

        ask(1, "first")  # libraries are loaded
        written.clear()
        began, used = time.monotonic(), time.process_time()
        replies = ask(CONCURRENCY * ROUNDS, "row")
        seconds, used = time.monotonic() - began, time.process_time() - used
    assert all(reply.value == slow_endpoint.REPLY for reply in replies)
    assert sum(written) == len(replies)  # each reply is on the disk
    assert len(written) <= len(replies) / 4  # those that come together are written together
    assert len(requests) == len(replies) + 1
    # At 200 ms a call 64 at once leave the one core that the client has 3.1 ms for each; slower machines may take twice that.
    assert used / len(replies) < 0.006
    if os.getloadavg()[0] < os.cpu_count():
        assert ROUNDS * SECONDS / seconds >= 0.6


def test_a_request_looks_at_one_connection_however_many_there_are():
    class Body(httpx2.AsyncByteStream):
        async def __aiter__(self):
            yield b"ok"

    class Connection(httpx2.AsyncBaseTransport):
        asked = closed = 0

        async def handle_async_request(self, request):
            self.asked += 1
            await asyncio.sleep(0.01)
            if request.url.path == "/broken":
                raise httpx2.ReadError("reset")
            return httpx2.Response(200, stream=Body())

        async def aclose(self):
            self.closed += 1

    made = []

    async def go():
        pool = ConnectionPool(lambda: made.append(Connection()) or made[-1])
        async with httpx2.AsyncClient(transport=pool) as client:
            together = [client.get("http://a/") for _ in range(8)]
            assert {r.text for r in await asyncio.gather(*together)} == {"ok"}
            assert [connection.asked for connection in made] == [1] * 8
            for path in ("/", "/broken", "/"):  # one after the other needs one, also after trouble
                try:
                    await client.get(f"http://a{path}")
                except httpx2.ReadError:
                    continue
            assert sorted(connection.asked for connection in made) == [1] * 7 + [4]

    asyncio.run(go())
    assert [connection.closed for connection in made] == [1] * 8
