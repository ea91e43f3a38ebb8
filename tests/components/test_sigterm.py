"""Every stage as process 1 of a container, ended by SIGTERM at work. Real processes, in namespaces of their own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from llm_stub import Rule, serving
from whole_run import small_run, teach

from pada_agent.components.backends.store.events import Event, tell
from pada_agent.components.core.settings import Settings
from pada_agent.components.stages import LLM_STAGES, STAGES
from pada_agent.pipelines.local import run as local
from pada_agent.pipelines.local.log import RunLog

TASKS = {
    "prepare_data": "01-prepare",
    "train_lora": "02-train-vanilla",
    "evaluate_slm": "04-evaluate-vanilla",
    "analyze_patterns": "06-analyze-1",
    "generate_data": "07-generate-1-1",
    "control_quality": "08-control-1-1",
    "update_state": "15-merge-1",
    "publish_result": "99-result",
}
AT_WORK = {"prepare_data": ".train_data.*", "train_lora": ".adapter.*"}  # what lies beside the outputs then
# /dev of the container: the file that Kubernetes mounts for a last word, and what programs need.
CONTAINER = """
set -e
cd "$1"; shift
mkdir dev; mount -t tmpfs tmpfs dev
for name in null zero full random urandom; do touch dev/$name; mount --bind /dev/$name dev/$name; done
mkdir dev/shm; mount -t tmpfs tmpfs dev/shm
touch dev/termination-log; mount --bind termination-log dev/termination-log
mount --move dev /dev
exec "$@"
"""


def namespaces() -> bool:
    made = subprocess.run(
        ["unshare", "--pid", "--mount", "--fork", "mount", "-t", "tmpfs", "t", "/mnt"], check=False, capture_output=True
    )
    return made.returncode == 0


pytestmark = pytest.mark.skipif(
    not (shutil.which("unshare") and namespaces()), reason="STAGES AS PROCESS 1 NOT TESTED: namespaces need unshare and root"
)


@pytest.fixture(scope="module")
def stub():
    with serving() as server:
        server.on("", times=0)  # the place of a rule that slows down
        teach(server)
        yield server


@pytest.fixture(scope="module")
def unbroken(stub, tiny_slm, tmp_path_factory):
    """A run that nobody stopped: its folder, and what it asked."""
    folder = tmp_path_factory.mktemp("unbroken")
    sizes = {"analyze": {"sample": 8, "k_max": 2}, "generate": {"batch": 1, "share": 0.6}}
    settings = Settings.model_validate(small_run(stub.url, tiny_slm, {"concurrency": 4}, **sizes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "test-key")
        local.run(settings, str(folder / "run"), "merge-1", local.Parts(log=RunLog()))
    ask_for_the_result(folder / "run")
    return folder / "run", Counter(map(question, stub.asks))


def ask_for_the_result(run):
    """The input of publish_result, which does not run on one machine, and enough events that it takes a moment."""
    for number in range(500):
        tell(str(run / "events"), "here", Event(task="train-vanilla", kind="progress", what="steps", done=number, total=500))
    task = run / TASKS["publish_result"]
    task.mkdir()
    outputs = {name: {"artifacts": [{"name": name, "uri": str(task / name)}]} for name in STAGES["publish_result"].outputs}
    given = {
        "inputs": {"parameterValues": {"work_uri": str(run)}},
        "outputs": {"artifacts": outputs, "outputFile": str(task / "executor_output.json")},
    }
    (task / "executor_input.json").write_text(json.dumps(given))


def question(ask):
    return json.dumps(ask.body, sort_keys=True)


class Pod:
    """One stage in a container: the task of a run that was, with outputs and ledger of its own."""

    def __init__(self, stage, run, folder):
        task = run / TASKS[stage]
        self.out, self.tmp, self.ledger = folder / "out", folder / "tmp", folder / "ledger.jsonl"
        self.out.mkdir()
        self.tmp.mkdir()
        self.message = folder / "termination-log"
        self.message.touch()
        given = json.loads((task / "executor_input.json").read_text().replace(f"{task}/", f"{self.out}/"))
        given["inputs"]["parameterValues"] |= {"ledger": str(self.ledger)} if STAGES[stage].llm else {}
        given["inputs"]["parameterValues"].pop("checkpoint_uri", None)
        arguments = ["-m", f"pada_agent.components.{stage}", "--executor-input", json.dumps(given)]
        unshare = ["unshare", "--pid", "--mount", "--fork", "--kill-child", "sh", "-c", CONTAINER, "sh", str(folder)]
        self.process = subprocess.Popen(
            [*unshare, sys.executable, *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(self.tmp), "OPENAI_API_KEY": "test-key", "OMP_NUM_THREADS": "1"},
        )

    def when(self, happened):
        """SIGTERM to process 1 once its handler is there and `happened()`."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        while not (self.handled(children) and happened()):
            assert self.process.poll() is None, self.process.communicate()[1]
            time.sleep(0.002)
        os.kill(int(children.read_text()), signal.SIGTERM)

    def handled(self, children):
        status = Path(f"/proc/{children.read_text().strip()}/status").read_text() if children.read_text().strip() else "SigCgt: 0"
        caught = int(status.split("SigCgt:")[1].split()[0], 16)
        return caught >> (signal.SIGTERM - 1) & 1

    def end(self):
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


@pytest.fixture
def pod(unbroken, tmp_path):
    made = []

    def start(stage):
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Pod(stage, unbroken[0], folder))
        return made[-1]

    yield start
    for one in made:
        one.process.kill()
        one.process.communicate()


def check_end(pod, seconds):
    began = time.monotonic()
    code, said = pod.end()
    assert (code, time.monotonic() - began < seconds) == (143, True), said
    assert "Traceback" not in said
    assert said.splitlines()[-1] == pod.message.read_text()
    assert pod.message.read_text().startswith("terminated; ")
    assert not list(pod.tmp.iterdir()), "temporary folders go"
    assert not (pod.out / "executor_output.json").exists()
    return said


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage not in LLM_STAGES])
def test_a_stage_ends_in_order(stage, pod):
    running = pod(stage)
    running.when(lambda: stage not in AT_WORK or list(running.out.glob(AT_WORK[stage])))
    check_end(running, 10)
    assert not [path for path in running.out.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("stage", [stage for stage in LLM_STAGES if stage in TASKS])  # the run's own task scores its answers
def test_what_was_paid_is_kept_and_never_paid_again(stage, pod, stub, unbroken, tmp_path):
    stub.rules[0] = Rule(lambda ask: time.sleep(0.1))  # matches nothing, and takes its time
    try:
        before = len(stub.asks)
        running = pod(stage)
        running.when(lambda: stub.paid and len(stub.asks) - before >= 3)
        check_end(running, 10)
    finally:
        stub.rules[0].times = 0
    paid = stub.asks[before:]
    kept = running.ledger.read_text().splitlines()
    assert 3 <= len(kept) == len(paid), "with those that were on their way"
    again = pod(stage)
    shutil.copy(running.ledger, again.ledger)
    assert again.end()[0] == 0
    asked = Counter(map(question, stub.asks[before:]))
    assert asked == Counter({text: count for text, count in unbroken[1].items() if text in asked})
    assert len(stub.asks) > before + len(paid), "it was stopped before its end"
