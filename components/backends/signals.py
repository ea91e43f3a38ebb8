"""How a process ends when it is asked to: in order, so that what is paid for is written and temporary folders go.

As process 1 of a container a program without a handler is not ended by SIGTERM at all, and killed half a minute later.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

TERMINATED = 128 + signal.SIGTERM  # the exit code that a shell gives a process which a signal ended
STOPPED = {128 + signal.SIGINT: "interrupted", TERMINATED: "terminated"}


@contextmanager
def ending_in_order() -> Iterator[None]:
    """While the block runs, SIGINT and SIGTERM raise SystemExit in it, with a code of STOPPED."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, _again)
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def on_sigterm(act: Callable[[], object]) -> Iterator[None]:
    """While the block runs, SIGTERM calls `act`, which brings the block to its end. Only the main thread gets signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: act())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _again(number: int, frame: FrameType | None) -> None:
    """torchrun and shells ask twice; the first time is what counts, and cleaning up must not be broken off."""
