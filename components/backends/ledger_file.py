"""The lines of a ledger in a file of this machine, locked as long as it is open."""

import fcntl
import os
import sys
import weakref
from contextlib import suppress
from pathlib import Path

from components.core.errors import InputError


class LedgerFile:
    """A shelf (see ledger.py) in one file, made if need be. Raises InputError when another process has it open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = _open_locked(path)
        self._close = weakref.finalize(self, os.close, self._file)
        self._given = False

    def append(self, lines: bytes) -> None:
        """Write lines and wait for the disk. A line that could not be written whole is taken back out of the file."""
        assert self._file is not None
        end, written = os.lseek(self._file, 0, os.SEEK_END), 0
        try:
            while written < len(lines):
                written += os.write(self._file, memoryview(lines)[written:])
            os.fsync(self._file)
        except OSError as e:
            with suppress(OSError):  # then the torn line is cut off when the ledger is opened again
                os.ftruncate(self._file, end + lines.rfind(b"\n", 0, written) + 1)
            raise InputError(f"{e.strerror}; make room") from e

    def unread(self) -> tuple[list[bytes], int]:
        """All lines, the first time; a last line that a crash left unfinished is cut off."""
        assert self._file is not None
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
        """Give the file free; a shelf that nobody refers to any more does so by itself."""
        self._close()
        self._file = None


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
