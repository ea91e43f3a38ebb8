"""Every paid LLM call, written down before its reply is used, so that nothing is paid twice. One line:

    {"key": "9f3c...", "name": "analyse/it1/val-017", "model": "gpt-5-mini", "time": 1763712345.2,
     "text": "{\\"root_cause\\": ...}", "finish": "stop", "input_tokens": 412, "output_tokens": 63}

The key is a hash of what was asked (see `call_key`). A line {"silence": "9f3c...", "time": ..., "why": "gave no reply for 600 s"}
says that the run stopped with this key unanswered; batch_notes.py has lines about batches on their way. Replies that could not be
used stand here too: a run that is started again then asks again just as it did before, without paying. "reasoning" is there where
the server gave a thought and no answer, "cached_input_tokens" where it had read a part of the input before, "batch", the
provider's id of it, where the call came in one.
"""

import asyncio
import hashlib
import json
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from pada_agent.components.backends.llm.ledger.batch_notes import BatchNote, BatchNotes
from pada_agent.components.backends.llm.ledger.in_file import LedgerFile
from pada_agent.components.backends.llm.ledger.in_objects import LedgerObjects
from pada_agent.components.backends.mounts import bucket_uri, on_fuse
from pada_agent.components.core.errors import InputError

_OPTIONAL = {"cached_input_tokens", "reasoning", "batch"}


@dataclass(frozen=True)
class Call:
    """One paid call."""

    key: str
    name: str
    model: str
    time: float
    text: str
    finish: str
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    reasoning: str = ""
    batch: str = ""


