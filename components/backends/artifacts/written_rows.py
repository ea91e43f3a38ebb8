"""Writes rows as files that other trainers and hubs read: JSON Lines, a JSON array, Parquet."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pada_agent.components.backends.files import write_atomic
from pada_agent.components.core.errors import InputError

Row = dict[str, Any]


def write_rows(file: Path, rows: Sequence[Row]) -> None:
    """Write `rows` in the format of the file's ending: jsonl, json, parquet. Raises InputError where a library is missing."""
    ending = file.suffix.removeprefix(".")
    if ending == "parquet":
        _write_parquet(file, rows)
    elif ending == "json":
        write_atomic(file, _text(rows, 1) + b"\n")
    else:
        write_atomic(file, b"".join(_text(row) + b"\n" for row in rows))


def _text(value: object, indent: int | None = None) -> bytes:
    # A lone surrogate, which a model may write, is no UTF-8.
    return json.dumps(value, ensure_ascii=False, indent=indent).encode("utf-8", "replace")


def _write_parquet(file: Path, rows: Sequence[Row]) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as e:
        raise InputError("Parquet needs pyarrow; install it with: pip install 'pada-agent[hub]'") from e
    message = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    kinds = {"iteration": pa.int64(), "parents": pa.list_(pa.string())} | dict.fromkeys(
        ("messages", "prompt", "chosen", "rejected"), message
    )
    columns = list(rows[0]) if rows else []
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in columns])  # an empty list says nothing of its type
    clean = json.loads(_text(rows))
    pq.write_table(pa.Table.from_pylist(clean, schema=schema), file)
