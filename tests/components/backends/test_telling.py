"""What a stage tells of itself, and that telling never stands in its way: real servers that are silent or away."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest
from stores import free_port

from pada_agent.components.backends import progress
from pada_agent.components.backends.store.events import told
from pada_agent.components.backends.telling import WAIT_SECONDS, sentence, telling
from pada_agent.components.core.errors import InputError, PassingError

KUBEFLOW = "minio://mlpipeline/v2/artifacts/loop/run-7/train-2/2a50460c-b752-49d9-b128-78b3ed6730a7"


def kinds(folder, run="here"):
    return [event.kind for event in told(str(folder), run).values()]


def test_a_stage_that_ends_well(tmp_path):
    with telling(str(tmp_path), ["/runs/a/02-train-vanilla/adapter"]) as teller:
        teller.tell("ended", seconds=1.5, numbers={"steps": 3, "last loss": 0.5})
    started, ended = told(str(tmp_path), "here").values()
    assert (started.kind, started.task, started.numbers) == ("started", "train-vanilla", {})
    assert (ended.kind, ended.task, ended.seconds, ended.numbers) == (
        "ended",
        "train-vanilla",
        1.5,
        {"steps": 3, "last loss": 0.5},
    )


def test_run_task_and_attempt_are_those_of_the_outputs(tmp_path):
    with telling(str(tmp_path), [f"{KUBEFLOW}/adapter", f"{KUBEFLOW}/executor-logs-1"]):
        pass
    (event,) = told(str(tmp_path), "run-7").values()
    assert (event.task, event.numbers) == ("train-2", {"attempt": 2})


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (InputError("train_data: train.jsonl is empty"), "failed", "InputError: train_data: train.jsonl is empty"),
        (KeyError("sql"), "failed", "KeyError: 'sql'"),
        (MemoryError(), "failed", "MemoryError"),
        (OSError(28, "No space left on device"), "failed", "OSError: [Errno 28] No space left on device"),
        (ValueError("first line\n  second\n" + "x" * 600), "failed", f"ValueError: first line second {'x' * 482}..."),
        (
            SystemExit(143),
            "stopped",
            "terminated; paid replies and checkpoints are kept where they were to be; start it again to go on",
        ),
        (SystemExit("cannot"), "failed", "cannot"),
    ],
)
def test_why_a_stage_did_not_come_to_its_end_is_told_in_one_line(error, kind, message, tmp_path):
    with pytest.raises(type(error)), telling(str(tmp_path), ["/runs/a/05-start/state"]):
        raise error
    assert [(e.kind, e.message) for e in told(str(tmp_path), "here").values()] == [("started", ""), (kind, message)]


def test_a_file_that_may_not_be_read_is_told_with_whose_it_is():
    said = sentence(PermissionError(13, "Permission denied", "/proc/1/mem"))
    assert said.startswith("PermissionError: /proc/1/mem: Permission denied: /proc/1/mem is of user 0")


def test_an_end_that_is_no_failure_is_not_told_as_one(tmp_path):
    with pytest.raises(SystemExit), telling(str(tmp_path), ["/runs/a/02-train-vanilla/adapter"]):
        raise SystemExit(0)
    assert kinds(tmp_path) == ["started"]


def test_under_torchrun_the_first_process_alone_speaks(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with telling(str(tmp_path), ["/runs/a/02-train-vanilla/adapter"]):
        pass
    assert not list(tmp_path.iterdir())


def test_progress_is_told_as_it_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "SOONEST", 0.0)
    with telling(str(tmp_path), ["/runs/a/02-train-vanilla/adapter"]), progress.track("training steps", 9) as track:
        track.advance(4)
        deadline = time.monotonic() + 5
        while len(kinds(tmp_path)) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    _, event = told(str(tmp_path), "here").values()
    assert (event.kind, event.what, event.done, event.total) == ("progress", "training steps", 4, 9)
    with progress.track("training steps", 9) as track:
        track.advance(4)
    assert len(kinds(tmp_path)) == 2, "nobody listens any more"


def test_nothing_is_told_where_nobody_asks_for_it(tmp_path, capsys):
    with telling("", []) as teller:
        teller.tell("ended")
    assert capsys.readouterr().err == "" and not list(tmp_path.iterdir())


def test_outputs_that_do_not_say_whose_they_are_are_one_line(tmp_path, capsys):
    with telling(str(tmp_path), ["gs://bucket/adapter"]):
        pass
    assert capsys.readouterr().err.count("events: the artifacts' URIs do not say which run and task this is") == 1


def test_a_place_that_refuses_is_said_once_and_not_waited_for(tmp_path, capsys):
    (tmp_path / "file").touch()
    began = time.monotonic()
    with telling(f"{tmp_path}/file", ["/runs/a/05-start/state"]) as teller:
        for _ in range(50):
            teller.tell("progress", what="rows", done=1, total=2)
            time.sleep(0.002)
        teller.tell("ended")
    assert time.monotonic() - began < 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith(f"  events: {tmp_path}/file") and "tells no more, and goes on" in said


PROGRAM = """
import sys, time
from pada_agent.components.backends.telling import telling
began = time.monotonic()
with telling("gs://bucket/events", ["/runs/a/05-start/state"]) as teller:
    for _ in range(100):
        teller.tell("progress", what="rows", done=1, total=2)
    assert time.monotonic() - began < 0.5, "telling returns at once"
    time.sleep(1)
    teller.tell("ended")
