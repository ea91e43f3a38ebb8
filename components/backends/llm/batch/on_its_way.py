"""One batch on its way, and the words that are said of it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pada_agent.components.backends.llm.exchange import Exchange
from pada_agent.components.backends.progress import notice
from pada_agent.components.core.figures import duration

if TYPE_CHECKING:
    from openai.types import Batch

TELL_SECONDS = 300.0  # between two words on one


@dataclass
class OnItsWay:
    """A batch that was made, and the open exchanges in it by key."""

    mark: str
    id: str
    exchanges: dict[str, Exchange[Any]]
    bodies: dict[str, dict[str, Any]]  # what was sent, or would be now if an earlier try made it
    since: float  # seconds since the epoch
    ours: bool  # made by this process, so that it is known how it was asked
    others: Sequence[str] = ()  # keys of what is in it too, is not asked now and has no reply in the ledger
    _status: str = ""
    _told: float = 0.0

    def tell(self, found: "Batch") -> None:
        """Say how far it is, if that is new or was not said for a while."""
        at = time.monotonic()
        if found.status == self._status and at - self._told < TELL_SECONDS:
            return
        self._status, self._told = found.status, at
        counts = found.request_counts
        done = f", {counts.completed + counts.failed} of {counts.total} requests done" if counts and counts.total else ""
        notice(f"batch {self.id}: {found.status}{done}, made {duration(time.time() - self.since)} ago")
