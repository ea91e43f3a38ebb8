"""Waits for the end of a run on a cluster: says what its tasks tell and the state the backend gives it, then why it failed."""

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pada_agent.components.backends.patience import without_patience
from pada_agent.components.backends.store.events import Event
from pada_agent.components.core.errors import InputError, PassingError
from pada_agent.pipelines.follow import Following, Say, clock
from pada_agent.pipelines.words import spoken

SUCCEEDED, FAILED = "SUCCEEDED", "FAILED"
_ENDED = frozenset({SUCCEEDED, FAILED, "CANCELED", "CANCELLED", "SKIPPED"})
POLL_SECONDS = 10.0
PATIENCE_SECONDS = 600.0
_FIRST_PAUSE = 60.0  # before a store that is away is asked again; it doubles: it may be one that nobody sees from here


class Interruption(Exception):
    """A question after the run's state got no answer; the next one may."""


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment. States are PENDING, RUNNING, SUCCEEDED, FAILED, ...; `tasks` are those of the package, by name."""

    state: str
    tasks: dict[str, str] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Failure:
    """What the backend knows of a task that failed: a sentence, and the command that shows more."""

    task: str
    sentence: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Started:
    """A run that was accepted.

    `failures` says what the backend knows of failed tasks, with sentences but of those given to it; it raises nothing.
    `events_uri` is '' for a run that tells nothing.
    """

    run_id: str
    link: str
    look: Callable[[], Snapshot]
    failures: Callable[[Collection[str]], Sequence[Failure]]
    events_uri: str = ""


@dataclass(frozen=True)
class Patience:
    """How long to wait for the end of a run, how often to ask, and how long answers may be missing; seconds, 0 is no limit."""

    timeout: float = 0.0
    poll: float = field(default_factory=lambda: POLL_SECONDS)
    silence: float = PATIENCE_SECONDS


def watch(run: Started, patience: Patience, say: Say = print) -> str:
    """The state the run ended in. Raises InputError when waiting ends before the run does, PadaError if it shows nothing."""
    try:
        return _watch(run, patience, say)
    except KeyboardInterrupt:
        raise _gave_up(run, "interrupted") from None


def _watch(run: Started, patience: Patience, say: Say) -> str:
    begun = answered = time.monotonic()
    before = Snapshot("")
    events = _Events(run, patience.silence, say)
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
        if not events.look():
            _say_tasks(before, snapshot, say)
        if snapshot.state and snapshot.state != before.state:
            say(f"{clock(datetime.now(UTC))} run: {_word(snapshot.state)}")
        if snapshot.state in _ENDED:
            _conclude(run, events, snapshot, say)
            return snapshot.state
        if patience.timeout and now - begun >= patience.timeout:
            raise _gave_up(run, f"still {_word(snapshot.state) or 'without a state'} after {patience.timeout:.0f} s")
        before = snapshot
        time.sleep(patience.poll)


class _Events:
    """What the run tells, as far as it can be read from here."""

    def __init__(self, run: Started, silence: float, say: Say) -> None:
        self.following = Following(run.events_uri, run.run_id, say) if run.events_uri else None
        self._silence, self._say = silence, say
        self._answered: float | None = None
        self._said, self._next, self._pause = False, 0.0, _FIRST_PAUSE

    def look(self) -> bool:
        """Say what is new; whether events can be read. What cannot be read is said once."""
        now = time.monotonic()
        if self.following is None or now < self._next:
            return False
        try:
            with without_patience():
                self.following.look()
        except InputError as e:
            passing = isinstance(e, PassingError)
            if passing and self._answered is not None and now - self._answered <= self._silence:
                return True
            if not self._said:
                self._say(f"What the tasks tell cannot be read from here, so only the run's state is shown: {e}")
            self._said, self._next, self._pause = True, time.monotonic() + self._pause, 2 * self._pause
            self.following = self.following if passing else None
            return False
        self._answered, self._next, self._pause = now, 0.0, _FIRST_PAUSE
        return True


def _say_tasks(before: Snapshot, now: Snapshot, say: Say) -> None:
    for task, state in now.tasks.items():
        if state not in {"", "SKIPPED", before.tasks.get(task)}:
            say(f"{clock(datetime.now(UTC))} {spoken(task)}: {_word(state)}")


def _conclude(run: Started, events: _Events, snapshot: Snapshot, say: Say) -> None:
    following = events.following
    if snapshot.state == FAILED:
        for sentence in _why(run, following, snapshot):
            say(sentence)
    elif snapshot.state != SUCCEEDED:
        say(f"The run was {_word(snapshot.state)}" + (f": {snapshot.error}" if snapshot.error else "."))
    elif following is not None:
        following.show_results()
    else:
        say(f"The report is in the run's task 'result': {run.link}")


def _why(run: Started, following: Following | None, snapshot: Snapshot) -> list[str]:
    """A line for each task that failed, in the words of its stage where they can be had."""
    told: dict[str, Event] = {}
    if following:
        with suppress(InputError):
            told = {event.task: event for event in following.failures}
    found = {failure.task: failure for failure in run.failures({task for task, event in told.items() if event.message})}
    lines = []
    for task in dict.fromkeys([*told, *found]):
        failure = found.get(task, Failure(task))
        said = failure.sentence
        if following and task in told and (told[task].message or not said):
            said = following.why(told[task])
        hint = f"   ->   {failure.hint}" if failure.hint else ""
        lines.append(f"failed: {spoken(task)}: {said or 'it left no sentence'}{hint}")
    return lines or [f"The run failed: {snapshot.error or 'its backend does not say why'}; see {run.link}"]


def _word(state: str) -> str:
    return {"CANCELED": "cancelled", "CANCELING": "cancelling"}.get(state, state.lower())


def _gave_up(run: Started, why: str) -> InputError:
    return InputError(f"stopped waiting: {why}; the run {run.run_id} itself continues: {run.link}")
