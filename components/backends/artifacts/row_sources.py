"""Rows from wherever a user keeps them.

data/train.jsonl                        one JSON object per line; also .ndjson, and .json with an array of objects
data/train.csv                          a header, then a row a line; also .tsv
data/train.parquet
data/train.csv.gz                       any of them packed with gzip
data/train                              shards of one file: train-00000-of-00002.parquet, train-00001-of-00002.parquet
gs://bucket/train.jsonl                 also s3://, minio:// and whatever else fsspec reads
rajpurkar/squad#validation              a split of a data set on the hub, in its own files
openai/gsm8k:main#train                 the same with its configuration
openai/gsm8k:main#train[5000:]          the rows from the 5001st on; [:5000] the first 5000, [5000:6000] a part
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from pada_agent.components.backends.patience import patient_rows
from pada_agent.components.backends.row_files.hub import hub_files
from pada_agent.components.backends.row_files.json_text import read_json
from pada_agent.components.backends.row_files.json_text import read_json_lines as json_lines
from pada_agent.components.backends.row_files.parquet import read_parquet
from pada_agent.components.backends.row_files.table import read_table
from pada_agent.components.backends.row_files.text import unpacked
from pada_agent.components.backends.store.transfer import open_store, reached
from pada_agent.components.core.addresses import HUB_ROWS, PACKED, ROW_ENDINGS, is_rows
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields, RawRow

Reader = Callable[[BinaryIO, str], Iterator[RawRow]]
READERS: dict[str, Reader] = {
    ".csv": partial(read_table, usual=","),
    ".tsv": partial(read_table, usual="\t"),
    ".parquet": read_parquet,
}


def read_rows(source: str) -> Iterator[tuple[str, Fields]]:
    """Each row of `source` with its place, 'file:number', counted from 1: the line that it begins on, or the row in Parquet.

    Raises InputError for a source that is not there or has no reader, and for the first row that cannot be read.
    """
    for where, row in read_all(source):
        if isinstance(row, InputError):
            raise row
        yield where, row


@patient_rows
def read_all(source: str) -> Iterator[RawRow]:
    """The same, and goes on behind a row that cannot be read, with why in its place."""
    if (hub := HUB_ROWS.fullmatch(source)) and not Path(source).exists():
        with reached(source):
            files, names = hub_files(hub, source)
        part = [int(hub[name]) if hub[name] else None for name in ("start", "stop")]
        yield from islice(_rows(files, names, source), *part)
    elif "://" in source:
        with reached(source):
            files, top = open_store(source)
            names = _shards(files, top, source)
        yield from _rows(files, names, source)
    else:
        files = LocalFileSystem()
        yield from _rows(files, _shards(files, source, source), source)


def read_json_lines(path: Path) -> Iterator[tuple[str, Fields]]:
    """As read_rows, of a local JSONL file whatever its name."""
    with path.open("rb") as file:
        for where, row in json_lines(unpacked(file), str(path)):
            if isinstance(row, InputError):
                raise row
            yield where, row


def _rows(files: AbstractFileSystem, names: list[str], source: str) -> Iterator[RawRow]:
    for name in names:
        shown = source if len(names) == 1 else f"{source}/{name.rsplit('/', 1)[-1]}"
        read = _reader(name)
        with reached(shown), files.open(name, "rb") as file:
            yield from read(unpacked(file), shown)


def _shards(files: AbstractFileSystem, top: str, source: str) -> list[str]:
    try:
        kind = files.info(top)["type"]
    except FileNotFoundError as e:
        hint = "" if "://" in source or "#" in source else "; a data set on the hub is written owner/name#split"
        raise InputError(f"{source}: there is no such file or directory{hint}") from e
    if kind == "file":
        return [top]
    objects = sorted(files.find(top))
    names = [n for n in objects if is_rows(n) and not n.rsplit("/", 1)[-1].startswith((".", "_"))]
    if not names:
        raise InputError(f"{source}: holds no file that ends in {_list(ROW_ENDINGS)}, also with {PACKED}")
    if len({re.sub(r"\d+", "0", n) for n in names}) > 1:
        # Otherwise a folder with train.jsonl and test.jsonl in it would be read as one training set.
        shown = _list([n.rsplit("/", 1)[-1] for n in names])
        raise InputError(f"{source}: holds different files ({shown}); name the one to read")
    return names


def _reader(name: str) -> Reader:
    if not is_rows(name):
        raise InputError(f"{name}: only files that end in {_list(ROW_ENDINGS)}, also with {PACKED}, are read")
    return next((reader for ending, reader in READERS.items() if name.removesuffix(PACKED).endswith(ending)), read_json)


def _list(some: Sequence[str]) -> str:
    return ", ".join(some[:6]) + (f" and {len(some) - 6} more" if len(some) > 6 else "")
