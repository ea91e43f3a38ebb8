"""What a person who watches sees: progress as a bar on a terminal or a line now and then in a log, and no library's warnings."""

import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LOG_SECONDS = 15.0


class Track:
    """Counts what is done of one step."""

    def __init__(self, label: str, total: int, bar: Progress | None) -> None:
        self._label, self._total, self._bar = label, total, bar
        self._done, self._started, self._logged = 0, time.monotonic(), time.monotonic()
        self._task = bar.add_task(label, total=total) if bar else None

    def advance(self, count: int = 1) -> None:
        """`count` more are done."""
        self._done += count
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, count)
        elif time.monotonic() - self._logged >= LOG_SECONDS:
            self._logged = time.monotonic()
            left = (self._logged - self._started) / max(self._done, 1) * (self._total - self._done)
            print(f"{self._label}: {self._done}/{self._total}, {left:.0f} s left", file=sys.stderr, flush=True)


@contextmanager
def track(label: str, total: int) -> Iterator[Track]:
    """Show progress of `total` units under `label` while the block runs."""
    console = Console(stderr=True)
    started = time.monotonic()
    if not console.is_terminal:
        yield Track(label, total, None)
    else:
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            yield Track(label, total, bar)
    print(f"  {label}: {total} in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def quiet_libraries() -> None:
    """Libraries' warnings, on which a user cannot act, stay off the terminal; this project's come through, and all with -W."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", module="pada_agent")


def notice(text: str) -> None:
    """A line for whoever watches a step, indented under it."""
    print(f"  {text}", file=sys.stderr, flush=True)
