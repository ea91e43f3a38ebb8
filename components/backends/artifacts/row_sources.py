"""Rows from wherever a user keeps them.

data/train.jsonl                        one JSON object per line
data/train.parquet
data/train                              shards of one file: train-00000-of-00002.parquet, train-00001-of-00002.parquet
gs://bucket/train.jsonl                 also s3://, minio:// and whatever else fsspec reads
rajpurkar/squad#validation              a split of a data set on the hub
openai/gsm8k:main#train                 the same with its configuration
openai/gsm8k:main#train[5000:]          the rows from the 5001st on; [:5000] the first 5000, [5000:6000] a part
"""

import json
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from pada_agent.components.backends.patience import patient_rows
from pada_agent.components.backends.store.transfer import open_store, reached
from pada_agent.components.core.addresses import HUB_ROWS
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields

Rows = Iterator[tuple[str, Fields]]


@patient_rows
def read_rows(source: str) -> Rows:
    """Each row of `source` with its place, 'file:number', counted from 1.

    Raises InputError for a source that is not there or has no reader, and for the first line that is not a JSON object.
    """
    if (hub := HUB_ROWS.fullmatch(source)) and not Path(source).exists():
        part = [int(hub[name]) if hub[name] else None for name in ("start", "stop")]
        yield from islice(_rows(_hub_uri(source, hub), source), *part)
    else:
        yield from _rows(source, source)


def _rows(uri: str, source: str) -> Rows:
    if "://" in uri:
        with reached(source):
            files, top = open_store(uri)
            names = _shards(files, top, source)
    else:
        files, top = LocalFileSystem(), uri
        names = _shards(files, top, source)
    for name in names:
        shown = source if len(names) == 1 else f"{source}/{name.rsplit('/', 1)[-1]}"
        yield from _reader(name)(files, name, shown)


def _hub_uri(source: str, hub: re.Match[str]) -> str:
    """The hub keeps a Parquet copy of every public data set on a branch of its own, one folder a configuration and split."""
    branch = f"hf://datasets/{hub['name']}@refs/convert/parquet"
    with reached(source):
        files, top = open_store(branch)
        config = _choose(files, top, "configuration", hub["config"], source)
        split = _choose(files, f"{top}/{config}", "split", hub["split"], source)
    return f"{branch}/{config}/{split}"


def _choose(files: AbstractFileSystem, top: str, kind: str, wanted: str | None, source: str) -> str:
    entries = files.ls(top, detail=True)
    folders: list[str] = sorted(e["name"].rstrip("/").rsplit("/", 1)[-1] for e in entries if e["type"] == "directory")
    if not wanted and len(folders) == 1:
        return folders[0]
    if wanted in folders:
        return str(wanted)
    complaint = f"there is no {kind} '{wanted}'" if wanted else f"which {kind}? write owner/name:{kind}#split"
    raise InputError(f"{source}: {complaint}; there are {_list(folders) or 'none'}")


def _shards(files: AbstractFileSystem, top: str, source: str) -> list[str]:
    try:
        kind = files.info(top)["type"]
    except FileNotFoundError as e:
        hint = "" if "://" in source or "#" in source else "; a data set on the hub is written owner/name#split"
        raise InputError(f"{source}: there is no such file or directory{hint}") from e
    if kind == "file":
        return [top]
    objects = sorted(files.find(top))
    names = [n for n in objects if n.endswith((*READERS,)) and not n.rsplit("/", 1)[-1].startswith((".", "_"))]
    if not names:
        raise InputError(f"{source}: holds no file that ends in {_list(READERS)}")
    if len({re.sub(r"\d+", "0", n) for n in names}) > 1:
        # Otherwise a folder with train.jsonl and test.jsonl in it would be read as one training set.
        shown = _list([n.rsplit("/", 1)[-1] for n in names])
        raise InputError(f"{source}: holds different files ({shown}); name the one to read")
    return names


def _reader(name: str) -> Callable[[AbstractFileSystem, str, str], Rows]:
    for ending, reader in READERS.items():
        if name.endswith(ending):
            return reader
    raise InputError(f"{name}: only files that end in {_list(READERS)} are read")


def _json_lines(files: AbstractFileSystem, name: str, shown: str) -> Rows:
    with reached(shown), files.open(name, "rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield f"{shown}:{number}", _row(line, f"{shown}:{number}")


def read_json_lines(path: Path) -> Rows:
    """As read_rows, of a local JSONL file whatever its name."""
    return _json_lines(LocalFileSystem(), str(path), str(path))


def _row(line: bytes, where: str) -> Fields:
    try:
        text = line.decode("utf-8-sig")
        row = json.loads(text)
        if "\\ud" in text.lower():
            json.dumps(row, ensure_ascii=False).encode()
    except UnicodeDecodeError as e:
        raise InputError(f"{where}: not UTF-8 text ({e.reason} at byte {e.start})") from e
    except UnicodeEncodeError as e:
        raise InputError(f"{where}: holds half of a surrogate pair ({e.object[e.start]!r}), which is not text") from e
    except (ValueError, RecursionError) as e:
        raise InputError(f"{where}: not JSON ({e}); one object per line is read") from e
    if not isinstance(row, dict):
        raise InputError(f"{where}: a row must be a JSON object, this is {type(row).__name__}")
    return row


def _parquet(files: AbstractFileSystem, name: str, shown: str) -> Rows:
    from pydantic_core import to_jsonable_python

    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as e:
        raise InputError(f"{shown}: Parquet cannot be read without a library; pip install 'pada-agent[hub]' ({e})") from e
    number = 0
    with reached(shown), files.open(name, "rb") as file:
        try:
            batches = parquet.ParquetFile(file).iter_batches()
            for number, row in enumerate((row for batch in batches for row in batch.to_pylist()), 1):
                yield f"{shown}:{number}", to_jsonable_python(row)
        except pyarrow.ArrowInvalid as e:
            raise InputError(f"{shown}: not Parquet ({str(e).splitlines()[0]})") from e
        except ValueError as e:
            raise InputError(f"{shown}:{number}: holds a value that is not text, number, list or object ({e})") from e


def _list(names: Any) -> str:
    some = list(names)
    return ", ".join(some[:5]) + (f" and {len(some) - 5} more" if len(some) > 5 else "")


READERS = {".jsonl": _json_lines, ".json": _json_lines, ".parquet": _parquet}
