"""Small objects by URI: notes, markers, pointers. Each is written in one piece, so a reader sees the old one or the new one.

gs://, s3:// and minio:// as in transfer.py; a plain path is a file on the local disk.
"""

import errno
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from pada_agent.components.backends.files import safe_name, write_atomic
from pada_agent.components.backends.patience import patient
from pada_agent.components.backends.progress import notice
from pada_agent.components.backends.store.transfer import open_store, reached
from pada_agent.components.core.errors import InputError

NO_BUCKET = "there is no such bucket"


@patient
def read(uri: str) -> bytes | None:
    """The object's bytes, None if there is none. Raises InputError when the store cannot be reached or refuses."""
    with reached(uri):
        files, path = open_store(uri)
        try:
            content: bytes = files.cat_file(path)
        except FileNotFoundError:
            return None
    return content


@patient
def read_all(uri: str, names: list[str]) -> list[bytes]:
    """The bytes of several objects below `uri`, several at a time. Raises InputError, including when one is not there."""
    with reached(uri):
        files, top = open_store(uri)
        paths = [f"{top.rstrip('/')}/{name}" for name in names]
        contents = files.cat(paths, recursive=False) if paths else {}
        return [contents[path] for path in paths]


@patient
def write(uri: str, data: bytes) -> None:
    """Write the object, or overwrite it. Raises InputError."""
    write_at_once(uri, data)


def write_at_once(uri: str, data: bytes) -> None:
    """The same for who does not wait: raises PassingError where the store may take it in a moment."""
    with reached(uri, NO_BUCKET):
        files, path = open_store(uri)
        if isinstance(files, LocalFileSystem):
            write_atomic(Path(path), data)
        else:
            files.pipe_file(path, data)


@patient
def create(uri: str, data: bytes) -> bool:
    """Write the object if there is none; False if there is one. A store without conditional writes overwrites it."""
    with reached(uri, NO_BUCKET):
        files, path = open_store(uri)
        if isinstance(files, LocalFileSystem):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            files.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
        except (OSError, NotImplementedError) as e:
            status = _http_status(e)
            if status not in {409, 412, 501}:
                raise
            if status == 501:
                files.pipe_file(path, data)
            return status == 501
    return True


def make_folders(uris: Iterable[str]) -> None:
    """Make the objects `folder/` that a mount without implicit directories needs, for these folders and all above them.

    Other mounts do without, so that a store which refuses such names or places is no error but a line.
    """
    with_parents = set()
    for uri in uris:
        scheme, _, path = uri.partition("://")
        parts = path.strip("/").split("/")
        with_parents |= {f"{scheme}://{'/'.join(parts[:depth])}/" for depth in range(2, len(parts) + 1)}
    try:
        for folder in sorted(with_parents):
            create(folder, b"")
    except InputError as e:
        notice(f"{e}; a mount without implicit directories will not show what is written there")


@patient
def names(uri: str) -> list[str]:
    """Names of all objects below `uri`, relative to it and sorted; none if there are none.

    Raises InputError, including for a name that cannot be a file's.
    """
    with reached(uri, NO_BUCKET):
        files, path = open_store(uri)
        top = path.rstrip("/")
        below = [name[len(top) + 1 :] for name in files.find(top) if name != top and not name.endswith("/")]
        return sorted(safe_name(name, uri) for name in below)


@patient
def remove(uri: str) -> None:
    """Remove the object, or all objects below `uri`; nothing happens if there are none. Raises InputError."""
    with reached(uri, NO_BUCKET):
        files, path = open_store(uri)
        for name in files.find(path):
            with suppress(FileNotFoundError):
                files.rm_file(name)


def _http_status(error: Exception) -> int:
    """The status behind an error of s3fs, which keeps botocore's as the cause; 0 if there is none."""
    if isinstance(error, NotImplementedError) or getattr(error, "errno", 0) == errno.ENOSYS:
        return 501
    response: Any = getattr(error.__cause__, "response", None)
    return int(response["ResponseMetadata"].get("HTTPStatusCode", 0)) if isinstance(response, dict) else 0
