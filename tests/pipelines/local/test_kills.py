"""Every stage killed at every kind of moment and started again: the same final state, the same artifacts, nothing paid twice.

Real stages with a tiny model, a stub for the LLMs, real processes and real signals. One run for each kind of moment and signal:
in each of its stages it is killed there, and the start after that goes on until it is killed in the next.
"""

import hashlib
import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from forks import Death
from llm_stub import serving
from whole_run import ACCOUNTING, small_run, teach

from pada_agent.components.backends.store.events import told
from pada_agent.pipelines.local.run_directory import files_in

TASKS = ("01-prepare", "02-train-vanilla", "04-evaluate-vanilla", "05-start", "06-analyze-1", "07-generate-1-1")
TASKS += ("08-control-1-1", "15-merge-1", "16-train-1", "17-evaluate-1", "18-score-1")
AGENTS = ("06-analyze-1", "07-generate-1-1", "08-control-1-1")
# Audit events of Python: what a stage does just when it has done a part of its work.
WORKING = {
    "prepare": ("os.rename", "*/.train_data.*/manifest.json"),
    "train": ("open", "*/checkpoint-*/trainer_state.json", 2),  # the second has weights and optimizer and lacks the rest
    "evaluate": ("os.rename", "*/.predictions.*/validation.jsonl"),
    "start": ("os.rename", "*/05-start/synthetic_data/synthetic.jsonl"),
    "merge": ("os.rename", "*/15-merge-1/synthetic_data/synthetic.jsonl"),
    "score": ("os.rename", "*/18-score-1/synthetic_data/synthetic.jsonl"),
}
FIRST = {
    "prepare": ("os.rename", "*/01-prepare/train_data"),
    "train": ("os.rename", "*/checkpoints/*/run.json"),  # a whole checkpoint that nothing names yet
    "evaluate": ("os.rename", "*-evaluate-*/predictions"),
    "start": ("os.rename", "*/05-start/state/state.json"),
    "merge": ("os.rename", "*/15-merge-1/state/state.json"),
    "score": ("os.rename", "*/18-score-1/state/state.json"),
}
VOLATILE = ACCOUNTING | {"seconds", "resumed_from"}


class Reaper:
    """Sends a signal to a process that asks the stub its `nth` question."""

    def __init__(self):
        self.pid = self.number = self.left = 0

    def set(self, number, nth):
        self.number, self.left = number, nth

    def __call__(self, ask):
        self.left -= 1
        if self.left == 0:
            os.kill(self.pid, self.number)
            time.sleep(0.1)  # the answer must not be faster than the signal
        return False


@pytest.fixture(scope="module")
def reaper():
    return Reaper()


@pytest.fixture(scope="module")
def stub(reaper):
    with serving() as server:
        server.on(reaper)
        teach(server)
        yield server


@pytest.fixture(scope="module")
def command(tmp_path_factory, stub, tiny_slm):
    """Arguments of a run; all are in one place, one after another, for paths are part of what is compared."""
    folder = tmp_path_factory.mktemp("kills")
    values = small_run(stub.url, tiny_slm, train={"checkpoints": 2}, analyze={"sample": 5, "k_max": 2}, generate={"batch": 2})
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    return ["run", "--config", str(folder / "config.yaml"), "--run-dir", str(folder / "run")]


@pytest.fixture
def run_dir(command, tmp_path):
    """Where the command runs, empty before and after."""
    folder = Path(command[-1])
    yield folder
    folder.rename(tmp_path / "run")


@pytest.fixture(scope="module")
def unbroken(command, fork, stub, tmp_path_factory):
    """What a run that nobody stopped leaves, and what it asked."""
    folder, log = Path(command[-1]), tmp_path_factory.mktemp("unbroken") / "log"
    assert fork.start(command, log).wait() == 0, log.read_text()
    left = artifacts(folder)
    folder.rename(log.with_name("run"))
    return left, Counter(ask.text for ask in stub.asks)


def artifacts(run_dir):
    """SHA-256 of every file that a stage of the run left, without seconds and payments; the report is made of the state alone."""
    engines = {"task.json", "executor_input.json", "executor_output.json", "report_so_far"}
    files = [pair for task in sorted(run_dir.glob("[0-9]*")) for pair in files_in(task) if pair[0] not in engines]
    return {str(file.relative_to(run_dir)): digest(file) for _, file in files}


