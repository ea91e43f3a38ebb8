"""Hands a finished model over: a folder at a URI, and a pointer that names it only once it is whole.

<uri>/iteration-2-5b1f03c7a9d4/adapter_model.safetensors ...    the folder; its name ends in a hash of what is in it
<uri>/shipped.json                                              written last; a reader starts here:

    {"name": "iteration-2", "folder": "iteration-2-5b1f03c7a9d4", "files": {"adapter_model.safetensors": "<SHA-256>", ...},
     "facts": {"test_accuracy": 0.71}}

A reader sees the old model or the whole new one, even after a crash, and never a mixture: other content is another
folder. Folders of earlier exports stay.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pada_agent.components.backends.files import file_hash, safe_name
from pada_agent.components.backends.store.objects import read, write
from pada_agent.components.backends.store.transfer import fetch, put
from pada_agent.components.core.errors import InputError

POINTER = "shipped.json"


def publish(folder: Path, uri: str, name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Copy `folder` below `uri` (gs://, s3:// or a path) and point to it; returns the pointer.

    Doing it again does nothing; after a crash, it adds what was missing. Raises InputError for an empty folder or a store that
    refuses.
    """
    files = _files(folder)
    if not files:
        raise InputError(f"{folder}: there is nothing to publish at {uri}")
    uri = uri.rstrip("/")
    text = json.dumps({"name": name, "folder": f"{name}-{_digest(files)}", "files": files, "facts": dict(facts)}, indent=1)
    pointer: dict[str, Any] = json.loads(text)
    if shipped(uri) != pointer:
        put(folder, f"{uri}/{pointer['folder']}")
        write(f"{uri}/{POINTER}", f"{text}\n".encode())
    return pointer


def shipped(uri: str) -> dict[str, Any] | None:
    """The pointer at `uri`, None if nothing was published there. Raises InputError for one that is damaged."""
    raw = read(f"{uri.rstrip('/')}/{POINTER}")
    if raw is None:
        return None
    try:
        pointer: dict[str, Any] = json.loads(raw)
        kept = {key: pointer[key] for key in ("name", "folder", "files", "facts")}
    except (ValueError, KeyError, TypeError) as e:
        raise InputError(
            f"{uri}/{POINTER}: not what `publish` writes ({type(e).__name__}: {e}); remove it and export again"
        ) from e
    if "/" in safe_name(kept["folder"], f"{uri}/{POINTER}"):
        raise InputError(f"{uri}/{POINTER}: the folder {kept['folder']!r} is not beside it; remove the pointer and export again")
    return kept


def fetch_shipped(uri: str, into: Path) -> Path:
    """A local copy of the published folder, each file checked. Raises InputError if there is none or it is not as published."""
    pointer = shipped(uri)
    if pointer is None:
        raise InputError(f"{uri}: nothing was published here; there is no {POINTER}")
    copy = fetch(f"{uri.rstrip('/')}/{pointer['folder']}", into)
    present = _files(copy)
    wrong = [name for name, sha in pointer["files"].items() if present.get(name) != sha]
    if wrong:
        raise InputError(f"{uri}/{pointer['folder']}: {wrong[0]} is missing or not as published; export again")
    return copy


def _files(folder: Path) -> dict[str, str]:
    """SHA-256 of each file by its path in the folder."""
    return {p.relative_to(folder).as_posix(): file_hash(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def _digest(files: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:12]
