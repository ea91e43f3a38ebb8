"""What reaches the terminal."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from pada_agent.components.backends.executor import main

def warn(name):
    exec(compile("import warnings; warnings.warn('told by ' + __name__, FutureWarning)", name, "exec"), {"__name__": name})

warn.__module__ = __name__
sys.argv = ["x", "--executor-input", "{}"]
try:
    main(warn)
except SystemExit:
    pass
warn("transformers.models")
warn("pada_agent.components.core")
"""


@pytest.mark.parametrize(("options", "told"), [([], ["pada_agent"]), (["-W", "default"], ["transformers", "pada_agent"])])
def test_warnings_of_libraries_stay_off_the_terminal_unless_they_are_asked_for(options, told, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run([sys.executable, *options, str(tmp_path / "program.py")], capture_output=True, text=True, check=True)
    assert [name for name in ("transformers", "pada_agent") if f"told by {name}" in done.stderr] == told
