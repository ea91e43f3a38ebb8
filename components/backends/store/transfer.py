"""Files that come from or go to an object store.

An object store is whatever fsspec has a file system for: gs:// through gcsfs, s3:// and minio:// through s3fs; a plain path is
the local disk. A store that does not answer for a moment is asked again (see patience.py).
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from pada_agent.components.backends.files import below, replace, safe_name, write_atomic
from pada_agent.components.backends.patience import passes, patient
from pada_agent.components.backends.temporary import OwnFolder
from pada_agent.components.core.addresses import speaks
from pada_agent.components.core.errors import InputError, PadaError, PassingError


def open_store(uri: str) -> tuple[AbstractFileSystem, str]:
    """The file system that `uri` is on, and its path there. Use inside `reached`."""
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs a traceback for what `reached` says in one line
    api = speaks(uri)
    address = f"{api}://{uri.partition('://')[2]}" if api else uri
    if api == "gs":
        # The other class of gcsfs, registered unless this is set before its first import, asks Google's control plane what kind
        # of bucket it is, with credentials of its own, each time anew.
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        import aiohttp
        from gcsfs.core import GCSFileSystem

        files: AbstractFileSystem = GCSFileSystem()
        path = GCSFileSystem._strip_protocol(address)
        # Without it gcsfs waits for a connection that died until somebody kills the run.
        files.requests_timeout = aiohttp.ClientTimeout(sock_connect=30, sock_read=120)
    else:
        files, path = fsspec.url_to_fs(address)
    files.invalidate_cache()  # what another process wrote since is to be seen
    if files.async_impl:
        files.batch_size = 8  # files at a time: parts of 50 MB of many more would not fit a small pod's memory
    return files, str(path)


@patient
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
        target = below(into, PurePosixPath(top).name, uri)
        sizes = {name: entry["size"] for name, entry in files.find(source, detail=True).items() if not name.endswith("/")}
        if not sizes:
            raise InputError(f"{uri}: there is nothing there")
        into.mkdir(parents=True, exist_ok=True)
        with OwnFolder(f".{target.name}.fetching-", into) as work:
            whole = work / target.name
            copies = {name: whole / _below(top, name, uri) for name in sorted(sizes)}
            for copy in copies.values():
                copy.parent.mkdir(parents=True, exist_ok=True)
            files.get(list(copies), [str(copy) for copy in copies.values()])
            for name, copy in copies.items():
                if sizes[name] is not None and copy.stat().st_size != sizes[name]:
                    raise PassingError(f"{uri}: {name} came with {copy.stat().st_size} of {sizes[name]} bytes; try again")
            replace(whole, target)
    return target


def _below(top: str, name: str, uri: str) -> str:
    """The path of object `name` below `top`, '' for `top` itself. An object's name may be anything, even a way out of here."""
    inside = name[len(top) + 1 :]
    return safe_name(inside, uri) if inside else ""


@patient
def put(path: Path, uri: str, last: str = "") -> None:
    """Copy a file to `uri`, or the files of a directory below `uri`, the one called `last` after all others.

    Other files already there stay. Raises InputError.
    """
    if not path.exists():
        raise InputError(f"{path}: there is nothing to store at {uri}")
    names = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    with reached(uri, "there is no such bucket"):
        files, top = open_store(uri) if "://" in uri else (LocalFileSystem(), os.path.abspath(uri))
        ends = [name for name in names if last and name == path / last]
        for part in filter(None, ([name for name in names if name not in ends], ends)):
            targets = [top.rstrip("/") + ("" if name == path else f"/{name.relative_to(path).as_posix()}") for name in part]
            if not isinstance(files, LocalFileSystem):
                files.put([str(name) for name in part], targets)
                continue
            for name, target in zip(part, map(Path, targets), strict=True):
                write_atomic(target, name.read_bytes())


@contextmanager
def reached(uri: str, missing: str = "there is nothing there") -> Iterator[None]:
    """Turns whatever a store's library raises into an InputError of one line; `missing` is what a 404 means here.

    What may be over in a moment becomes a PassingError.
    """
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
        kind = PassingError if passes(e) else InputError
        raise kind(f"{uri}: cannot be reached ({type(e).__name__}: {why})") from e
