"""SIGTERM while an endpoint is asked: nothing more is sent, and the replies on their way, which are paid for, are waited for."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pada_agent.components.backends.signals import TERMINATED, on_sigterm

GRACE_SECONDS = 20.0  # Kubernetes kills 30 s after SIGTERM; what comes later is lost


class Stop:
    """Of one step, in an event loop of its own: which of its tasks are paying, and whether it was asked to end."""

    def __init__(self) -> None:
        self.asked = False
        self._tasks: list[asyncio.Task[Any]] = []
        self._paying: set[asyncio.Task[Any]] = set()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Handle SIGTERM while the block runs; then raises SystemExit if there was one. An error of the block comes first."""
        loop = asyncio.get_running_loop()
        with on_sigterm(lambda: loop.call_soon_threadsafe(self._ask)):
            yield
        if self.asked:
            raise SystemExit(TERMINATED)

    def of(self, tasks: list[asyncio.Task[Any]]) -> None:
        """The tasks that the step consists of."""
        self._tasks = tasks

    @contextmanager
    def paying(self) -> Iterator[None]:
        """What the block sends is paid for, so that it runs on after SIGTERM; another is not begun then."""
        task = asyncio.current_task()
        if self.asked or task is None:
            raise asyncio.CancelledError
        self._paying.add(task)
        try:
            yield
        finally:
            self._paying.discard(task)
        if self.asked:
            raise asyncio.CancelledError

    def _ask(self) -> None:
        if not self.asked:
            self.asked = True
            asyncio.get_running_loop().call_later(GRACE_SECONDS, self._cancel, self._tasks)
            self._cancel([task for task in self._tasks if task not in self._paying])

    @staticmethod
    def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
        for task in tasks:
            task.cancel()
