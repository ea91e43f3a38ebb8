"""What a person who watches sees: progress as a bar on a terminal or a line now and then in a log, and no library's warnings."""

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pada_agent.components.core.figures import duration, so_far

# Seconds between two words on one step: rarer as it gets longer, so that ten hours are some hundred of them.
SOONEST, LATEST, SHARE = 15.0, 300.0, 1 / 40
Listener = Callable[[str, int, int, float], object]
_listeners: list[Listener] = []


class Track:
    """Counts what is done of one step."""

    def __init__(self, what: str, total: int, bar: Progress | None) -> None:
        self._what, self._total, self._bar = what, total, bar
        self.done = self._found = 0
        self._started = time.monotonic()
        self._due = self._started + SOONEST
        self._task = bar.add_task(what, total=total) if bar else None

    def advance(self, count: int = 1) -> None:
        """`count` more are done."""
        self.done += count
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, count)
        now = time.monotonic()
        if now < self._due:
            return
        elapsed = now - self._started
        self._due = now + min(max(SOONEST, elapsed * SHARE), LATEST)
        own = self.done - self._found
        left = elapsed / own * (self._total - self.done) if own else 0.0
        if self._bar is None:
            print(f"  {so_far(self._what, self.done, self._total, left)}", file=sys.stderr, flush=True)
        for listener in _listeners:
            listener(self._what, self.done, self._total, left)

    def find(self, count: int = 1) -> None:
        """`count` were done before, by an earlier try: they say nothing of the pace."""
        self._found += count
        self.advance(count)


@contextmanager
def track(what: str, total: int) -> Iterator[Track]:
    """Show progress of `total` units while the block runs; `what` follows a number, as in '3 of 40 answers'."""
    console = Console(stderr=True)
    started = time.monotonic()
    if not console.is_terminal:
        made = Track(what, total, None)
        yield made
    else:
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            made = Track(what, total, bar)
            yield made
    print(f"  {made.done:,} {what} in {duration(time.monotonic() - started)}", file=sys.stderr, flush=True)


@contextmanager
def heard(listener: Listener) -> Iterator[None]:
    """While the block runs, `listener` hears now and then what is counted, what is done of how many, and the seconds left."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def quiet_libraries() -> None:
    """Libraries' warnings, on which a user cannot act, stay off the terminal; this project's come through, and all with -W."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", module="pada_agent")


def notice(text: str) -> None:
    """A line for whoever watches a step, indented under it."""
    print(f"  {text}", file=sys.stderr, flush=True)
