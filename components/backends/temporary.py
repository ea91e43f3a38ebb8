"""Temporary folders that go with their process, or, if it is killed, with the next process that makes one of the kind.

/tmp/pada-sandbox-5f0c...        the folder
/tmp/pada-sandbox-5f0c....lock   locked before the folder is there, until it is gone; of a killed process the kernel unlocks it
"""

import atexit
import fcntl
import glob
import os
import shutil
import stat
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path

_LOCK = ".lock"


class OwnFolder:
    """A new folder, `path`, of this process alone: in `place` or the system's temporary folder, its name begins with `prefix`.

    It is there until `remove` or the end of a `with`, at the latest until the process ends. What killed processes left under this
    prefix is removed first. Raises OSError where nothing can be written.
    """

    def __init__(self, prefix: str, place: Path | None = None) -> None:
        place = place or Path(tempfile.gettempdir())
        place.mkdir(parents=True, exist_ok=True)
        remove_leftovers(prefix, place)
        self.path = place / f"{prefix}{uuid.uuid4().hex}"
        self._owner = os.getpid()
        self._held: int | None = _hold(self.path)
        self.path.mkdir(mode=0o700)
        atexit.register(self.remove)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove it with all that is in it, if it is still there. Not in a process forked from the one that made it."""
        if self._owner == os.getpid() and self._held is not None:
            _remove(self.path)
            self._let_go()

    def leave(self) -> None:
        """Let it lie for a person to look at, until the next process removes it."""
        if self._held is not None:
            self._let_go()

    def _let_go(self) -> None:
        assert self._held is not None
        atexit.unregister(self.remove)
        os.close(self._held)
        self._held = None


def remove_leftovers(prefix: str, place: Path) -> None:
    """Remove what killed processes left in `place` under names that begin with `prefix`, as far as this user may."""
    for name in {file.name.removesuffix(_LOCK) for file in place.glob(f"{glob.escape(prefix)}*")}:
        _remove_if_nobodys(place / name)


def _hold(path: Path) -> int:
    """The descriptor of the lock on `path`, a name that nobody else can think of."""
    lock = Path(f"{path}{_LOCK}")
    while True:
        held = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(held, fcntl.LOCK_EX)
        if _is(lock, held):
            return held
        os.close(held)  # whoever removes leftovers was faster


def _remove_if_nobodys(path: Path) -> None:
    """Remove a folder, and its lock, unless its process lives."""
    with suppress(OSError):  # it lives, or is another user's
        held = os.open(f"{path}{_LOCK}", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(path)
        finally:
            os.close(held)


def _remove(path: Path) -> None:
    """A folder, whatever a program did to it, and its lock, while that is held."""
    left = [str(path)]
    while left:
        folder = left.pop()
        with suppress(OSError):
            if stat.S_ISDIR(os.lstat(folder).st_mode):  # no link that leads elsewhere
                os.chmod(folder, 0o700)
                left += [entry.path for entry in os.scandir(folder)]
    shutil.rmtree(path, ignore_errors=True)
    Path(f"{path}{_LOCK}").unlink(missing_ok=True)


def _is(lock: Path, held: int) -> bool:
    try:
        return os.path.samestat(os.stat(lock), os.fstat(held))
    except FileNotFoundError:
        return False
