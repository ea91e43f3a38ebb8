"""The lines of a ledger in a file of this machine, locked as long as it is open.

Beside it, <ledger>.reserve keeps room for the replies still under way if the disk fills up; it is given up then.
"""

import fcntl
import os
import sys
import weakref
from contextlib import suppress
from pathlib import Path

from pada_agent.components.backends.files import DISK_FULL
from pada_agent.components.core.errors import InputError

RESERVE = 1 << 20  # bytes: more than the replies of any concurrency


class LedgerFile:
    """A LedgerStore (see calls.py) in one file, made if need be. Raises InputError when another process has it open."""

    def __init__(self, path: Path) -> None:
        self.full = ""  # why the reserve was needed: what comes now is to be the last
        self._path, self._reserve = path, path.with_name(f"{path.name}.reserve")
        self._file: int | None = _open_locked(path)
        self._close = weakref.finalize(self, _give_free, self._file, self._reserve)
        self._given = False
        try:
            _fill(self._reserve)
        except InputError:
            self.close()
            raise

    def append(self, lines: bytes) -> None:
        """Write lines and wait for the disk; on a full one into the room of the reserve, once, and `full` says so from then on.

        A line that could not be written whole is taken back out of the file.
        """
        kept, error = self._write(lines)
        if error and error.errno in DISK_FULL and not self.full:
            self.full = error.strerror or "the disk is full"
            self._reserve.unlink(missing_ok=True)
            _, error = self._write(lines[kept:])
        if error:
            raise InputError(f"{error.strerror}; make room") from error

    def _write(self, lines: bytes) -> tuple[int, OSError | None]:
        """How many bytes of whole lines are kept, and what stopped it."""
        assert self._file is not None
        end, written = os.lseek(self._file, 0, os.SEEK_END), 0
        try:
            while written < len(lines):
                written += os.write(self._file, memoryview(lines)[written:])
            os.fsync(self._file)
        except OSError as e:
            # A disk that does not confirm may have kept nothing of it.
            kept = lines.rfind(b"\n", 0, written) + 1 if written < len(lines) else 0
            with suppress(OSError):  # else the torn line is cut off when the ledger is opened again
                os.ftruncate(self._file, end + kept)
            return kept, e
        return written, None

    def unread(self) -> tuple[list[bytes], int]:
        """All lines, the first time; a last line that a crash left unfinished is cut off."""
        assert self._file is not None
        if self.full:  # opened again: somebody may have made room
            _fill(self._reserve)
            self.full = ""
        if self._given:  # nobody else can have written since
            return [], 0
        self._given = True
        raw = self._path.read_bytes()
        whole = raw.rfind(b"\n") + 1
        if whole < len(raw):
            os.ftruncate(self._file, whole)
        return raw[:whole].split(b"\n")[:-1], int(whole < len(raw))

    def same(self) -> bool:
        """Whether the path still leads to the file that is open."""
        try:
            return self._file is not None and os.path.samestat(os.fstat(self._file), self._path.stat())
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Release the file; a store that nobody refers to any more does so by itself."""
        self._close()
        self._file = None


def _fill(reserve: Path) -> None:
    """Take room on the disk, where the file system can. Raises InputError when there is too little, before a call is paid."""
    try:
        with reserve.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, RESERVE)
    except OSError as e:
        reserve.unlink(missing_ok=True)
        if e.errno in DISK_FULL:
            raise InputError(f"ledger {reserve.parent}: no room for paid replies ({e.strerror}); make room") from e


def _give_free(file: int, reserve: Path) -> None:
    with suppress(OSError):
        reserve.unlink(missing_ok=True)
    os.close(file)


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
