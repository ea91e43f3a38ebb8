"""Batches whose asker is killed, ended, or asks for something else when it comes back: nothing is paid twice."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import rating
from rating import ask, asks, lines_of

from pada_agent.components.backends.llm.exchange import Exchange
from pada_agent.components.backends.llm.ledger.calls import open_ledger
from pada_agent.components.core.errors import EndpointError, InputError
from pada_agent.components.core.settings import BudgetSettings

opened = partial(rating.opened, mode="batch")
CHILD = """
import sys
from types import SimpleNamespace

from rating import asks, opened

from pada_agent.components.backends.signals import ending_in_order

with ending_in_order():
    opened(SimpleNamespace(url=sys.argv[1]), sys.argv[2], mode="batch").ask_all("rate", asks(6))
"""


def child(stub, ledger):
    path = os.pathsep.join([str(Path(rating.__file__).parent), os.environ.get("PYTHONPATH", "")])
    arguments = [sys.executable, "-c", CHILD, stub.url, str(ledger)]
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def stopped(process, stub, how):
    """Once it waits for its batch."""
    while not (stub.batches and stub.batches[0].looks):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    time.sleep(0.3)  # until it waits for the next look
    os.kill(process.pid, how)
    return process.communicate()


def killed(stub, tmp_path):
    """The ledger of a process that was killed while it waited for a batch of asks(6), which is in progress."""
    stub.hold, ledger = True, tmp_path / "l.jsonl"
    stopped(child(stub, ledger), stub, signal.SIGKILL)
    return ledger


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stopped_while_it_waits_the_same_batch_is_waited_for_again(batch_stub, tmp_path, capsys, how):
    batch_stub.on("rate", reply={"score": 2})
    batch_stub.hold, ledger = True, tmp_path / "l.jsonl"
    process = child(batch_stub, ledger)
    _, said = stopped(process, batch_stub, how)
    assert process.returncode == (-how if how == signal.SIGKILL else 128 + how)
    if how != signal.SIGKILL:
        assert "goes on at the provider (batch_1): start the run again and it takes their replies in" in said
        assert "Traceback" not in said
    batch_stub.hold = False
    llm = opened(batch_stub, ledger)
    assert [r.value for r in llm.ask_all("rate", asks(6))] == [2] * 6
    assert (llm.usage.paid_calls, llm.usage.replayed) == (6, 0)
    assert "batch batch_1 was made before: the replies to 6 requests in it are waited for" in capsys.readouterr().err
    assert (len(batch_stub.batches), batch_stub.paid, batch_stub.calls.count("POST /files")) == (1, 6, 1)


def test_ended_while_the_batch_is_made_its_id_is_waited_for(batch_stub, tmp_path):
    ledger, processes = tmp_path / "l.jsonl", []

    def end_and_be_slow(call):
        if call == "POST /batches":
            processes[0].terminate()
            time.sleep(0.5)

    batch_stub.before = end_and_be_slow
    processes.append(child(batch_stub, ledger))
    _, said = processes[0].communicate()
    assert processes[0].returncode == 128 + signal.SIGTERM and "goes on at the provider (batch_1)" in said
    assert [line["id"] for line in lines_of(ledger) if "id" in line] == ["batch_1"]


def test_killed_before_the_batch_s_id_was_noted_it_is_found_by_its_mark(batch_stub, tmp_path):
    batch_stub.on("rate", reply={"score": 2})
    ledger, processes = tmp_path / "l.jsonl", []
    make = batch_stub.make

    def kill_and_make(asked):
        batch = make(asked)
        processes[0].kill()
        processes[0].wait()
        return batch

    batch_stub.make = kill_and_make
    processes.append(child(batch_stub, ledger))
    processes[0].communicate()
    assert [sorted(line) for line in lines_of(ledger)] == [["keys", "mark", "time"]], "noted before, without an id"
    for n in range(150):  # others of the account's, made since: more than a page
        batch_stub.batches.append(replace(batch_stub.batches[0], id=f"other_{n}", metadata={}))
    batch_stub.make = make
    assert [r.value for r in opened(batch_stub, ledger).ask_all("rate", asks(6))] == [2] * 6
    assert (batch_stub.paid, batch_stub.calls.count("POST /batches")) == (6, 1)
    assert "GET /batches/batch_1" in batch_stub.calls and not any("other" in call for call in batch_stub.calls)


def test_a_batch_in_doubt_at_a_provider_that_lists_none_is_not_made_again(batch_stub, tmp_path):
    ledger = tmp_path / "l.jsonl"
    ledger.write_text(
        json.dumps({"mark": "m", "time": time.time(), "keys": [Exchange(r, "stub", 2048).key for r in asks(6)]}) + "\n"
    )
    batch_stub.trouble = [("GET /batches", 405, {})]
    with pytest.raises(EndpointError, match=r"has no batch API at this address .*HTTP 405"):
        opened(batch_stub, ledger).ask_all("rate", asks(6))
    assert batch_stub.calls == ["GET /batches"]


def test_what_a_batch_holds_besides_is_there_when_it_is_asked_for(batch_stub, tmp_path):
    batch_stub.on("rate 0.", status=500, times=1)
    batch_stub.on("rate", reply={"score": 2})
    ledger = killed(batch_stub, tmp_path)
    batch_stub.hold = False
    for part in (asks(2), [*asks(4)[1:], ask("rate more")], asks(6)):
        assert [r.value for r in opened(batch_stub, ledger).ask_all("rate", part)] == [2] * len(part)
    assert (batch_stub.paid, [len(b.lines) for b in batch_stub.batches]) == (7, [6, 1, 1])
    assert not open_ledger(str(ledger)).batches()


def test_chats_that_pay_for_what_is_in_a_batch_say_so(batch_stub, tmp_path, capsys):
    batch_stub.on("rate", reply={"score": 2})
    ledger = killed(batch_stub, tmp_path)
    for asked, said in ([ask("rate another")], ""), ([*asks(2), ask("rate more")], "2 requests are in batch batch_1"):
        assert [r.value for r in opened(batch_stub, ledger, mode="chat").ask_all("rate", asked)] == [2] * len(asked)
        err = capsys.readouterr().err
        assert said in err and ("cancel it at the provider" in err) == bool(said)


def test_killed_when_the_file_was_sent_another_is_sent_and_one_batch_made(batch_stub, tmp_path):
    batch_stub.on("rate", reply={"score": 2})
    ledger, processes, keep = tmp_path / "l.jsonl", [], batch_stub.keep

    def keep_and_kill(content):
        processes[0].kill()
        processes[0].wait()
        return keep(content)

    batch_stub.keep = keep_and_kill
    processes.append(child(batch_stub, ledger))
    processes[0].communicate()
    batch_stub.keep = keep
    assert (len(batch_stub.files), lines_of(ledger)) == (1, [])
    assert [r.value for r in opened(batch_stub, ledger).ask_all("rate", asks(6))] == [2] * 6
    assert (batch_stub.paid, len(batch_stub.batches), batch_stub.calls.count("GET /batches")) == (6, 1, 0)


def test_killed_before_the_batch_was_made_it_is_made_once(batch_stub, tmp_path):
    batch_stub.on("rate", reply={"score": 2})
    ledger, processes = tmp_path / "l.jsonl", []

    def not_taken(asked):
        processes[0].kill()
        raise ConnectionAbortedError

    make, batch_stub.make = batch_stub.make, not_taken
    processes.append(child(batch_stub, ledger))
    processes[0].communicate()
    batch_stub.make = make
    assert [r.value for r in opened(batch_stub, ledger).ask_all("rate", asks(6))] == [2] * 6
    assert len(batch_stub.batches) == 1 and "end" in lines_of(ledger)[1]


def test_killed_while_replies_are_taken_in_they_are_read_again_and_not_paid_again(batch_stub, tmp_path):
    batch_stub.on("rate", reply={"score": 2})
    ledger = tmp_path / "l.jsonl"
    opened(batch_stub, ledger).ask_all("rate", asks(6))
    kept = [line for line in ledger.read_text().splitlines(keepends=True) if '"end"' not in line]
    again = tmp_path / "again.jsonl"
    again.write_text("".join(kept[:5]))  # two notes, three replies
    llm = opened(batch_stub, again)
    assert [r.value for r in llm.ask_all("rate", asks(6))] == [2] * 6
    assert (llm.usage.replayed, llm.usage.paid_calls, batch_stub.paid, len(batch_stub.batches)) == (3, 3, 6, 1)
    assert not open_ledger(str(again)).batches()


@pytest.mark.parametrize("gone", ["batch", "file"])
def test_a_batch_that_is_not_there_any_more_is_asked_anew(batch_stub, tmp_path, capsys, gone):
    batch_stub.on("rate", reply={"score": 2})
    ledger = killed(batch_stub, tmp_path)
    batch_stub.hold = False
    ledger.write_text("".join(json.dumps({**line, "time": line["time"] - 3e6}) + "\n" for line in lines_of(ledger)))
    if gone == "batch":
        batch_stub.batches[0].id = "batch_of_another_account"
    else:
        batch_stub.batches[0].status, batch_stub.batches[0].outputs = "completed", {"output_file_id": "file-deleted"}
    assert [r.value for r in opened(batch_stub, ledger).ask_all("rate", asks(6))] == [2] * 6
    assert "not at the provider any more" in capsys.readouterr().err
    assert [len(b.lines) for b in batch_stub.batches] == [6, 6]


def test_a_batch_that_another_process_asked_teaches_no_form(batch_stub, tmp_path):
    batch_stub.on("This cannot be used", reply={"score": 3})
    batch_stub.on("rate", text="two")
    ledger = killed(batch_stub, tmp_path)
    batch_stub.hold = False
    llm = opened(batch_stub, ledger)
    assert [r.value for r in llm.ask_all("rate", asks(6))] == [3] * 6
    assert llm._batches._dialect.form == 0, "who knows whether that batch was asked by a schema"


def test_caps_know_of_the_batch_that_is_taken_up(batch_stub, tmp_path):
    batch_stub.on("rate", reply={"score": 2})
    ledger = killed(batch_stub, tmp_path)
    batch_stub.hold = False
    llm = opened(batch_stub, ledger, BudgetSettings(calls=7))
    replies = llm.ask_all("rate", asks(9))
    assert [r.value for r in replies] == [2] * 7 + [None] * 2 and replies[8].unasked
    assert (batch_stub.paid, [len(b.lines) for b in batch_stub.batches]) == (7, [6, 1])


def test_a_batch_of_other_requests_is_not_waited_for(batch_stub, tmp_path):
    batch_stub.on("rate", reply={"score": 2})
    ledger = killed(batch_stub, tmp_path)
    batch_stub.before = lambda call: setattr(batch_stub, "hold", len(batch_stub.batches) < 2)
    assert opened(batch_stub, ledger).ask_all("rate", [ask("rate another")])[0].value == 2
    assert batch_stub.batches[0].status == "in_progress"


def test_a_full_ledger_makes_no_batch(batch_stub, tmp_path):
    llm = opened(batch_stub, tmp_path / "l.jsonl")
    llm._ledger._store.full = "the disk is full"
    with pytest.raises(InputError, match="the disk is full"):
        llm.ask_all("rate", asks(2))
    assert not batch_stub.calls
