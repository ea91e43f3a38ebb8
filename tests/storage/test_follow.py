"""`pada watch` as a process of its own while events grow in a real store, killed and started again."""

import os
import re
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

from small_state import finished, keep

from pada_agent.components.backends.store.events import Event, tell

BEGUN = datetime.now(UTC) - timedelta(hours=1)
STEPS = [("train-1", "started"), *[("train-1", "progress")] * 6, ("train-1", "ended"), ("result", "started"), ("result", "ended")]
WATCH = """
import sys
from pada_agent.pipelines import cli, follow
follow.POLL_SECONDS = 0.05
sys.argv = ["pada", "watch", *sys.argv[1:]]
cli.main()
"""


def tell_step(place, number, run="r1"):
    task, kind = STEPS[number]
    about = {"what": "training steps", "done": number, "total": 6, "seconds_left": 60.0} if kind == "progress" else {}
    tell(f"{place}/events", run, Event(task=task, kind=kind, time=BEGUN + timedelta(seconds=number), **about))


def watching(place, *more):
    command = [sys.executable, "-c", WATCH, "--work-uri", place, "--run", "r1", *more]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )


def said(line):
    return re.sub(r"^[\d :-]*\d ", "", line.strip())


def test_the_log_is_said_while_it_grows_and_again_after_a_kill(place):
    tell_step(place, 0, run="r0")  # somebody else's
    first = watching(place)
    for number in range(4):
        tell_step(place, number)
        assert first.stdout
        expected = "started" if number == 0 else f"{number} of 6 training steps, 1 min left"
        assert said(first.stdout.readline()) == f"iteration 1, train: {expected}"
    first.kill()
    first.communicate()
    second = watching(place)
    assert said(second.stdout.readline()) == "iteration 1, train: started"
    assert said(second.stdout.readline()) == "iteration 1, train: 3 of 6 training steps, 1 min left"
    keep(finished(), f"{place}/events/r1")
    threading.Thread(target=lambda: [tell_step(place, number) for number in range(4, len(STEPS))]).start()
    out, error = second.communicate(timeout=60)
    lines = [said(line) for line in out.splitlines()]
    assert (second.returncode, error) == (0, "")
    assert lines[-1] == f"Report: {place}/events/r1/report.html"
    told = [line for line in lines if line.startswith(("iteration 1", "result"))]
    assert len(told) == len(set(told)) and told[-3:] == ["iteration 1, train: 0 s", "result: started", "result: 0 s"]