def digest(file):
    raw = file.read_bytes()
    if file.suffix in {".json", ".jsonl"}:
        values = [json.loads(raw)] if file.suffix != ".jsonl" else [json.loads(line) for line in raw.splitlines()]
        raw = json.dumps([bare(v) for v in values]).encode()
    return hashlib.sha256(raw).hexdigest()


def bare(value):
    if isinstance(value, dict):
        return {k: bare(v) for k, v in value.items() if k not in VOLATILE - {"adapter_uri"}}
    return [bare(v) for v in value] if isinstance(value, list) else value


def death(moment, task, number):
    """When the process that works on a task is to die; None: the stub sees to it."""
    verb = task.split("-")[1]
    if moment == "begun":
        return Death(number, "os.rename", f"*/{task}/executor_input.json")
    if moment == "done, not marked":
        return Death(number, "os.rename", f"*/{task}/executor_output.json")
    if moment == "marked, not noted":
        return Death(number, "os.rename", f"*/{task}/task.json", 2)
    table = WORKING if moment == "working" else FIRST
    return Death(number, *table[verb]) if verb in table else None


MOMENTS = ("begun", "working", "first output", "done, not marked", "marked, not noted")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_in_every_stage_it_ends_as_if_nothing_had_been(
    moment, number, unbroken, command, fork, reaper, stub, run_dir, tmp_path
):
    left, asked = unbroken
    before, log, killed_asks = len(stub.asks), tmp_path / "log", 0
    for task in TASKS:
        point = death(moment, task, number)
        if point is None:
            killed_asks += number == signal.SIGKILL
            reaper.set(number, 3 if moment == "working" else 1)
        child = fork.start(command, log, point)
        reaper.pid = child.pid
        assert child.wait() == (-number if number == signal.SIGKILL else 128 + number), (task, log.read_text())
        finished = (run_dir / task / "executor_output.json").exists()
        assert finished == (moment == "marked, not noted"), task
    assert fork.start(command, log).wait() == 0, log.read_text()
    assert artifacts(run_dir) == left
    if moment == "working":
        assert log.read_text().count("resuming from checkpoint-") == 2, "both trainings, with the losses of an unbroken one"
    check_events(run_dir, moment, number)
    again = Counter(ask.text for ask in stub.asks[before:])
    assert again.keys() == asked.keys()
    assert again.total() == asked.total() + killed_asks, "asked again is what was on its way at a kill; SIGTERM waits for it"


def check_events(run_dir, moment, number):
    """What the run told of each task, over all starts: each ended, and of each that was killed in its stage how it did."""
    told_of = {}
    for event in told(f"{run_dir}/events", "here").values():
        told_of.setdefault(event.task, []).append(event.kind)
    assert {task.partition("-")[2] for task in TASKS} <= told_of.keys()
    broken, deaths = ["started", "stopped"] if number == signal.SIGTERM else ["started"], 0
    for task, kinds in told_of.items():
        times = (len(kinds) - 2) // len(broken)
        assert kinds == [*broken * times, "started", "ended"], task
        deaths += times
    outside = moment in ("begun", "marked, not noted")  # of the stage: it has not begun, or its end is told
    assert deaths == (0 if outside else len(TASKS))


def test_a_second_start_by_mistake_is_one_line_and_leaves_the_first_alone(command, fork, pada, run_dir, tmp_path):
    until = [*command, "--until", "prepare"]
    first = fork.start(until, tmp_path / "log", Death(signal.SIGSTOP, "os.rename", "*/01-prepare/train_data"))
    while Path(f"/proc/{first.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.01)
    there = sorted(run_dir.rglob("*"))
    code, out, said = pada(*until)
    assert (code, out) == (1, "")
    assert said == f"pada: {run_dir}: another process is running in this directory; wait for it or stop it"
    assert sorted(run_dir.rglob("*")) == there
    os.kill(first.pid, signal.SIGCONT)
    assert first.wait() == 0
    assert pada(*until)[0] == 0
