"""A real stage in a process of its own, watched from outside: at work, killed, stopped, failing; its store refusing or away."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml
from llm_stub import serving
from stores import free_port
from whole_run import items, small_run

from pada_agent.components.backends.executor import Executor
from pada_agent.components.backends.record_files import write_json, write_records
from pada_agent.components.backends.store.events import told
from pada_agent.components.core.figures import outcome
from pada_agent.components.core.settings import Settings
from pada_agent.components.prepare_data.__main__ import run as prepare
from pada_agent.components.stages import STAGES

# The stage as its container would start it, but that it speaks at each reply.
STAGE = """
import runpy, sys
from pada_agent.components.backends import progress
progress.SOONEST = progress.LATEST = 0.0
runpy.run_module("pada_agent.components.generate_data", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def teacher():
    with serving() as server:
        server.on("You write training examples", reply=items, delay=0.1)
        yield server


@pytest.fixture(scope="module")
def sources(teacher, tmp_path_factory):
    """Settings, training rows and a plan, as the stages before it leave them."""
    folder = tmp_path_factory.mktemp("sources")
    settings = Settings.model_validate(small_run(teacher.url, "unused", generate={"batch": 1, "share": 1.0}))
    outputs = {name: {"artifacts": [{"uri": str(folder / name)}]} for name in STAGES["prepare_data"].outputs}
    given = {"inputs": {"parameterValues": {"settings": settings.model_dump(mode="json")}}}
    prepare(Executor(json.dumps({**given, "outputs": {"artifacts": outputs, "outputFile": str(folder / "out.json")}})))
    plan = folder / "plan"
    plan.mkdir()
    strategy = {"id": "it1-s1", "pattern_id": "it1-p1", "pattern_name": "grouping", "text": "Count groups."}
    (plan / "strategies.yaml").write_text(yaml.safe_dump([strategy]))
    write_json(plan / "spent.json", {})
    write_records(plan / "training_errors.jsonl", [])
    return settings, folder


@pytest.fixture
def start(sources, tmp_path):
    """start(events_uri, **changed parameters) -> the process."""
    settings, folder = sources
    begun = []

    def begin(events_uri, environment=None, **parameters):
        values = {"settings": STAGES["generate_data"].sections(settings), "work_uri": events_uri.removesuffix("/events")}
        values |= {"ledger": str(tmp_path / "ledger.jsonl"), **parameters}  # not in the store, which may be away
        inputs = {name: {"artifacts": [{"uri": str(folder / name)}]} for name in ("train_data", "plan")}
        task = tmp_path / "07-generate-1-1"
        given = {
            "inputs": {"parameterValues": values, "artifacts": inputs},
            "outputs": {
                "artifacts": {"batches": {"artifacts": [{"uri": str(task / "batches")}]}},
                "outputFile": str(task / "executor_output.json"),
            },
        }
        command = [sys.executable, "-c", STAGE, "--executor-input", json.dumps(given)]
        whole = {**os.environ, "OPENAI_API_KEY": "k", **(environment or {})}
        begun.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=whole))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def wait_for(kind, events_uri, process):
    while not (events := [e for e in told(events_uri, "here").values() if e.kind == kind]):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    return events


def test_a_stage_is_followed_while_it_works_and_after_it_was_killed(events_uri, start):
    process = start(events_uri)
    (started,) = wait_for("started", events_uri, process)
    assert (started.task, started.numbers) == ("generate-1-1", {})
    seen = wait_for("progress", events_uri, process)
    assert process.poll() is None, "it is still at work"
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    left = list(told(events_uri, "here").values())
    assert {e.kind for e in left} == {"started", "progress"}, "nobody says how a killed stage ended"
    last = left[-1]
    assert last.what == "batches written" and seen[0].done <= last.done < last.total == 12
    again = start(events_uri)
    assert again.wait() == 0
    log = again.stderr.read()
    ended = list(told(events_uri, "here").values())[-1]
    assert (ended.kind, ended.numbers["calls"] + ended.numbers["calls paid before"]) == ("ended", 12)
    assert log.splitlines()[-1] == outcome(ended.seconds, ended.numbers)


def test_a_stage_that_is_stopped_says_so(events_uri, start):
    process = start(events_uri)
    wait_for("progress", events_uri, process)
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 143
    last = list(told(events_uri, "here").values())[-1]
    assert (last.kind, last.message) == ("stopped", log.splitlines()[-1])


def test_a_stage_that_fails_says_why(events_uri, start):
    process = start(events_uri, settings={"task": {"name": "gsm8k"}})
    _, log = process.communicate(timeout=60)
    assert process.returncode == 1
    last = list(told(events_uri, "here").values())[-1]
    assert last.kind == "failed" and last.message.startswith("InputError: settings: ")
    assert last.message == log.splitlines()[-1]


def test_a_store_that_refuses_neither_fails_nor_delays_a_stage(s3, start):
    with s3.at(s3.endpoint, AWS_ACCESS_KEY_ID="reader").used():
        process = start(f"{s3.uri}/events")
        began = time.monotonic()
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert log.count("events: ") == 1 and "no permission" in log
    assert time.monotonic() - began < 12 * 0.1 + 20


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_a_store_that_is_away_costs_five_seconds_at_the_end(scheme, start):
    port = free_port()
    away = {"gs": {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}", "NO_GCE_CHECK": "true"}}
    away["s3"] = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}
    process = start(f"{scheme}://runs/events", away[scheme])
    began = time.monotonic()
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert log.count("events: ") <= 1 and "Traceback" not in log
    seconds = int(log.splitlines()[-1].partition(" s")[0])
    assert seconds <= 12 * 0.1 + 6, "how long the stage took"
    assert time.monotonic() - began < seconds + 20
