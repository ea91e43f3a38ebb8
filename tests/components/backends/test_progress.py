"""What reaches the terminal."""

import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace

import pytest

from pada_agent.components.backends import progress

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


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when a test says so."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def listen(clock, hours, every):
    """What is heard of a step that takes so many hours and counts every so many seconds."""
    heard = []
    total = int(hours * 3600 / every)
    with progress.heard(lambda *event: heard.append((clock.seconds, *event))), progress.track("training steps", total) as track:
        for _ in range(total):
            clock.seconds += every
            track.advance()
    return heard


def test_a_short_step_is_not_told_and_a_long_one_some_hundred_times(clock):
    assert listen(clock, 14 / 3600, 1) == []
    clock.seconds = 0.0
    heard = listen(clock, 10, 2)
    assert 100 < len(heard) < 400
    times = [seconds for seconds, *_ in heard]
    assert times[0] <= 16 and max(b - a for a, b in pairwise(times)) <= 302, "news every five minutes"
    assert heard[-1][1:4] == ("training steps", int(times[-1] / 2), 18000)


def test_how_long_it_takes_is_said_by_the_pace_of_this_try_alone(clock, capsys):
    heard = []
    with progress.heard(lambda *event: heard.append(event)), progress.track("training steps", 300) as track:
        track.find(200)
        clock.seconds = 20.0
        track.advance(10)
    assert heard == [("training steps", 210, 300, 180.0)]
    assert capsys.readouterr().err == "  210 of 300 training steps, 3 min left\n  210 training steps in 20 s\n"


def test_while_nothing_is_done_nobody_knows_how_long_it_takes(clock, capsys):
    heard = []
    with progress.heard(lambda *event: heard.append(event)), progress.track("answers", 8) as track:
        clock.seconds = 16.0
        track.find(3)
    assert heard == [("answers", 3, 8, 0.0)]
    assert capsys.readouterr().err.startswith("  3 of 8 answers\n")
