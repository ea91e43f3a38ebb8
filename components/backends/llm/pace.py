"""How fast an endpoint is asked: as many calls at once as it can bear, pauses when it says so, an end when it stays silent."""

import asyncio
import heapq
import itertools
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime

from pada_agent.components.core.errors import EndpointError

BACKOFF_SECONDS = 0.5
BACKOFF_MOST = 30.0


class GaveUp(EndpointError):
    """The circuit breaker: no reply for `give_up_seconds`, or the endpoint asks for a longer wait than that."""


class Pace:
    """Adaptive concurrency (additive increase, multiplicative decrease on overload) with a wall-clock circuit breaker.

    `concurrency` is the most calls at once and where it starts; `give_up_seconds` the longest time without a success.
    """

    def __init__(self, concurrency: int, give_up_seconds: float) -> None:
        self.limit = float(concurrency)
        self.successes = 0
        self._most, self._give_up = concurrency, give_up_seconds
        self._active = 0
        self._tickets = itertools.count()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []  # a heap: who came first is next
        self._not_before = self._slowed = 0.0
        self._alive = time.monotonic()

    def begin(self) -> None:
        """Start the breaker's clock: time before this does not count as silence."""
        self._alive = time.monotonic()
        self._active = 0
        self._waiting.clear()

    @property
    def left(self) -> float:
        """Seconds until the breaker opens."""
        return self._alive + self._give_up - time.monotonic()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[float]:
        """Wait for a turn and hold it; gives the time it began. Raises GaveUp when the breaker opens meanwhile."""
        await self._turn()
        self._active += 1
        try:
            yield time.monotonic()
        finally:
            self._active -= 1
            self._wake()

    async def _turn(self) -> None:
        ticket = next(self._tickets)
        while True:
            self.check()
            if (wait := self._not_before - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            elif self._active < int(self.limit):
                return
            else:
                turn = asyncio.get_running_loop().create_future()
                heapq.heappush(self._waiting, (ticket, turn))
                await turn

    def _wake(self) -> None:
        free = int(self.limit) - self._active
        while free > 0 and self._waiting:
            _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                free -= 1

    def succeeded(self) -> None:
        """A reply came: the endpoint is alive and may bear a little more."""
        self._alive = time.monotonic()
        self.successes += 1
        self.limit = min(float(self._most), self.limit + 1 / self.limit)

    def overloaded(self, began: float) -> None:
        """The endpoint is overloaded. A burst of refusals halves the concurrency once, not once for each."""
        if began >= self._slowed:
            self._slowed = time.monotonic()
            self.limit = max(1.0, self.limit / 2)

    def pause(self, seconds: float) -> None:
        """Ask nothing for that long. Raises GaveUp when that is past the breaker's limit."""
        if seconds > self.left:
            raise GaveUp(f"asks to wait {seconds:.0f} s, longer than give_up_seconds ({self._give_up:g}) allows")
        self._not_before = max(self._not_before, time.monotonic() + seconds)

    async def back_off(self, tries: int) -> None:
        """Wait before trying again; longer each time, and never past the breaker's limit."""
        longest = min(BACKOFF_MOST, BACKOFF_SECONDS * 2 ** min(tries, 10))
        await asyncio.sleep(max(0.0, min(random.uniform(longest / 2, longest), self.left)))

    def check(self) -> None:
        """Raises GaveUp when there was no success for too long."""
        if self.left <= 0:
            raise GaveUp(f"gave no reply for {self._give_up:g} s (give_up_seconds)")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the endpoint asks to wait: `retry-after-ms`, or `Retry-After` as seconds or an HTTP date; None: it does not say."""
    milliseconds, text = headers.get("retry-after-ms", ""), headers.get("retry-after", "")
    for value, unit in ((milliseconds, 1000.0), (text, 1.0)):
        try:
            return max(0.0, float(value) / unit)
        except ValueError:
            continue
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
