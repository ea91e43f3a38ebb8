"""A study killed in the middle of a cell and started again: the same numbers as one that was not, and nothing paid twice.

Real processes, real stages, a student in place of the SLM, and a stub for the teacher that kills who asks it.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from llm_stub import serving
from small_student import start, students, tasks_run, teach, write_study
from whole_run import ANALYSING, WRITING

from pada_agent.pipelines.study.run import conduct
from pada_agent.pipelines.study.study_file import read_study

PROGRAM = """
from pathlib import Path
from pada_agent.pipelines.study.run import conduct
from pada_agent.pipelines.study.study_file import read_study
from small_student import start
if __name__ == "__main__":
    conduct(read_study(Path("study.yaml")), Path("killed"), start)
"""


class Reaper:
    """Kills the study's process, or its whole group, when its nth question of a kind comes in."""

    def __init__(self):
        self.kill, self.kind, self.left = None, "", 0

    def __call__(self, ask):
        self.left -= self.kind in ask.text
        if self.kill and self.left == 0:
            self.kill()
            self.kill = None
            time.sleep(0.2)  # the answer must not be faster than the signal
        return False


@pytest.fixture
def reaper():
    return Reaper()


@pytest.fixture
def stub(reaper):
    with serving() as server:
        server.on(reaper)
        teach(server)
        yield server


def test_killed_twice_in_a_cell_it_ends_as_if_nothing_had_been(stub, reaper, tmp_path):
    file = write_study(tmp_path, stub.url, methods={"planted": {"teacher": {"model": "planted"}}}, seeds=[0])
    with students():
        conduct(read_study(file), tmp_path / "whole", start, lambda text: None)
    asked = Counter(ask.text for ask in stub.asks)
    before = len(stub.asks)

    def begin():
        path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "OPENAI_API_KEY": "test-key", "PYTHONPATH": path}
        return subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, start_new_session=True)

    def killed(kind, nth, kill):
        process = begin()
        reaper.kind, reaper.left, reaper.kill = kind, nth, lambda: kill(process.pid, signal.SIGKILL)
        assert process.wait(200) == -signal.SIGKILL
        assert not (tmp_path / "killed/words/all/seed-0/planted/cell.json").exists()

    killed(ANALYSING, 3, os.kill)  # the study alone: its runs must end with it, or the next start finds the cell taken
    killed(WRITING, 2, os.killpg)
    assert begin().wait(200) == 0

    assert (tmp_path / "killed/study.json").read_bytes() == (tmp_path / "whole/study.json").read_bytes()
    assert (tmp_path / "killed/study.md").read_text() == (tmp_path / "whole/study.md").read_text()
    again = Counter(ask.text for ask in stub.asks[before:])
    assert again.keys() == asked.keys()
    assert again.total() <= asked.total() + 2, "asked again is at most what was on its way at each kill"
    began = Counter(tasks_run(tmp_path / "killed"))
    vanilla = [times for (_, task), times in began.items() if task == "train-vanilla"]
    assert vanilla == [1], "what had ended is not run again"
