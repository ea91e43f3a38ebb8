"""Files written whole or not at all, their hashes, and names that come from outside."""

import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pada_agent.components.core.errors import InputError, PadaError

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
REFUSED = {errno.EPERM, errno.EACCES}
NO_RENAME = {errno.EMFILE, errno.ENOSYS, errno.EOPNOTSUPP}  # the first is gcsfuse's
LONGEST_NAME, LONGEST_PART = 1024, 255  # bytes: of an object's name in GCS and S3, of a file's on Linux

NEARLY_NONE = 2**20  # bytes free: torch and safetensors have no error of their own for a full disk


def write_atomic(path: Path, data: str | bytes | Iterable[bytes]) -> None:
    """Write a file: a reader sees the old one or the whole new one, even after a crash.

    Raises InputError on a full disk, or where this process may not write.
    """
    with room_at(path):
        _write_atomic(path, [data.encode()] if isinstance(data, str) else [data] if isinstance(data, bytes) else data)


@contextmanager
def room_at(path: Path) -> Iterator[None]:
    """The block writes `path`: errors of a full disk, however a library words it, and of rights become an InputError."""
    try:
        yield
    except (PadaError, MemoryError):
        raise
    except Exception as e:
        number = _error_number(e, path)
        if number in REFUSED:
            raise InputError(refusal(path, number)) from e
        if number not in DISK_FULL:
            raise
        raise InputError(f"{path}: {os.strerror(number)}; make room and start again: what is finished is kept") from e


def refusal(path: Path, number: int) -> str:
    """What is wrong with rights at `path`, where the system said EPERM or EACCES: whose it is, who we are, what to do."""
    there, of = _lowest(path)
    return (
        f"{path}: {os.strerror(number)}: {there} is of user {of.st_uid}, group {of.st_gid}, mode {stat.S_IMODE(of.st_mode):o}; "
        f"this process is of user {os.geteuid()}, group {os.getegid()}. Give it that right, or another place: "
        "gs:// or s3:// where a bucket is meant"
    )


def _lowest(path: Path) -> tuple[Path, os.stat_result]:
    """Of the path and the folders above it, the lowest that can be seen."""
    for place in (path, *path.absolute().parents):
        with suppress(OSError):
            return place, place.stat()
    raise AssertionError("the root can always be seen")


def _error_number(error: Exception, path: Path) -> int:
    """The system's own, else what the free space says; 0 for an error that is not about it."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    return errno.ENOSPC if shutil.disk_usage(_lowest(path)[0]).free < NEARLY_NONE else 0


def _write_atomic(path: Path, parts: Iterable[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as f:
        try:
            f.writelines(parts)
            f.flush()
            os.fsync(f.fileno())
            os.fchmod(f.fileno(), 0o644)  # the next stage may run as another user
            os.replace(f.name, path)
        except BaseException:
            Path(f.name).unlink(missing_ok=True)
            raise


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """A new directory to fill, which takes the place of `path` only when the block ends well."""
    with room_at(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        with room_at(path):
            yield work
            for part in (work, *work.rglob("*")):  # a next stage may run as another user, whom mkdtemp and safetensors lock out
                part.chmod(0o755 if part.is_dir() else 0o644)
            replace(work, path)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def replace(new: Path, old: Path) -> None:
    if old.is_dir():
        shutil.rmtree(old)
    try:
        os.replace(new, old)
    except OSError as e:
        if not new.is_dir() or e.errno not in NO_RENAME:
            raise
        raise InputError(
            f"{old}: a folder cannot be renamed here ({e.strerror}), as in a mounted bucket; give gs://, s3:// or a disk"
        ) from e


def safe_name(name: object, where: str) -> str:
    """`name`, if it is a relative path that leads nowhere but down, such as `a` or `a/b.json`; `where` is whose name it is.

    Raises InputError for anything else: whoever writes to a store also chooses the names in it.
    """
    parts = name.split("/") if isinstance(name, str) else [""]
    sizes = [len(part.encode(errors="replace")) for part in parts]
    long = max(sizes) > LONGEST_PART or sum(sizes) + len(sizes) > LONGEST_NAME
    if long or {"", ".", ".."} & set(parts) or {"\0", "\\"} & set(str(name)):
        raise InputError(f"{where}: {str(name)[:200]!r} cannot be the name of a file; rename or remove it")
    return str(name)


def below(top: Path, name: object, where: str) -> Path:
    """The path of `name` below `top`. Raises InputError for an unsafe name, or one that a symbolic link leads elsewhere."""
    path = top / safe_name(name, where)
    if top.resolve() not in path.resolve().parents:
        raise InputError(f"{where}: {path} leads out of {top}; remove the symbolic link")
    return path


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
