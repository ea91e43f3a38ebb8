"""The trainer's temporary folder of remote checkpoints: gone with its process, or with the next one."""

import os
import signal
import subprocess
import sys

import pytest

from pada_agent.components.backends.slm.checkpoints import Checkpoints

TRAIN = """
import sys, time
from pada_agent.components.backends.slm.checkpoints import Checkpoints
kept = Checkpoints("memory://bucket/run")
(kept.folder / "weights").write_text("x")
print(kept.folder, flush=True)
if len(sys.argv) > 1:
    time.sleep(600)
raise SystemExit(3)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def start(*arguments):
    return subprocess.Popen([sys.executable, "-c", TRAIN, *arguments], stdout=subprocess.PIPE, text=True)


def test_nothing_stays_behind_a_process_that_ends_without_removing_it(place):
    process = start()
    assert process.communicate()[0] and process.returncode == 3
    assert not list(place.iterdir())


def test_what_a_killed_one_left_goes_with_the_next_and_not_before(place):
    process = start("wait")
    name = os.path.basename(process.stdout.readline().strip())
    try:
        Checkpoints("memory://bucket/run").remove()
        assert (place / name / "weights").exists(), "it is alive"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert (place / name / "weights").exists()
    after = Checkpoints("memory://bucket/run")
    assert not (place / name).exists()
    after.remove()
    assert not list(place.iterdir())
