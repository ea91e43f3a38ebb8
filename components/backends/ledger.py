"""Every paid LLM call, written down before its reply is used, so that nothing is paid twice. One line of the file:

    {"key": "9f3c...", "name": "analyse/it1/val-017", "model": "gpt-5-mini", "time": 1763712345.2,
     "text": "{\\"root_cause\\": ...}", "finish": "stop", "input_tokens": 412, "output_tokens": 63}

The key is a hash of what was asked (see `call_key`). Replies that could not be used stand here too: a run that is started again
then asks again just as it did before, without paying.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.core.errors import InputError


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


def call_key(
    model: str, messages: Sequence[dict[str, str]], schema: dict[str, Any], temperature: float, salt: str, max_tokens: int
) -> str:
    """SHA-256 of what is asked, in hex. Where the endpoint is has no part in it: a server may come back on another port."""
    asked = {
        "model": model,
        "messages": [{"role": m["role"], "content": m["content"]} for m in messages],
        "schema": schema,
        "temperature": float(temperature),
        "salt": salt,
        "max_tokens": max_tokens,
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class Ledger:
    """Paid calls by key, in memory and in a file that is locked as long as the ledger is open. Safe to use from threads."""

    def __init__(self, path: Path | None) -> None:
        """Use `open_ledger`. `path` None keeps the calls in memory only."""
        self.path = path
        self.torn = 0  # lines that a crash left unfinished, cut off
        self.unreadable = 0  # whole lines that are no calls, left alone
        self._calls: dict[str, Call] = {}
        self._lock = threading.Lock()
        self._file: int | None = None
        if path is not None:
            self._file = _open_locked(path)
            self._close = weakref.finalize(self, os.close, self._file)
            self._load(path)

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, key: str) -> bool:
        return key in self._calls

    def get(self, key: str) -> Call | None:
        """The paid call with this key, None if it was not paid yet."""
        return self._calls.get(key)

    def add(self, calls: Sequence[Call]) -> None:
        """Keep paid calls: when this returns they are on the disk. Raises InputError when they cannot be written.

        A line that could not be written whole is taken back out of the file.
        """
        with self._lock:
            if self._file is not None:
                self._append(b"".join(_line(c) for c in calls))
            self._calls.update((c.key, c) for c in calls)

    def close(self) -> None:
        """Give the file free. A ledger that nobody refers to any more does so by itself."""
        if self._file is not None:
            self._close()
            self._file = None

    def same_file(self) -> bool:
        """Whether the path still leads to the file that is open."""
        try:
            return self._file is not None and self.path is not None and os.path.samestat(os.fstat(self._file), self.path.stat())
        except FileNotFoundError:
            return False

    def _append(self, lines: bytes) -> None:
        assert self._file is not None
        end, written = os.lseek(self._file, 0, os.SEEK_END), 0
        try:
            while written < len(lines):
                written += os.write(self._file, memoryview(lines)[written:])
            os.fsync(self._file)
        except OSError as e:
            with suppress(OSError):  # then the torn line is cut off when the ledger is opened again
                os.ftruncate(self._file, end + lines.rfind(b"\n", 0, written) + 1)
            raise InputError(
                f"ledger {self.path}: a paid reply could not be written ({e.strerror}); make room, then start the run again: "
                f"the {len(self)} calls written before are not paid again"
            ) from e

    def _load(self, path: Path) -> None:
        assert self._file is not None
        raw = path.read_bytes()
        whole = raw.rfind(b"\n") + 1
        if whole < len(raw):
            self.torn = 1
            os.ftruncate(self._file, whole)
        for line in raw[:whole].split(b"\n")[:-1]:
            try:
                call = Call(**json.loads(line))
            except (ValueError, TypeError):
                self.unreadable += 1
            else:
                self._calls[call.key] = call
        if self.torn or self.unreadable:
            print(
                f"ledger {path}: {len(self)} paid calls, {self.torn} unfinished line cut off, {self.unreadable} unreadable lines "
                "left out; what they held is asked again",
                file=sys.stderr,
                flush=True,
            )


class LedgerWriter:
    """Adds calls from an event loop. Those that come while the disk is busy are written together by one fsync."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._pending: list[tuple[Call, asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None

    async def add(self, call: Call) -> None:
        """Returns when the call is on the disk. Raises what `Ledger.add` raises."""
        if self._ledger.path is None:
            self._ledger.add([call])
            return
        written = asyncio.get_running_loop().create_future()
        self._pending.append((call, written))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        await written

    async def drain(self) -> None:
        """Write what is pending, also for those who were cancelled while they waited."""
        if self._flushing is not None:
            await self._flushing

    async def _flush(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, []
            try:
                await asyncio.to_thread(self._ledger.add, [call for call, _ in batch])
            except InputError as e:
                for _, written in batch:
                    if not written.done():
                        written.set_exception(e)
            else:
                for _, written in batch:
                    if not written.done():
                        written.set_result(None)


def open_ledger(path: str) -> Ledger:
    """The ledger in this file, '' for one in memory only. Within a process all who open one file share its ledger.

    Raises InputError when another process has it open, or it cannot be written.
    """
    if not path:
        return Ledger(None)
    real = Path(path).expanduser().resolve()
    with _OPENING:
        ledger = _OPEN.get(real)
        if ledger is None or not ledger.same_file():
            ledger = _OPEN[real] = Ledger(real)
        return ledger


_OPEN: weakref.WeakValueDictionary[Path, Ledger] = weakref.WeakValueDictionary()
_OPENING = threading.Lock()


def _open_locked(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as e:
        raise InputError(f"ledger {path}: cannot be opened for writing ({e.strerror})") from e
    with suppress(OSError):  # a new file's name must be on the disk as well; not every file system can
        os.fsync(folder)
    os.close(folder)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        os.close(file)
        raise InputError(f"ledger {path}: another process is using it; wait until that run ends, or stop it") from e
    except OSError:
        # Some network file systems know no locks: better to work there without than not at all.
        print(f"ledger {path}: this file system has no locks; do not start two runs on it", file=sys.stderr, flush=True)
    return file


def _line(call: Call) -> bytes:
    return json.dumps(asdict(call), separators=(",", ":")).encode() + b"\n"


def now() -> float:
    """Seconds since the epoch, to the millisecond: what `Call.time` holds."""
    return round(time.time(), 3)
