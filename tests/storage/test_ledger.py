"""The ledger below a URI: nothing confirmed is lost, nothing damaged is believed, two writers do not hurt each other."""

import asyncio
import gc
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from pada_agent.components.backends.llm.client import open_llm
from pada_agent.components.backends.llm.ledger.calls import Call, LedgerWriter, open_ledger
from pada_agent.components.backends.store import objects
from pada_agent.components.core.errors import EndpointError, InputError
from pada_agent.components.core.llm_interface import LlmRequest
from pada_agent.components.core.settings import BudgetSettings, LlmSettings

WRITE = """
import asyncio, sys
from pada_agent.components.backends.llm.ledger.calls import Call, LedgerWriter, open_ledger

async def work():
    writer = LedgerWriter(open_ledger(sys.argv[1]))

    async def pay(number):
        await writer.add(Call(f"{sys.argv[2]}{number}", "name", "m", 1.0, "z" * 2000, "stop", 1, 1))
        print(f"{sys.argv[2]}{number}", flush=True)

    for start in range(0, int(sys.argv[3]), 8):
        await asyncio.gather(*(pay(start + n) for n in range(8)))

asyncio.run(work())
"""


def call(number, text="{}"):
    return Call(f"key{number}", f"name/{number}", "m", 1.0, text, "stop", 10, 2)


def elsewhere(uri, name, calls):
    """A process of its own that pays `calls` calls, eight at a time, and prints the key of each that is kept."""
    return subprocess.Popen([sys.executable, "-c", WRITE, uri, name, str(calls)], stdout=subprocess.PIPE, text=True)


def written(uri):
    return [name for name in objects.names(uri) if name.endswith(".jsonl")]


def test_calls_are_there_again_after_reopening(store):
    uri = f"{store.uri}/ledger/analyze_patterns"
    ledger = open_ledger(f"{uri}/")
    ledger.add([call(1, "naïve\n\ud800 text"), call(2)])
    ledger.add([call(3)])
    assert ledger.path == uri
    del ledger
    again = open_ledger(uri)
    assert [again.get(f"key{n}") for n in (1, 2, 3, 4)] == [call(1, "naïve\n\ud800 text"), call(2), call(3), None]
    assert written(uri) == sorted(written(uri)) and len(written(uri)) == 2


def test_calls_that_wait_for_each_other_share_an_object(store):
    async def work():
        writer = LedgerWriter(open_ledger(store.uri))
        await asyncio.gather(*(writer.add(call(n)) for n in range(50)))

    asyncio.run(work())
    assert len(open_ledger(store.uri)) == 50
    assert len(written(store.uri)) <= 3


def test_every_call_that_a_killed_process_confirmed_is_found_again(store):
    process = elsewhere(store.uri, "k", 100_000)
    confirmed = [process.stdout.readline().strip() for _ in range(40)]
    process.kill()
    confirmed += process.communicate()[0].split()
    ledger = open_ledger(store.uri)
    assert len(confirmed) >= 40 and all(key in ledger for key in confirmed)
    assert (ledger.torn, ledger.unreadable) == (0, 0)


def test_two_processes_write_at_once_and_none_loses_a_call(store):
    processes = [elsewhere(store.uri, name, 24) for name in "ab"]
    for process in processes:
        assert len(process.communicate(timeout=60)[0].split()) == 24
    ledger = open_ledger(store.uri)
    assert len(ledger) == 48


def test_who_opens_it_again_sees_what_others_wrote_since(store):
    mine = open_ledger(store.uri)
    mine.add([call(1)])
    elsewhere(store.uri, "their", 8).communicate(timeout=60)
    assert "their0" not in mine
    assert open_ledger(store.uri) is mine and "their0" in mine and len(mine) == 9


@pytest.mark.parametrize("damage", ["half", "lines", "one letter", "empty"])
def test_a_damaged_object_is_left_out_and_said(store, capsys, damage):
    open_ledger(store.uri).add([call(1)])
    open_ledger(store.uri).add([call(2), call(3)])
    name = written(store.uri)[1]
    raw = objects.read(f"{store.uri}/{name}")
    damaged = {
        "half": raw[:-20],
        "lines": raw[: raw.index(b"\n") + 1],
        "one letter": raw.replace(b"name/2", b"name/9"),
        "empty": b"",
    }
    objects.write(f"{store.uri}/{name}", damaged[damage])
    ledger = open_ledger(store.uri)
    assert (ledger.torn, len(ledger), "key1" in ledger) == (1, 1, True)
    assert "1 unfinished and 0 unreadable left out; what they held is asked again" in capsys.readouterr().err
    ledger.add([call(2), call(3)])
    del ledger
    assert len(open_ledger(store.uri)) == 3


def test_where_it_cannot_be_kept_is_said_before_a_call_is_paid(store):
    uri = f"{store.scheme}://nobody-made-this/ledger"
    with pytest.raises(InputError, match=f"^ledger {uri}/opened.json: there is no such bucket$"):
        open_ledger(uri)


def test_who_may_only_read_cannot_open_it(s3):
    with (
        s3.at(s3.endpoint, AWS_ACCESS_KEY_ID="reader").used(),
        pytest.raises(InputError, match=rf"^ledger {s3.uri}/opened.json: no permission"),
    ):
        open_ledger(s3.uri)


def test_a_store_that_is_gone_in_mid_run_is_one_line(store, cut, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # else both libraries try for the better part of a minute
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    with cut(1 << 40, upwards=True, for_good=True) as proxy:
        ledger = open_ledger(store.uri)
        ledger.add([call(1)])
        proxy.limit = 0
        monkeypatch.setattr("gcsfs.retry.random", SimpleNamespace(random=lambda: -100.0))  # no pauses
        with pytest.raises(
            InputError, match=r"a paid reply could not be written: .* the 1 calls written before are not paid"
        ) as e:
            ledger.add([call(2)])
        assert "\n" not in str(e.value) and "key2" not in ledger


def test_threads_share_it(store):
    ledger = open_ledger(store.uri)
    threads = [threading.Thread(target=ledger.add, args=([call(n)],)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    del ledger
    assert len(open_ledger(store.uri)) == 6


def test_a_batch_is_taken_up_again_from_another_machine(store, batch_stub):
    def opened(**more):
        return open_llm(LlmSettings(model="stub", base_url=batch_stub.url, mode="batch", **more), BudgetSettings(), store.uri)

    asked = {"type": "object"}
    requests = [LlmRequest(f"k{n}", [{"role": "user", "content": f"rate {n}."}], asked, lambda v: v, 0.0) for n in range(3)]
    batch_stub.on("rate", reply={"score": 2})
    batch_stub.trouble = [("GET /batches/", 503, {})] * 1000
    with pytest.raises(EndpointError, match=r"gave no reply for 0\.2 s"):
        opened(give_up_seconds=0.2).ask_all("rate", requests)
    batch_stub.trouble.clear()
    gc.collect()  # the ledger is opened anew
    assert [r.value for r in opened().ask_all("rate", requests)] == [{"score": 2}] * 3
    assert (len(batch_stub.batches), batch_stub.paid) == (1, 3)
    gc.collect()
    assert not open_ledger(store.uri).batches()