print(time.monotonic() - began)
"""


@pytest.mark.parametrize("silent", [True, False], ids=["never answers", "is away"])
def test_a_store_that_gives_no_answer_costs_a_few_seconds_at_the_end_and_no_more(silent):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1] if silent else free_port()
        environment = {**os.environ, "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}", "NO_GCE_CHECK": "true"}
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=60, env=environment
        )
        whole = time.monotonic() - began
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert float(done.stdout) < 1 + WAIT_SECONDS + 1
    assert whole - float(done.stdout) < 5, "nor does the program wait for it when it ends"
    assert done.stderr.count("events:") <= 1


def test_what_a_store_did_not_take_in_a_moment_it_is_given_again(tmp_path, capsys, monkeypatch):
    """A folder that is not there yet, as a mount that comes late."""
    from pada_agent.components.backends import telling as module

    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.05)
    late, tell = tmp_path / "mount", module.tell

    def reached(uri, run, event):
        if not late.exists():
            raise PassingError(f"{uri}: cannot be reached (503)")
        tell(uri, run, event)

    monkeypatch.setattr(module, "tell", reached)
    with telling(str(late), ["/runs/a/05-start/state"]) as teller:
        for done in (1, 2, 3):
            teller.tell("progress", what="rows", done=done, total=4)
        time.sleep(0.2)
        late.mkdir()
        teller.tell("ended")
    assert kinds(late) == ["started", "ended"], "progress that was overtaken is not told"
    assert capsys.readouterr().err == f"  events: {late}: cannot be reached (503); it is tried again, and nothing waits for it\n"


STAGE = """
from pada_agent.components.backends import executor

def run(ex):
    {0}

executor._tell_kubernetes = lambda message: print("termination message:", message)
executor.Executor.check_contract = lambda *_: None
executor.main(run)
"""


@pytest.mark.parametrize(
    ("body", "message", "traceback"),
    [
        ("raise executor.InputError('no rows')", "InputError: no rows", False),
        ("{}['sql']", "KeyError: 'sql'", True),
    ],
)
def test_a_program_that_fails_says_one_sentence_everywhere(body, message, traceback, tmp_path):
    given = {
        "inputs": {"parameterValues": {"work_uri": str(tmp_path)}},
        "outputs": {"artifacts": {"plan": {"artifacts": [{"uri": f"{KUBEFLOW}/plan"}]}}, "outputFile": f"{tmp_path}/out.json"},
    }
    (tmp_path / "program.py").write_text(STAGE.format(body))
    command = [sys.executable, str(tmp_path / "program.py"), "--executor-input", json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert ("Traceback" in done.stderr) == traceback and done.stderr.splitlines()[-1] == message
    assert done.stdout == f"termination message: {message}\n"
    assert [e.message for e in told(f"{tmp_path}/events", "run-7").values()] == ["", message]


def test_a_program_that_ends_well_ends_its_log_with_its_numbers(tmp_path):
    given = {"outputs": {"artifacts": {"plan": {"artifacts": [{"uri": f"{tmp_path}/06-analyze-1/plan"}]}}}}
    given["outputs"]["outputFile"] = f"{tmp_path}/out.json"
    body = "ex.say_numbers({'patterns': 4, 'USD': 0.25}); ex.finish()"
    (tmp_path / "program.py").write_text(STAGE.format(body))
    command = [sys.executable, str(tmp_path / "program.py"), "--executor-input", json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == "0 s  4 patterns, USD 0.25\n"
