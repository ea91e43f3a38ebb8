"""What lies at an address now, told without reading it: another content has another version.

gs://data/train.jsonl             md5 q1Rk..., 5312 bytes           its generation where an object has no MD5
s3://data/train.jsonl             etag 9a0364b9..., 5312 bytes      minio:// too
s3://data/shards                  sha256 of the names and versions of what is in it
org/model, owner/name#split       the commit of the hub
/data/train.jsonl                 sha256 of a small file, else size and time of change
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pada_agent.components.backends.files import file_hash
from pada_agent.components.backends.store.transfer import open_store, reached
from pada_agent.components.core.addresses import HUB_ROWS, Address, addresses
from pada_agent.components.core.errors import InputError, PadaError
from pada_agent.components.core.settings import Settings

NOT_SEEN = "not seen"  # key of a word that is new each time, in the versions of addresses of which one is not known
SMALL = 1 << 20  # bytes; a copy of a small file is the same file
HUB_SECONDS = 10.0
# What a store says of an object, the surest first. Some have several: an MD5 stays where the same bytes are written again.
_MARKS = ("md5Hash", "generation", "ETag", "etag")


def versions(of: Iterable[Address]) -> dict[str, str]:
    """`version_at` of each address, by key; several are asked at a time."""
    asked = list(of)
    with ThreadPoolExecutor() as pool:
        return dict(zip((address.key for address in asked), pool.map(version_at, asked), strict=True))


def check_versions(settings: Settings, seen: str) -> None:
    """Check that what lies at the addresses is what was `seen` there before, as JSON; other words are not checked.

    Raises InputError that names the setting.
    """
    try:
        before = json.loads(seen)
    except ValueError:
        return
    if not isinstance(before, dict):
        return
    for key, now in versions(address for address in addresses(settings) if before.get(address.key)).items():
        if now and now != before[key]:
            raise InputError(f"{key}: changed since the run was submitted (it was {before[key]}, it is {now}); submit it again")


def version_at(address: Address) -> str:
    """What lies there now; '' where this machine cannot tell: nothing there, no right to look, a volume of the cluster's.

    A path is looked for on this machine, which may have something else there than a pod.
    """
    try:
        if address.is_uri:
            return _in_store(address.value)
        if address.is_path:
            return _on_disk(Path(address.value))
        return _on_hub(address)
    except (PadaError, OSError):
        return ""


def _in_store(uri: str) -> str:
    with reached(uri):
        files, top = open_store(uri)
        found: Mapping[str, Any] = files.info(top)
        if found["type"] == "file":
            return _mark(found)
        inside = files.find(top, detail=True)
        return _together((name[len(top.rstrip("/")) :], _mark(entry)) for name, entry in sorted(inside.items()))


def _mark(entry: Mapping[str, Any]) -> str:
    mark = next((f"{name.removesuffix('Hash').lower()} {entry[name]}" for name in _MARKS if entry.get(name)), "")
    return f"{mark}, {entry['size']} bytes".replace('"', "") if mark else ""


def _on_disk(path: Path) -> str:
    if not path.is_dir():
        return _file(path)
    inside = (p for p in sorted(path.rglob("*")) if p.is_file())
    return _together((p.relative_to(path).as_posix(), _file(p)) for p in inside)


def _file(path: Path) -> str:
    facts = path.stat()
    return f"sha256 {file_hash(path)}" if facts.st_size <= SMALL else f"{facts.st_size} bytes, {facts.st_mtime_ns} ns"


def _together(parts: Iterator[tuple[str, str]]) -> str:
    """'' as well when a part cannot be told, or there is none."""
    known = list(parts)
    if not known or not all(mark for _, mark in known):
        return ""
    return f"sha256 {hashlib.sha256(json.dumps(known).encode()).hexdigest()}"


def _on_hub(address: Address) -> str:
    """Of rows, the commit of the branch with the Parquet copies, which are what is read."""
    with reached(address.value):
        from huggingface_hub import HfApi

        if address.kind == "model":
            return f"commit {HfApi().model_info('/'.join(address.value.split('/')[:2]), timeout=HUB_SECONDS).sha}"
        rows = HUB_ROWS.fullmatch(address.value)
        if rows is None:
            return ""
        found = HfApi().dataset_info(rows["name"], revision="refs/convert/parquet", timeout=HUB_SECONDS)
        return f"commit {found.sha}"
