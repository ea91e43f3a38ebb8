"""Each way a process of ours starts tells OpenMP how to wait, before a library that computes is loaded."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from pada_agent.components.backends.llm.embedded import server
from pada_agent.components.backends.threads import TURNS

LIBRARY = Path(find_spec("torch").origin).parent / "lib" / "libgomp.so.1"
STAGE = """
from pada_agent.components.backends import executor
import pada_agent.components.train_lora.__main__
import sys
sys.argv = ["stage", "--executor-input", '{"inputs": {}, "outputs": {"outputFile": "/dev/null"}}']
def run(ex): LOAD()
run.__module__ = "pada_agent.components.train_lora.__main__"
executor.Executor.check_contract = lambda *_: None
executor.main(run)
"""
COMMAND = """
from pada_agent.pipelines import cli
cli.app = lambda: LOAD()
cli.main()
"""
STUDY = """
from pathlib import Path
from pada_agent.pipelines.study import side_by_side
side_by_side._end_with_parent = lambda: None  # this process is nobody's child
side_by_side._run(side_by_side.Item("cell", Path(FOLDER) / "cell", None), side_by_side.shares(1)[0], lambda _: LOAD())
"""


@pytest.mark.skipif(not LIBRARY.exists(), reason="this build of PyTorch has another OpenMP")
@pytest.mark.parametrize("program", [STAGE, COMMAND, STUDY], ids=["a stage in its container", "pada", "a run of a study"])
@pytest.mark.parametrize(
    ("told", "turns"),
    [({}, TURNS), ({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "passive"}, "0")],
    ids=["by default", "as the user says", "by the user's policy"],
)
def test_openmp_is_told_how_to_wait_before_it_is_loaded(tmp_path, program, told, turns):
    loads = f"assert 'torch' not in sys.modules; ctypes.CDLL({str(LIBRARY)!r})"
    text = f"import ctypes, sys\nFOLDER = {str(tmp_path)!r}\ndef LOAD(): {loads}\n{program}"
    own = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    environment = {**own, **told, "OMP_DISPLAY_ENV": "verbose"}
    done = subprocess.run([sys.executable, "-c", text], check=False, capture_output=True, text=True, env=environment)
    shown = [line.split("=")[1].strip(" '") for line in done.stderr.splitlines() if "GOMP_SPINCOUNT" in line]
    assert shown == [turns], done.stderr


@pytest.mark.parametrize(("policy", "turns"), [("", TURNS), ("passive", "")])
def test_the_embedded_server_is_told_whoever_starts_it(tmp_path, monkeypatch, policy, turns):
    for name, value in {"GOMP_SPINCOUNT": "", "OMP_WAIT_POLICY": policy}.items():
        monkeypatch.setenv(name, value)
        if not value:
            monkeypatch.delenv(name)
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho told=$GOMP_SPINCOUNT\n")
    python.chmod(0o755)
    monkeypatch.setattr(server.sys, "executable", str(python))
    process, _ = server._start(tmp_path / "model.gguf", 512, tmp_path / "log")
    process.communicate(timeout=20)
    assert (tmp_path / "log").read_text() == f"told={turns}\n"
