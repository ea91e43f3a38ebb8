import asyncio
import json
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace

import pytest

from pada_agent.components.backends.llm.ledger.calls import Call, Ledger, LedgerWriter, call_key, open_ledger
from pada_agent.components.core.errors import InputError

MESSAGES = [{"role": "user", "content": "Name the pattern"}]


def call(number: int, text: str = "{}") -> Call:
    return Call(f"key{number}", f"name/{number}", "m", 1.0, text, "stop", 10, 2)


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_call_is_there_again_after_reopening(tmp_path):
    path = tmp_path / "a" / "ledger.jsonl"
    ledger = open_ledger(str(path))
    ledger.add([call(1, "naïve\n\ud800 text")])
    ledger.close()
    del ledger
    again = open_ledger(str(path))
    assert again.get("key1") == call(1, "naïve\n\ud800 text")
    assert again.get("key2") is None
    assert len(path.read_text().splitlines()) == 1


def test_the_key_is_of_what_is_asked_and_nothing_else():
    key = call_key("m", MESSAGES, {"type": "object"}, 0, "", 0)
    assert key == call_key("m", [dict(reversed(MESSAGES[0].items()))], {"type": "object"}, 0.0, "", 0)
    others = [
        call_key("n", MESSAGES, {"type": "object"}, 0, "", 0),
        call_key("m", [{"role": "user", "content": "Name it"}], {"type": "object"}, 0, "", 0),
        call_key("m", [{"role": "system", "content": "Name the pattern"}], {"type": "object"}, 0, "", 0),
        call_key("m", MESSAGES, {"type": "array"}, 0, "", 0),
        call_key("m", MESSAGES, {"type": "object"}, 0.7, "", 0),
        call_key("m", MESSAGES, {"type": "object"}, 0, "1", 0),
        call_key("m", MESSAGES, {"type": "object"}, 0, "", 64),
    ]
    assert len({key, *others}) == 8


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_last_line_is_cut_off_and_the_file_goes_on_whole(tmp_path, capsys, cut):
    path = tmp_path / "ledger.jsonl"
    ledger = open_ledger(str(path))
    ledger.add([call(1), call(2)])
    ledger.close()
    path.write_bytes(path.read_bytes()[:-cut])
    again = open_ledger(str(path))
    assert (again.torn, len(again), "key1" in again, "key2" in again) == (1, 1, True, False)
    assert "1 unfinished and 0 unreadable left out" in capsys.readouterr().err
    again.add([call(3)])
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == ["key1", "key3"]


def test_whole_lines_that_are_no_calls_are_left_out_and_said(tmp_path, capsys):
    path = tmp_path / "ledger.jsonl"
    ledger = open_ledger(str(path))
    ledger.add([call(1)])
    ledger.close()
    path.write_bytes(b'{"key": "x"}\n\0\0\0\n[1]\n' + path.read_bytes())
    again = open_ledger(str(path))
    assert (again.unreadable, len(again)) == (3, 1)
    assert "0 unfinished and 3 unreadable left out" in capsys.readouterr().err


def test_a_second_process_is_refused_in_one_line(tmp_path):
    path = tmp_path / "ledger.jsonl"
    ledger = open_ledger(str(path))
    code = "import sys; from pada_agent.components.backends.llm.ledger.calls import open_ledger; open_ledger(sys.argv[1])"
    second = python(code, str(path))
    assert second.returncode == 1
    assert f"ledger {path}: another process is using it" in second.stderr.splitlines()[-1]
    ledger.close()
    assert python(code, str(path)).returncode == 0


def test_one_process_may_open_it_twice_and_sees_the_same(tmp_path):
    path = tmp_path / "ledger.jsonl"
    first, second = open_ledger(str(path)), open_ledger(str(path))
    first.add([call(1)])
    assert "key1" in second


def test_a_ledger_nobody_holds_is_given_free(tmp_path):
    path = tmp_path / "ledger.jsonl"
    open_ledger(str(path)).add([call(1)])
    code = "import sys; from pada_agent.components.backends.llm.ledger import calls; print(len(calls.open_ledger(sys.argv[1])))"
    assert python(code, str(path)).stdout == "1\n"


