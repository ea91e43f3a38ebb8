"""Record files between stages, and files that come from or go to an object store.

A record file is JSONL, one record a line, UTF-8, written whole or not at all. An object store is whatever fsspec has a
file system for: gs:// through gcsfs, s3:// through s3fs; a plain path is the local disk.
"""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel, ValidationError

from components.backends.executor import room_at, validation_message, write_atomic
from components.core.errors import InputError, PadaError

M = TypeVar("M", bound=BaseModel)


def read_records(path: Path, model: type[M]) -> list[M]:
    """The records of a JSONL file. Raises InputError with file, line and field for a line that is not a `model`."""
    records = []
    with _open(path) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                records.append(_record(line, model, f"{path}:{number}"))
    return records


def write_records(path: Path, records: Iterable[BaseModel]) -> None:
    """Write a JSONL file, atomically. The same records give the same bytes."""
    lines = (json.dumps(record.model_dump(mode="json"), ensure_ascii=False) + "\n" for record in records)
    write_atomic(path, _utf8("".join(lines)))


def read_record(path: Path, model: type[M]) -> M:
    """The one record of a JSON file. Raises InputError with file and field."""
    with _open(path) as file:
        return _record(file.read(), model, str(path))


def read_json(path: Path) -> Any:
    """The value of a JSON file. Raises InputError with file and line when it is not JSON."""
    with _open(path) as file:
        try:
            return json.load(file)
        except json.JSONDecodeError as e:
            raise InputError(f"{path}:{e.lineno}: not JSON ({e.msg}, column {e.colno})") from e
        except UnicodeDecodeError as e:
            raise InputError(f"{path}: not UTF-8 text ({e.reason} at byte {e.start})") from e


def write_json(path: Path, value: Any) -> None:
    """Write a JSON value or a pydantic model, indented, atomically."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    write_atomic(path, _utf8(json.dumps(plain, indent=1, ensure_ascii=False) + "\n"))


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """A new directory to fill, which takes the place of `path` only when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        with room_at(path):
            yield work
        for part in (work, *work.rglob("*")):  # a next stage may run as another user, whom mkdtemp and safetensors lock out
            part.chmod(0o755 if part.is_dir() else 0o644)
        _replace(work, path)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def open_store(uri: str) -> tuple[AbstractFileSystem, str]:
    """The file system that `uri` is on, and its path there. Use inside `reached`."""
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs a traceback for what `reached` says in one line
    # Otherwise gcsfs first asks Google's control plane what kind of bucket it is, with credentials of its own, each time anew.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    files, path = fsspec.url_to_fs(uri)
    files.invalidate_cache()  # what another process wrote since is to be seen
    if uri.startswith("gs://"):
        import aiohttp

        # Without it gcsfs waits for a connection that died until somebody kills the run.
        files.requests_timeout = aiohttp.ClientTimeout(sock_connect=30, sock_read=120)
    if files.async_impl:
        files.batch_size = 8  # files at a time: parts of 50 MB of many more would not fit a small pod's memory
    return files, str(path)


def fetch(uri: str, into: Path) -> Path:
    """A local copy of the file or directory `uri`, as `into`/<its last name>; a plain path is returned as it is.

    What was there under that name is replaced, and only once the copy is whole. Raises InputError.
    """
    if "://" not in uri:
        if not Path(uri).exists():
            raise InputError(f"{uri}: there is no such file or directory")
        return Path(uri)
    with reached(uri):
        files, source = open_store(uri)
        top = source.rstrip("/")
        found = {name: entry["size"] for name, entry in files.find(source, detail=True).items() if not name.endswith("/")}
        if not found:
            raise InputError(f"{uri}: there is nothing there")
        target = into / PurePosixPath(top).name
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into, prefix=f".{target.name}.") as work:
            whole = Path(work) / target.name
            copies = {name: whole / _below(top, name, uri) for name in sorted(found)}
            for copy in copies.values():
                copy.parent.mkdir(parents=True, exist_ok=True)
            files.get(list(copies), [str(copy) for copy in copies.values()])
            for name, copy in copies.items():
                if found[name] is not None and copy.stat().st_size != found[name]:
                    raise InputError(f"{uri}: {name} came with {copy.stat().st_size} of {found[name]} bytes; try again")
            _replace(whole, target)
    return target


def _below(top: str, name: str, uri: str) -> str:
    """The path of object `name` below `top`, '' for `top` itself. An object's name may be anything, also a way out of here."""
    inside = name[len(top) + 1 :]
    if inside.startswith("/") or ".." in inside.split("/"):
        raise InputError(f"{uri}: {name} cannot be the name of a file; rename or remove that object")
    return inside


def put(path: Path, uri: str) -> None:
    """Copy a file to `uri`, or the files of a directory below `uri`; other files already there stay. Raises InputError."""
    if not path.exists():
        raise InputError(f"{path}: there is nothing to store at {uri}")
    names = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    with reached(uri, "there is no such bucket"):
        files, top = open_store(uri) if "://" in uri else (LocalFileSystem(), os.path.abspath(uri))
        targets = [top.rstrip("/") + ("" if name == path else f"/{name.relative_to(path).as_posix()}") for name in names]
        if not isinstance(files, LocalFileSystem):
            files.put([str(name) for name in names], targets)
            return
        for name, target in zip(names, map(Path, targets), strict=True):
            write_atomic(target, name.read_bytes())


@contextmanager
def reached(uri: str, missing: str = "there is nothing there") -> Iterator[None]:
    """Turns whatever a store's library raises into an InputError of one line; `missing` is what a 404 means here."""
    try:
        yield
    except PadaError:
        raise
    except FileNotFoundError as e:
        raise InputError(f"{uri}: {missing}") from e
    except ImportError as e:
        extra = "hub" if uri.startswith("hf://") or "://" not in uri else "storage"  # row_sources: owner/name#split
        raise InputError(f"{uri}: cannot be read without a library; pip install 'pada-agent[{extra}]' ({e})") from e
    except Exception as e:  # every store has exceptions of its own, from HTTP to credentials
        why = " ".join(str(e).split())[:300]
        if isinstance(e, PermissionError) or why.startswith("Forbidden") or getattr(e, "code", 0) == 401:  # the latter two: gcsfs
            raise InputError(f"{uri}: no permission ({why}); check the credentials and their rights on this bucket") from e
        raise InputError(f"{uri}: cannot be reached ({type(e).__name__}: {why})") from e


def _replace(new: Path, old: Path) -> None:
    if old.is_dir():
        shutil.rmtree(old)
    try:
        os.replace(new, old)
    except OSError:
        if not new.is_dir():
            raise
        shutil.copytree(new, old)  # a bucket mounted with FUSE cannot rename a directory
        shutil.rmtree(new)


def _open(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror})") from e


def _record(text: bytes, model: type[M], where: str) -> M:
    try:
        return model.model_validate_json(text)
    except ValidationError as e:
        invalid = next((d for d in e.errors() if d["type"] == "json_invalid"), None)
        what = f"not JSON ({invalid['ctx']['error']})" if invalid else validation_message(e)
        raise InputError(f"{where}: {what}") from e


def _utf8(text: str) -> bytes:
    # A model may answer with half of a surrogate pair, which UTF-8 cannot hold; one '?' is better than a lost run.
    return text.encode("utf-8", "replace")
