"""What a stage writes to a mounted bucket: made on the local disk and uploaded when the stage ends.

    /tmp/pada-outputs-x1/0/adapter/adapter_model.safetensors ...   written here, whole
    gs://bucket/run/train/adapter/adapter_model.safetensors ...    then uploaded, each object whole or not at all,
    gs://bucket/run/train/adapter/train.json                       and last the file by which readers know that all are there

Where the image has no library for the store, files are copied through the mount instead, in the same order.
"""

import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from pada_agent.components.backends.files import room_at
from pada_agent.components.backends.mounts import bucket_uri, local_path, on_fuse
from pada_agent.components.backends.store.objects import make_folders, remove
from pada_agent.components.backends.store.transfer import put


class Outbox:
    """Local places for what is to be in the bucket; a folder of this process, which `close` removes."""

    def __init__(self) -> None:
        self.uploads = find_spec("gcsfs") is not None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._places: dict[str, Path] = {}  # by URI
        self._last: dict[str, str] = {}

    def place(self, uri: str, last: str = "", fresh: bool = True) -> Path:
        """Where to write what is to be at `uri`; its parent exists. Of a folder, `last` is the file that is uploaded last.

        What an earlier attempt left at the URI is removed if this is to be `fresh`; a single object is overwritten anyway.
        Raises InputError when the bucket cannot be reached.
        """
        if uri not in self._places:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="pada-outputs-", ignore_cleanup_errors=True)
            parent = Path(self._folder.name) / str(len(self._places))
            parent.mkdir()
            if fresh:
                self.clear(uri)
            self._places[uri] = parent / uri.rpartition("/")[2]
        self._last[uri] = last or self._last.get(uri, "")
        return self._places[uri]

    def clear(self, uri: str) -> None:
        """Remove what is at the URI. Raises InputError when the bucket cannot be reached or refuses."""
        if self.uploads:
            remove(uri)
            return
        path = local_path(uri)
        with room_at(path):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def upload(self) -> None:
        """Put everything where it is to be, in the order in which places were asked for. Raises InputError."""
        written = {uri: path for uri, path in self._places.items() if path.exists()}
        if self.uploads:
            make_folders({folder for uri, path in written.items() for folder in _folders(path, uri)})
        for uri, path in written.items():
            (put if self.uploads else _copy)(path, uri, self._last[uri])

    def close(self) -> None:
        """Remove the local folder."""
        if self._folder is not None:
            self._folder.cleanup()


def destination(path: Path) -> str:
    """The gs:// URI of a path where a bucket is mounted, or should be; '' where the launcher or a disk keeps what is written."""
    uri = bucket_uri(path)
    return uri if uri and (on_fuse(path) or not local_path("gs://").exists()) else ""


def _folders(path: Path, uri: str) -> Iterator[str]:
    """URIs of the folders that what is at `path` needs at `uri`."""
    yield uri.rpartition("/")[0]
    if path.is_dir():
        yield uri
        yield from (f"{uri}/{part.relative_to(path).as_posix()}" for part in path.rglob("*") if part.is_dir())


def _copy(path: Path, uri: str, last: str) -> None:
    """Without modes or times, which a mounted bucket does not take."""
    target = local_path(uri)
    names = [path] if path.is_file() else sorted((p for p in path.rglob("*") if p.is_file()), key=lambda p: p == path / last)
    for name in names:
        copy = target / name.relative_to(path)
        with room_at(copy):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(name, copy)
