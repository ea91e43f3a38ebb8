"""Files of records: written a line at a time, and whole or not at all."""

import hashlib
import tracemalloc

import pytest
from pydantic import BaseModel

from pada_agent.components.backends.record_files import read_records, record_lines, records_sha256, write_records


class Row(BaseModel):
    """As long as a document."""

    text: str


def rows(count=100):
    return (Row(text=f"{n} ø" * 20_000) for n in range(count))


def test_all_records_are_never_in_memory_at_once(tmp_path):
    file = tmp_path / "rows.jsonl"
    tracemalloc.start()
    try:
        write_records(file, rows())
        told = records_sha256(rows())
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 2e6 < file.stat().st_size / 4
    assert told == hashlib.sha256(file.read_bytes()).hexdigest() and record_lines(rows()) == file.read_bytes()
    assert read_records(file, Row) == list(rows())


def test_a_file_is_whole_or_the_one_from_before(tmp_path):
    def broken():
        yield from rows(3)
        raise ValueError("row 4")

    file = tmp_path / "rows.jsonl"
    write_records(file, rows(2))
    with pytest.raises(ValueError, match="row 4"):
        write_records(file, broken())
    assert read_records(file, Row) == list(rows(2)) and [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
