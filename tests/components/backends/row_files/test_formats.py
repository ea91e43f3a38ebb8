"""Each format, plain and packed; broken rows are told, and what follows them is read."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from pada_agent.components.backends.artifacts.row_sources import read_all, read_rows
from pada_agent.components.backends.row_files import text
from pada_agent.components.core.errors import InputError

ROWS = [
    {"user query": "Where is my parcel?\nIt was sent on Monday.", "category": "delivery", "note": ""},
    {"user query": 'She said "no, thanks"; twice', "category": "other", "note": "x"},
    {"user query": "Blåbær kostar 3 €, ikkje 4", "category": "price", "note": ""},
]
TABLE = pyarrow.Table.from_pylist(ROWS)


def _tabular(delimiter: str) -> Callable[[Path], None]:
    options = arrow_csv.WriteOptions(delimiter=delimiter)
    return lambda path: arrow_csv.write_csv(TABLE, path, options)


WRITERS: dict[str, Callable[[Path], Any]] = {
    "t.jsonl": lambda path: path.write_text("\n".join(json.dumps(row) for row in ROWS)),
    "t.ndjson": lambda path: path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in ROWS)),
    "lines.json": lambda path: path.write_text("\n\n".join(json.dumps(row) for row in ROWS) + "\n"),
    "array.json": lambda path: path.write_text(json.dumps(ROWS, indent=2, ensure_ascii=False)),
    "one_line.json": lambda path: path.write_text(json.dumps(ROWS)),
    "array.jsonl": lambda path: path.write_text(json.dumps(ROWS)),
    "holder.json": lambda path: path.write_text(json.dumps({"version": 1, "tags": ["a"], "data": ROWS}, indent=1)),
    "short_holder.json": lambda path: path.write_text(json.dumps({"version": 1, "tags": ["a"], "data": ROWS})),
    "t.csv": _tabular(","),
    "semicolon.csv": _tabular(";"),
    "tabs.csv": _tabular("\t"),
    "t.tsv": _tabular("\t"),
    "t.parquet": lambda path: parquet.write_table(TABLE, path, row_group_size=1),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, packed: bool) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    if packed:
        path = tmp_path / f"{name}.gz"
        path.write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    assert [row for _, row in read_rows(str(path))] == ROWS


@pytest.mark.parametrize("name", ["t.csv", "array.json", "t.parquet"])
def test_shards_of_every_format_are_one_source(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    for number in range(2):
        WRITERS[name](folder / f"part-{number:05}.{name.split('.')[1]}")
    assert [row for _, row in read_rows(str(folder))] == ROWS * 2


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("t.csv", 'q,a\n"one\ntwo",1\n\nthree,3\n', [2, 5]),
        ("t.csv", "\n\nsep=;\nq;a\none;1\n", [5]),
        ("t.json", '{"id": 1, "messages": [{"role": "user", "content": "a"}]}', [1]),
        ("t.csv", "q,a\r\none,1\r\ntwo,2\r\n", [2, 3]),
        ("mac.csv", "q,a\rone,1\rtwo,2\r", [2, 3]),
        ("t.json", '[\n {"q": 1,\n  "a": 2},\n\n {"q": 3}\n]\n', [2, 5]),
        ("t.jsonl", '{"q": 1}\n\n{"q": "x\u2028y"}', [1, 3]),
    ],
)
def test_a_place_is_the_line_that_a_row_begins_on(tmp_path: Path, name: str, text: str, lines: list[int]) -> None:
    (tmp_path / name).write_bytes(text.encode())
    assert [where for where, _ in read_rows(str(tmp_path / name))] == [f"{tmp_path / name}:{line}" for line in lines]


@pytest.mark.parametrize("block", [3, 10, 64])
@pytest.mark.parametrize("name", ["array.json", "t.csv", "t.jsonl"])
def test_a_place_does_not_depend_on_how_a_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, block: int
) -> None:
    WRITERS[name](tmp_path / name)
    whole = list(read_rows(str(tmp_path / name)))
    monkeypatch.setattr(text, "BLOCK", block)
    assert list(read_rows(str(tmp_path / name))) == whole


def told(path: Path) -> dict[str, str]:
    """What is said of each row that cannot be read, by its line; the others must be rows."""
    found = {}
    for where, row in read_all(str(path)):
        if isinstance(row, InputError):
            assert str(row).startswith(f"{where}: ")
            found[where.rpartition(":")[2]] = str(row).removeprefix(f"{where}: ")
    return found


@pytest.mark.parametrize(
    ("name", "text", "complaints"),
    [
        ("t.csv", "q,a\none,1\na,b,c\ntwo,2\nalone\n", {"3": "has 3 cells where the header has 2", "5": "has 1 cells"}),
        ("t.csv", 'q,a\n"one" x,1\ntwo,2\n', {"2": "not a row of a table"}),
        ("t.csv", 'q,a\none,1\n"two,2\nthree,3\n', {"3": "not a row of a table (unexpected end of data)"}),
        (
            "t.jsonl",
            '{"a": 1}\n{"a": \n[1]\n{"a": 2}\n"x"\n',
            {"2": "not JSON", "3": "must be a JSON object, this is list", "5": "this is str"},
        ),
        ("t.json", '[{"a": 1},\n 7,\n {"a": 2}]', {"2": "must be a JSON object, this is int"}),
        ("t.json", '[{"a": 1},\n{"a": 2},\n{"a": }]', {"3": "not JSON (Expecting value)"}),
        ("t.json", '[{"a": 1},\n{"a": 2}', {"2": "not JSON (the array has no end)"}),
    ],
)
def test_each_broken_row_is_told_and_the_others_are_read(
    tmp_path: Path, name: str, text: str, complaints: dict[str, str]
) -> None:
    (tmp_path / name).write_text(text)
    found = told(tmp_path / name)
    assert found.keys() == complaints.keys()
    assert all(complaint in found[line] for line, complaint in complaints.items()), found
    with pytest.raises(InputError, match=rf"{name}:{min(complaints)}: "):
        list(read_rows(str(tmp_path / name)))


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("t.csv", "", "is empty; the first line must name the columns"),
        ("t.csv", "q,a,q\n1,2,3\n", "two columns are called 'q'"),
        ("t.json", '{"a": 1,\n"b": 2}', "one JSON object that holds no list of objects"),
        ("t.json", '{"train": [{"a": 1}],\n"test": [{"a": 2}]}', "holds 2 lists of objects (train, test)"),
    ],
)
def test_a_file_without_rows_is_refused(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as e:
        list(read_rows(str(tmp_path / name)))
    assert complaint in str(e.value)


def test_a_column_without_a_name_gets_one(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(",q\n0,one\n")
    assert [row for _, row in read_rows(str(tmp_path / "t.csv"))] == [{"column 1": "0", "q": "one"}]


@pytest.mark.parametrize(
    ("name", "text", "row"),
    [
        ("t.tsv", "said\nWell, yes\n", {"said": "Well, yes"}),
        ("t.tsv", "said, or sung\tkind\none\ttwo\n", {"said, or sung": "one", "kind": "two"}),
        ("t.csv", '"one; two; three",kind\n1,x\n', {"one; two; three": "1", "kind": "x"}),
    ],
)
def test_what_parts_cells_is_told_by_the_ending_and_the_header(tmp_path: Path, name: str, text: str, row: dict[str, str]) -> None:
    (tmp_path / name).write_text(text)
    assert [found for _, found in read_rows(str(tmp_path / name))] == [row]


def test_a_row_longer_than_a_block(tmp_path: Path) -> None:
    rows = [{"a": "x" * size} for size in (3_000_000, 5, 2_500_000)]
    (tmp_path / "t.json").write_text(json.dumps(rows))
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "t.csv").write_text("a\n" + "\n".join(row["a"] for row in rows) + "\n")
    for name in ("t.json", "t.jsonl", "t.csv"):
        assert [row for _, row in read_rows(str(tmp_path / name))] == rows, name


@pytest.mark.parametrize("name", ["t.jsonl", "t.json", "t.csv", "t.parquet", "t.csv.gz"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    """A process that reads 40 MB takes hardly more than one that reads 4: what scales is refused."""
    if sys.platform != "linux":
        pytest.skip("the kernel tells the peak there in another way")
    peaks = []
    for size in (4, 40):
        path = tmp_path / f"{size}.{name.partition('.')[2]}"
        rows = [{"prompt": f"{n} " + "word " * 190, "completion": "label"} for n in range(size * 1000)]
        if "json" in name:
            text = json.dumps(rows) if name.endswith(".json") else "\n".join(map(json.dumps, rows))
            path.write_text(text)
        elif "csv" in name:
            text = "prompt,completion\n" + "\n".join(",".join(row.values()) for row in rows)
            path.write_bytes(gzip.compress(text.encode(), 1) if name.endswith(".gz") else text.encode())
        else:
            parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        del rows
        program = (
            "import re, sys\n"
            "from pada_agent.components.backends.artifacts.row_sources import read_rows\n"
            "count = sum(1 for _ in read_rows(sys.argv[1]))\n"
            "print(count, re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])"
        )
        done = subprocess.run([sys.executable, "-c", program, str(path)], check=True, capture_output=True, text=True)
        count, peak = map(int, done.stdout.split())
        assert count == size * 1000
        peaks.append(peak / 1024)
    assert peaks[1] - peaks[0] < 20, peaks  # MB, for 36 MB more