def test_a_file_that_was_replaced_is_opened_anew(tmp_path):
    path = tmp_path / "ledger.jsonl"
    first = open_ledger(str(path))
    first.add([call(1)])
    path.unlink()
    assert len(open_ledger(str(path))) == 0


def test_without_a_path_it_is_in_memory_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ledger = open_ledger("")
    ledger.add([call(1)])
    assert "key1" in ledger
    assert "key1" not in open_ledger("")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"ledger .*file/ledger.jsonl: cannot be opened for writing"):
        open_ledger(str(tmp_path / "file" / "ledger.jsonl"))


def test_a_full_disk_leaves_whole_lines_only_and_says_what_to_do(tmp_path):
    path = tmp_path / "ledger.jsonl"
    code = """
        import resource, signal, sys
        from pada_agent.components.backends.llm.ledger.calls import Call, open_ledger
        from pada_agent.components.core.errors import InputError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        ledger = open_ledger(sys.argv[1])
        ledger.add([Call("first", "n", "m", 1.0, "x" * 500, "stop", 1, 1)])
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # stands for a disk with 300 bytes left
        try:
            ledger.add([Call("second", "n", "m", 1.0, "y" * 500, "stop", 1, 1)])
        except InputError as e:
            print(e, "second" in ledger)
    """
    done = python(code, str(path))
    assert "a paid reply could not be written" in done.stdout, done.stderr
    assert "the 1 calls written before are not paid again" in done.stdout
    assert done.stdout.endswith("False\n")
    again = open_ledger(str(path))
    assert (len(again), again.torn, again.unreadable) == (1, 0, 0)


KILLED_AGAIN_AND_AGAIN = """
    import os, random, resource, signal, sys, time
    from pada_agent.components.backends.llm.ledger.calls import Call, open_ledger

    path, chance, confirmed, torn = sys.argv[1], random.Random(0), [], 0

    def write(round, pipe):
        ledger = open_ledger(path)
        if round % 2:  # the kernel kills it inside a write, at this byte
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            end = os.path.getsize(path) + chance.randrange(20_000)
            resource.setrlimit(resource.RLIMIT_FSIZE, (end, end))
        for number in range(1_000_000):
            text = "z" * chance.randrange(6_000)
            ledger.add([Call(f"{round}/{number}", "n", "m", 1.0, text, "stop", 1, 1)])
            os.write(pipe, b".")

    for round in range(int(sys.argv[2])):
        told, tell = os.pipe()
        child = os.fork()
        if not child:
            write(round, tell)
        os.close(tell)
        count = 0
        if round % 2 == 0:
            count = len(os.read(told, 1))  # it has begun
            time.sleep(chance.uniform(0, 0.02))
            os.kill(child, signal.SIGKILL)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == (signal.SIGXFSZ if round % 2 else signal.SIGKILL)
        while more := os.read(told, 4096):
            count += len(more)
        os.close(told)
        chance.random()
        confirmed += [f"{round}/{n}" for n in range(count)]
        ledger = open_ledger(path)
        assert all(key in ledger for key in confirmed), "a confirmed call is gone"
        assert len(ledger) <= len(confirmed) + round + 1, "there are calls that nobody added"
        assert ledger.unreadable == 0
        torn += ledger.torn
        ledger.close()
        del ledger
    print(len(confirmed), torn)
"""


def test_what_add_returned_from_survives_a_kill_at_any_moment(tmp_path):
    done = python(KILLED_AGAIN_AND_AGAIN, str(tmp_path / "ledger.jsonl"), "40")
    assert done.returncode == 0, done.stderr
    confirmed, torn = map(int, done.stdout.split())
    assert confirmed >= 40
    assert torn >= 15, "the kills inside a write hit none"


