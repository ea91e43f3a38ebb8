"""What a ledger knows of batches: a run that is started again waits for those on their way and makes none twice. Their lines:

    {"mark": "5d0f...", "time": 1763712345.2, "keys": ["9f3c...", ...]}     a batch with these calls is about to be made
    {"mark": "5d0f...", "time": 1763712346.1, "id": "batch_abc"}            it was made
    {"mark": "5d0f...", "time": 1763719999.9, "keys": ["77ab..."]}          these alone were not asked for when it was over
    {"mark": "5d0f...", "time": 1763719999.9, "end": "completed"}           it is over, and its replies are in the ledger

The mark is this project's own name for the batch and stands in its metadata too: by it a batch is found whose id is in no line
because the process was killed at that moment.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class BatchNote:
    """One batch. `id` is '' as long as nobody knows whether it was made."""

    mark: str
    time: float  # when it was about to be made, seconds since the epoch
    keys: tuple[str, ...] = ()
    id: str = ""
    end: str = ""


class BatchNotes:
    """All batches of a ledger, put together from its lines, which may come in any order."""

    def __init__(self) -> None:
        self._known: dict[str, BatchNote] = {}

    def take(self, line: dict[str, Any]) -> None:
        """Take in a line. Raises KeyError, TypeError or ValueError for what is none."""
        mark = str(line["mark"])
        before = self._known.get(mark, BatchNote(mark, float(line["time"])))
        said = dict.fromkeys(map(str, line.get("keys", before.keys)))
        keys = tuple(key for key in before.keys if key in said) or tuple(said)  # fewer than before, whichever line came first
        known = {name: str(line.get(name, getattr(before, name))) for name in ("id", "end")}
        self._known[mark] = BatchNote(mark, min(before.time, float(line["time"])), keys, **known)

    def open(self) -> list[BatchNote]:
        """Those that have not ended, the oldest first."""
        return sorted((note for note in self._known.values() if not note.end), key=lambda note: note.time)
