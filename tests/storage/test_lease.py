"""One process at a time on a folder."""

import json
import subprocess
import sys
import time

import pytest

from pada_agent.components.backends.store import objects
from pada_agent.components.backends.store.lease import STALE_SECONDS, Lease, leased
from pada_agent.components.core.errors import InputError

HOLD = """
import sys, time
from pada_agent.components.backends.store.lease import leased
with leased(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(store):
    """Another process that holds the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, store.uri], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def notes(store):
    return {name: json.loads(objects.read(f"{store.uri}/lease/{name}")) for name in objects.names(f"{store.uri}/lease")}


def rewrite(store, **changes):
    (name, note), *_ = notes(store).items()
    objects.write(f"{store.uri}/lease/{name}", json.dumps({**note, **changes}).encode())


def test_a_second_process_is_refused_by_name_and_the_first_is_not_disturbed(store, holder):
    with pytest.raises(
        InputError, match=rf"^{store.uri}: process {holder.pid} on \S+ is running here, seen \d+ s ago; wait"
    ) as e:
        Lease(store.uri).take()
    assert "\n" not in str(e.value)
    assert len(notes(store)) == 1


def test_after_the_end_the_next_one_need_not_wait(store, capsys):
    for _ in range(2):
        with leased(store.uri) as lease:
            assert len(notes(store)) == 1
            lease.check()
        assert notes(store) == {}
    assert "does not refuse" not in capsys.readouterr().err


def test_a_dead_process_of_this_machine_is_known_to_be_dead(store, holder):
    holder.kill()
    holder.wait()
    with leased(store.uri):
        assert list(notes(store)) == ["000002.json"]


def test_of_another_machine_it_is_waited_until_the_note_is_stale(store, holder):
    holder.kill()
    holder.wait()
    rewrite(store, host="node-4", process="another boot/1/2/3")
    with pytest.raises(InputError, match=f"on node-4 is running here.* the lease ends {STALE_SECONDS:.0f} s after"):
        Lease(store.uri).take()
    rewrite(store, time=time.time() - STALE_SECONDS - 1)
    with leased(store.uri):
        pass


def test_what_else_lies_beside_the_notes_is_left_alone(store):
    objects.write(f"{store.uri}/lease/notes.txt", b"mine")
    with leased(store.uri):
        assert objects.names(f"{store.uri}/lease") == ["000001.json", "notes.txt"]
    assert objects.read(f"{store.uri}/lease/notes.txt") == b"mine"


def test_who_was_taken_for_dead_sees_it_and_stops(store, capsys):
    first = Lease(store.uri)
    first.take()
    rewrite(store, time=1.0)
    with leased(store.uri) as second:
        first.renew()
        with pytest.raises(InputError, match=r"process \d+ on \S+ has taken over this run, so this process stops"):
            first.check()
        first.give_back()
        second.renew()
        second.check()
        assert list(notes(store)) == ["000002.json"]


def test_a_renewed_note_is_young_again(store):
    with leased(store.uri) as lease:
        before = time.time()
        rewrite(store, time=1.0)
        lease.renew()
        ((_, note),) = notes(store).items()
        assert note["time"] >= before - 1


def test_of_several_that_find_a_stale_note_one_takes_over(store):
    objects.write(f"{store.uri}/lease/000007.json", json.dumps({"time": 1.0, "token": "x", "host": "h", "pid": 1}).encode())
    racing = [
        subprocess.Popen([sys.executable, "-c", HOLD, store.uri], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in "abc"
    ]
    while sum(process.poll() is not None for process in racing) < 2:
        time.sleep(0.05)
    left = [process for process in racing if process.poll() is None]
    assert len(left) == 1 and left[0].stdout.readline() == b"held\n"
    left[0].kill()
    for process in racing:
        err = process.communicate()[1]
        assert process is left[0] or b"is running here" in err


def test_a_store_without_conditions_is_said(monkeypatch, capsys):
    monkeypatch.setattr("pada_agent.components.backends.store.lease.create", lambda uri, data: objects.write(uri, data) is None)
    with leased("memory://bucket/careless"):
        assert "this store does not refuse a second writer; do not start two runs on it" in capsys.readouterr().err
