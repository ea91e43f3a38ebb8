"""Measures each side of a comparison in a process of its own, so that neither has the other's memory or warm caches."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def in_turns(script: str, sides: list[str], given: dict[str, Any], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Runs `python SCRIPT SIDE GIVEN` for one side after the other, `rounds` times: what else the machine does meets all."""
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for number in range(rounds):
        for side in sides:
            print(f"  {Path(script).stem}: {side}, {number + 1} of {rounds}", file=sys.stderr, flush=True)
            found[side].append(apart(script, side, given))
    return found


def apart(script: str, side: str, given: dict[str, Any]) -> dict[str, Any]:
    """What one side reports. What it prints besides is shown when it fails."""
    done = subprocess.run([sys.executable, script, side, json.dumps(given)], check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{script} {side} failed:\n{done.stdout}{done.stderr}")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def answer(sides: dict[str, Callable[[dict[str, Any]], dict[str, Any]]]) -> None:
    """The other end of `apart`: run the side that was asked for and print its report."""
    report = sides[sys.argv[1]](json.loads(sys.argv[2]))
    print()
    print(json.dumps(report | {"peak_gib": round(peak_gib(), 2)}))


def peak_gib() -> float:
    """The most memory this process ever held. Not getrusage's: that begins with what the parent held."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


@contextmanager
def clocked(kind: type, method: str, report: dict[str, Any]):
    """Adds to `report` the seconds that calls of a class's method take."""
    original = getattr(kind, method)

    def timed(*args: Any, **kwargs: Any) -> Any:
        started, used = time.monotonic(), time.process_time()
        try:
            return original(*args, **kwargs)
        finally:
            report["seconds"] = report.get("seconds", 0.0) + time.monotonic() - started
            report["cpu_seconds"] = report.get("cpu_seconds", 0.0) + time.process_time() - used

    setattr(kind, method, timed)
    try:
        yield
    finally:
        setattr(kind, method, original)
