"""Watches a run on a cluster until it ends: a line for each change of state, then what failed and why."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from pada_agent.components.core.errors import InputError

SUCCEEDED, FAILED = "SUCCEEDED", "FAILED"
_ENDED = frozenset({SUCCEEDED, FAILED, "CANCELED", "CANCELLED", "SKIPPED"})
POLL_SECONDS = 10.0
PATIENCE_SECONDS = 600.0


class Interruption(Exception):
    """A question after the run's state got no answer; the next one may."""


@dataclass(frozen=True)
class Task:
    """A task of a run; `message` and `hint` are for one that failed."""

    state: str
    message: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment. `state` is PENDING, RUNNING, SUCCEEDED, FAILED, ..."""

    state: str
    tasks: dict[str, Task] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Started:
    """A run that was accepted."""

    run_id: str
    link: str
    look: Callable[[], Snapshot]


@dataclass(frozen=True)
class Patience:
    """How long to wait for the end of a run, how often to ask, and how long answers may be missing; seconds, 0 is no limit."""

    timeout: float = 0.0
    poll: float = field(default_factory=lambda: POLL_SECONDS)
    silence: float = PATIENCE_SECONDS


def watch(run: Started, patience: Patience, say: Callable[[str], object] = print) -> str:
    """The state the run ended in. Raises InputError when waiting ends before the run does."""
    begun = answered = time.monotonic()
    before = Snapshot("")
    while True:
        now = time.monotonic()
        try:
            snapshot = run.look()
        except Interruption as e:
            if now - answered > patience.silence:
                raise _gave_up(run, f"no news for {now - answered:.0f} s ({e})") from e
            snapshot = before
        except InputError as e:
            raise _gave_up(run, str(e)) from e
        else:
            answered = now
        _say_changes(before, snapshot, say)
        if snapshot.state in _ENDED:
            _conclude(snapshot, say)
            return snapshot.state
        if patience.timeout and now - begun >= patience.timeout:
            raise _gave_up(run, f"still {snapshot.state or 'without a state'} after {patience.timeout:.0f} s")
        before = snapshot
        _sleep(patience.poll, run)


def _say_changes(before: Snapshot, now: Snapshot, say: Callable[[str], object]) -> None:
    clock = datetime.now().strftime("%H:%M:%S")
    for name, task in now.tasks.items():
        if task.state and task.state != (before.tasks[name].state if name in before.tasks else ""):
            say(f"{clock} {name}: {task.state}")
    if now.state and now.state != before.state:
        say(f"{clock} run: {now.state}")


def _conclude(snapshot: Snapshot, say: Callable[[str], object]) -> None:
    if snapshot.state == SUCCEEDED:
        return
    failed = {name: task for name, task in snapshot.tasks.items() if task.state == FAILED}
    told = {name: task for name, task in failed.items() if task.message or task.hint}  # not the groups around them
    for name, task in (told or failed).items():
        say(f"failed: {name}: {task.message or 'no message'}" + (f"   ->   {task.hint}" if task.hint else ""))
    if snapshot.error:
        say(f"the run: {snapshot.error}")


def _sleep(seconds: float, run: Started) -> None:
    try:
        time.sleep(seconds)
    except KeyboardInterrupt:
        raise _gave_up(run, "interrupted") from None


def _gave_up(run: Started, why: str) -> InputError:
    return InputError(f"stopped waiting: {why}; the run {run.run_id} itself continues: {run.link}")