def test_the_writer_gathers_calls_while_the_disk_is_busy_and_loses_none(tmp_path, monkeypatch):
    ledger = open_ledger(str(tmp_path / "ledger.jsonl"))
    batches = []
    add = type(ledger).add
    monkeypatch.setattr(type(ledger), "add", lambda self, calls: (batches.append(len(calls)), add(self, calls))[1])

    async def work() -> None:
        writer = LedgerWriter(ledger)
        await asyncio.gather(*(writer.add(call(n)) for n in range(50)))
        assert all(f"key{n}" in ledger for n in range(50))

    asyncio.run(work())
    assert sum(batches) == 50
    assert len(batches) < 10


def test_the_writer_passes_a_full_disk_on_to_all_who_wait(tmp_path, monkeypatch):
    ledger = open_ledger(str(tmp_path / "ledger.jsonl"))

    def full(self, calls):
        raise InputError("disk full")

    monkeypatch.setattr(type(ledger), "add", full)

    async def work() -> list[object]:
        writer = LedgerWriter(ledger)
        return await asyncio.gather(*(writer.add(call(n)) for n in range(3)), return_exceptions=True)

    assert [str(e) for e in asyncio.run(work())] == ["disk full"] * 3


def test_what_was_paid_is_written_even_when_the_one_who_waits_is_cancelled(tmp_path):
    ledger = open_ledger(str(tmp_path / "ledger.jsonl"))

    async def work() -> None:
        writer = LedgerWriter(ledger)
        tasks = [asyncio.create_task(writer.add(call(n))) for n in range(3)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await writer.drain()

    asyncio.run(work())
    assert len(ledger) == 3


def test_what_was_paid_is_written_even_when_the_event_loop_is_broken_off(tmp_path, monkeypatch):
    """As Ctrl-C does it: all tasks are cancelled, the writer's too, while one write is under way and others wait."""
    ledger = open_ledger(str(tmp_path / "ledger.jsonl"))
    add, busy = Ledger.add, threading.Event()

    def slow(self, calls):
        busy.set()
        time.sleep(0.2)
        add(self, calls)

    monkeypatch.setattr(Ledger, "add", slow)

    async def pay() -> None:
        writer = LedgerWriter(ledger)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(writer.add(call(0)))
                await asyncio.to_thread(busy.wait)
                for number in (1, 2):
                    group.create_task(writer.add(call(number)))
                asyncio.get_running_loop().call_soon(sys.exit, 130)
                await asyncio.sleep(60)
        finally:
            await writer.drain()

    with pytest.raises(SystemExit):
        asyncio.run(pay())
    assert [json.loads(line)["key"] for line in (tmp_path / "ledger.jsonl").read_text().splitlines()] == ["key0", "key1", "key2"]


def test_what_is_known_of_batches_is_there_again_and_calls_of_older_ledgers_are_read(tmp_path):
    path = tmp_path / "ledger.jsonl"
    ledger = open_ledger(str(path))
    ledger.note_batch("first", keys=["key1", "key2"])
    ledger.note_batch("second", keys=["key3"])
    ledger.note_batch("second", id="batch_2")
    ledger.note_batch("third", keys=["key4"])
    ledger.note_batch("third", id="batch_3")
    ledger.note_batch("third", end="completed")
    ledger.add([replace(call(4), batch="batch_3")])
    ledger.close()
    del ledger
    old = '{"key":"old","name":"n","model":"m","time":1.0,"text":"{}","finish":"stop","input_tokens":1,"output_tokens":2}\n'
    lines = (path.read_text() + old).splitlines(keepends=True)
    path.write_text("".join(reversed(lines)))  # two writers' objects may come in any order
    again = open_ledger(str(path))
    assert {(n.mark, n.id, n.keys) for n in again.batches()} == {
        ("first", "", ("key1", "key2")),
        ("second", "batch_2", ("key3",)),
    }
    assert (again.get("old").batch, again.get("key4").batch, again.unreadable, len(again)) == ("", "batch_3", 0, 2)
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"mark": "x"}\n{"mark": "x", "time": "soon"}\n{"mark": "x", "time": 1, "keys": 3}\n')
    assert open_ledger(str(broken)).unreadable == 3
