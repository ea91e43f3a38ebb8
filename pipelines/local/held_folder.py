"""A folder that one process at a time works in, such as a run's or a study's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pada_agent.components.core.errors import InputError


@contextmanager
def held(folder: Path, taken: str, option: str) -> Iterator[None]:
    """Hold a folder, made if need be. Raises InputError: `taken` to a second process, or which `option` to give another way."""
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as e:
        raise InputError(f"{folder}: {taken}") from e
    except OSError as e:
        raise InputError(f"{folder}: cannot be written ({e.strerror}); give another {option}") from e
    try:
        yield
    finally:
        lock.release()
