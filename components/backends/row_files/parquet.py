"""Rows of a Parquet file; of a packed one a copy is unpacked first, since it is read from its end."""

import gzip
import shutil
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import BinaryIO

from pydantic_core import PydanticSerializationError, to_jsonable_python

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import RawRow

BATCH = 1024  # rows at a time
BUFFER = 1 << 20  # bytes of a column at a time


def read_parquet(file: BinaryIO, shown: str) -> Iterator[RawRow]:
    """Rows with their numbers, counted from 1. Raises InputError without the library, and for a file that is not Parquet."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as e:
        raise InputError(f"{shown}: Parquet cannot be read without a library; pip install 'pada-agent[hub]' ({e})") from e
    with TemporaryFile() as copy:
        if isinstance(file, gzip.GzipFile):
            shutil.copyfileobj(file, copy)
            file = copy
        try:
            batches = parquet.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False).iter_batches(BATCH)
            for number, row in enumerate((row for batch in batches for row in batch.to_pylist()), 1):
                where = f"{shown}:{number}"
                try:
                    yield where, to_jsonable_python(row)
                except (PydanticSerializationError, ValueError) as e:
                    problem = f"holds a value that is not text, number, list or object ({e}); leave the column out"
                    yield where, InputError(f"{where}: {problem}")
        except (pyarrow.ArrowException, OSError) as e:
            if not isinstance(e, pyarrow.ArrowException) and type(e) is not OSError:  # a store's own, which may pass
                raise
            raise InputError(f"{shown}: not Parquet, or encrypted ({str(e).splitlines()[0]})") from e