def call_key(
    model: str,
    messages: Sequence[dict[str, str]],
    schema: dict[str, Any],
    temperature: float,
    salt: str,
    max_tokens: int,
    extras: Mapping[str, Any] | None = None,
) -> str:
    """SHA-256 of what is asked, in hex. Where the endpoint is has no part in it: a server may come back on another port.

    `extras` are what the settings add to the request's body. None of them leaves the key as it was before there were any.
    """
    asked = {
        "model": model,
        "messages": [{"role": m["role"], "content": m["content"]} for m in messages],
        "schema": schema,
        "temperature": float(temperature),
        "salt": salt,
        "max_tokens": max_tokens,
        **({"extras": dict(extras)} if extras else {}),
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class LedgerStore(Protocol):
    """Where a ledger's lines are kept: a file (in_file.py), or objects below a URI (in_objects.py).

    `full` is '' or why no more is to be paid: there is room for the replies on their way and for nothing else.
    """

    full: str

    def append(self, lines: bytes) -> None:
        """Keep whole lines: when this returns they are safe. Raises InputError; then none of them is there twice."""

    def unread(self) -> tuple[list[bytes], int]:
        """Lines that this store has not given yet, and how many pieces were found unfinished and are left out."""

    def same(self) -> bool:
        """Whether the store is still the one that its name leads to."""

    def close(self) -> None:
        """Release it."""


class Ledger:
    """Paid calls by key, in memory and on a store. Safe to use from threads."""

    def __init__(self, path: str = "", store: LedgerStore | None = None) -> None:
        """Use `open_ledger`. Without a store the calls are in memory only."""
        self.path = path
        self.torn = 0  # lines or objects that a crash left unfinished, left out
        self.unreadable = 0  # whole lines that are no calls, left alone
        self._calls: dict[str, Call] = {}
        self._silences: Counter[str] = Counter()
        self._notes = BatchNotes()
        self._lock = threading.Lock()
        self._store = store
        self.read()

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, key: str) -> bool:
        return key in self._calls

    @property
    def full(self) -> str:
        """Why no more is to be paid, '' as long as there is room."""
        return self._store.full if self._store is not None else ""

    def get(self, key: str) -> Call | None:
        """The paid call with this key, None if it was not paid yet."""
        return self._calls.get(key)

    def add(self, calls: Sequence[Call]) -> None:
        """Keep paid calls: when this returns they are on the store. Raises InputError when they cannot be kept."""
        with self._lock:
            if self._store is not None:
                try:
                    self._store.append(b"".join(_line(c) for c in calls))
                except InputError as e:
                    raise InputError(
                        f"ledger {self.path}: a paid reply could not be written: {e}. Mend that and start the run again: "
                        f"the {len(self)} calls written before are not paid again"
                    ) from e
            self._calls.update((c.key, c) for c in calls)

    def silences(self, key: str) -> int:
        """How often the run stopped at an endpoint that did not answer this key."""
        return self._silences[key]

    def add_silence(self, key: str, why: str) -> None:
        """Keep that the run stops with this key unanswered. Raises InputError when it cannot be kept."""
        with self._lock:
            self._silences[key] += 1
            if self._store is not None:
                self._store.append(_json({"silence": key, "time": now(), "why": why}))

    def batches(self) -> list[BatchNote]:
        """Batches that have not ended, the oldest first."""
        with self._lock:
            return self._notes.open()

    def note_batch(self, mark: str, **known: Any) -> None:
        """Keep what became known of a batch: fields of BatchNote. Raises InputError when it cannot be kept."""
        line = {"mark": mark, "time": now(), **known}
        with self._lock:
            self._notes.take(line)
            if self._store is not None:
                try:
                    self._store.append(_json(line))
                except InputError as e:
                    raise InputError(f"ledger {self.path}: a batch could not be noted: {e}. Mend that and start again") from e

    def read(self) -> None:
        """Take in what is on the store and not in memory yet."""
        if self._store is None:
            return
        with self._lock:
            lines, torn = self._store.unread()
            bad = sum(not self._take(line) for line in lines)
        self.torn, self.unreadable = self.torn + torn, self.unreadable + bad
        if torn or bad:
            print(
                f"ledger {self.path}: {len(self)} paid calls; {torn} unfinished and {bad} unreadable left out; "
                "what they held is asked again",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        """Release the store. A ledger that nobody refers to any more does so by itself."""
        if self._store is not None:
            self._store.close()

    def same(self) -> bool:
        """Whether its name still leads to what is open."""
        return self._store is not None and self._store.same()

    def _take(self, line: bytes) -> bool:
        try:
            value = json.loads(line)
            if "silence" in value:
                self._silences[str(value["silence"])] += 1
                return True
            if "mark" in value:
                self._notes.take(value)
                return True
            call = Call(**value)
        except (LookupError, ValueError, TypeError):
            return False
        self._calls[call.key] = call
        return True


class LedgerWriter:
    """Adds calls from an event loop. Those that come while a write is under way are written together by the next."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._pending: list[tuple[Call, asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None
        self._writing: asyncio.Future[None] | None = None

    @property
    def full(self) -> str:
        """Why the ledger takes no more calls; '' while it does."""
        return self._ledger.full

    async def add(self, call: Call) -> None:
        """Returns when the call is kept. Raises what `Ledger.add` raises."""
        if not self._ledger.path:
            self._ledger.add([call])
            return
        written = asyncio.get_running_loop().create_future()
        self._pending.append((call, written))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        await written

    async def drain(self) -> None:
        """Write what is pending, even for those who were cancelled while they waited, and when the loop itself is ended."""
        if self._flushing is None:
            return
        with suppress(asyncio.CancelledError):
            await self._flushing
        if self._writing is not None:
            await asyncio.wait([self._writing])
        await self._flush()

    async def _flush(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, []
            # No task, which would be cancelled with all others when the loop is ended: a batch may wait for its thread then.
            self._writing = asyncio.get_running_loop().run_in_executor(None, self._ledger.add, [call for call, _ in batch])
            try:
                await asyncio.shield(self._writing)
            except InputError as e:
                for _, written in batch:
                    if not written.done():
                        written.set_exception(e)
            else:
                for _, written in batch:
                    if not written.done():
                        written.set_result(None)


def open_ledger(place: str) -> Ledger:
    """The ledger in this file or below this URI in a store, '' for one in memory only.

    Within a process all who open one place share its ledger. Raises InputError when it cannot be written, or for a file when
    another process has it open. Below a URI several processes may write: none loses a call, but each may pay for the same one.
    """
    if not place:
        return Ledger()
    remote = "://" in place
    if not remote and ((uri := bucket_uri(Path(place))) or on_fuse(Path(place))):
        raise InputError(
            f"ledger {place}: a paid reply is not safe here before the file is closed; "
            f"give {uri or 'gs://, s3:// or a file on a disk'}"
        )
    name = place.rstrip("/") if remote else str(Path(place).expanduser().resolve())
    with _OPENING:
        ledger = _OPEN.get(name)
        if ledger is None or not ledger.same():
            ledger = _OPEN[name] = Ledger(name, LedgerObjects(name) if remote else LedgerFile(Path(name)))
        else:
            ledger.read()
        return ledger


_OPEN: weakref.WeakValueDictionary[str, Ledger] = weakref.WeakValueDictionary()
_OPENING = threading.Lock()


def _line(call: Call) -> bytes:
    return _json({name: value for name, value in asdict(call).items() if value or name not in _OPTIONAL})


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def now() -> float:
    """Seconds since the epoch, to the millisecond: what `Call.time` holds."""
    return round(time.time(), 3)
