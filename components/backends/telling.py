"""How a stage tells of itself while it runs: in the background, so that a store which is slow, away or refuses delays nothing.

At most three events wait to be written: the start, the latest progress and the end. Progress that was overtaken is not told.
"""

import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pada_agent.components.backends.files import refusal
from pada_agent.components.backends.progress import heard, notice
from pada_agent.components.backends.signals import STOPPED
from pada_agent.components.backends.store.events import Event, Kind, tell
from pada_agent.components.core.errors import InputError, PadaError, PassingError
from pada_agent.components.core.places import Place, place_of

WAIT_SECONDS = 5.0  # at most, at the end, for what is not written yet
PAUSE_SECONDS = 2.0  # before a store that is away is tried again
MOST_CHARACTERS = 500  # of an error that is not written for users
_ATTEMPT = re.compile(r".*/executor-logs-(\d+)")  # where Kubeflow puts the log; the number of the attempt, from 0


@contextmanager
def telling(events_uri: str, outputs: Sequence[str], name: str = "") -> Iterator["Teller"]:
    """The block is a stage: it started, how far it is and why it did not end well is told. That it ended the block tells itself.

    `outputs` are the URIs of its output artifacts, which say which run and task it is; `name` stands for the latter if given.
    """
    first = os.environ.get("RANK", "0") == "0"  # under torchrun the first process alone speaks
    attempt = next((int(found[1]) + 1 for uri in outputs if (found := _ATTEMPT.fullmatch(uri))), 1)
    place = place_of(outputs[0]) if outputs else None
    teller = Teller(events_uri if first else "", replace(place, task=name) if place and name else place)
    with closing(teller), heard(teller.progress):
        teller.tell("started", numbers={"attempt": attempt} if attempt > 1 else {})
        try:
            yield teller
        except (Exception, SystemExit) as e:
            if message := sentence(e):
                stopped = isinstance(e, SystemExit) and e.code in STOPPED
                teller.tell("stopped" if stopped else "failed", message=message)
            raise


class Teller:
    """Tells the events of one task below `events_uri`; nothing if that is empty."""

    def __init__(self, events_uri: str, place: Place | None) -> None:
        self._uri, self._place = events_uri, place
        self._waiting: list[Event] = []
        self._changed = threading.Condition()
        self._silent = not events_uri  # for good
        self._said = False
        self._thread: threading.Thread | None = None
        if events_uri and place is None:
            self._give_up("the artifacts' URIs do not say which run and task this is")

    def tell(self, kind: Kind, **facts: Any) -> None:
        """Have an event written. Returns at once."""
        with self._changed:
            if self._silent or self._place is None:
                return
            self._waiting = [event for event in self._waiting if event.kind != "progress"]
            self._waiting.append(Event(task=self._place.task, kind=kind, **facts))
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, args=(self._place.run,), name="events", daemon=True)
                self._thread.start()

    def progress(self, what: str, done: int, total: int, seconds_left: float) -> None:
        """A listener of `progress.heard`."""
        self.tell("progress", what=what, done=done, total=total, seconds_left=round(seconds_left, 1))

    def close(self) -> None:
        """Wait a little for what is not written yet, and tell nothing more."""
        with self._changed:
            self._changed.wait_for(lambda: self._silent or not self._waiting, WAIT_SECONDS)
            self._silent = True
            self._changed.notify_all()

    def _write(self, run: str) -> None:
        while event := self._next():
            try:
                tell(self._uri, run, event)
            except PassingError as e:
                self._say(f"{e}; it is tried again, and nothing waits for it")
                time.sleep(PAUSE_SECONDS)
                continue
            except InputError as e:
                self._give_up(str(e))
            with self._changed:
                self._waiting = [other for other in self._waiting if other is not event]
                self._changed.notify_all()

    def _next(self) -> Event | None:
        with self._changed:
            self._changed.wait_for(lambda: self._silent or self._waiting)
            return None if self._silent else self._waiting[0]

    def _give_up(self, why: str) -> None:
        self._say(f"{why}; this stage tells no more, and goes on")
        with self._changed:
            self._silent = True
            self._changed.notify_all()

    def _say(self, text: str) -> None:
        if not self._said and not self._silent:
            notice(f"events: {text}")
        self._said = True


def sentence(error: BaseException) -> str:
    """The one line that tells a user why a stage did not come to its end; '' if it was to end so."""
    if isinstance(error, SystemExit):
        if error.code in STOPPED:
            how = STOPPED[int(error.code)]
            return f"{how}; paid replies and checkpoints are kept where they were to be; start it again to go on"
        return str(error.code) if error.code else ""
    if isinstance(error, PermissionError) and error.filename:
        return f"{type(error).__name__}: {refusal(Path(error.filename), error.errno or 0)}"
    text = " ".join(str(error).split())
    if not isinstance(error, PadaError) and len(text) > MOST_CHARACTERS:
        text = f"{text[:MOST_CHARACTERS]}..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
