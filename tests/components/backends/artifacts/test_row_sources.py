"""JSONL, Parquet, object stores and the hub."""

import datetime
import sys
from pathlib import Path
from typing import Any

import fsspec
import pyarrow
import pytest
from fsspec.registry import _registry
from pyarrow import parquet

from pada_agent.components.backends.artifacts.row_sources import read_rows
from pada_agent.components.core.errors import InputError

SQUAD = [
    {"id": "a", "context": "Oslo is a city.", "answers": {"text": ["Oslo"], "answer_start": [0]}},
    {"id": "b", "context": "Blåbær", "answers": {"text": [], "answer_start": []}},
]


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=1)


class TestJsonLines:
    def test_rows_and_where_they_stand(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "t.jsonl").write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\n{"a": "x\xe2\x80\xa8y"}')
        monkeypatch.chdir(tmp_path)
        assert list(read_rows("t.jsonl")) == [("t.jsonl:1", {"a": 1}), ("t.jsonl:3", {"a": "x\u2028y"})]

    @pytest.mark.parametrize(
        ("line", "complaint"),
        [
            (b'{"a": 1', "t.jsonl:2: not JSON (Expecting"),
            (b"[1]", "t.jsonl:2: a row must be a JSON object, this is list"),
            (b'{"a": "\\uD83D"}', r"t.jsonl:2: holds half of a surrogate pair ('\ud83d')"),
            (b"[" * 100_000, "t.jsonl:2: not JSON"),
        ],
    )
    def test_a_bad_line_is_named(self, tmp_path: Path, line: bytes, complaint: str) -> None:
        (tmp_path / "t.jsonl").write_bytes(b'{"a": "\\ud83d\\ude00"}\n' + line + b"\n")
        rows = read_rows(str(tmp_path / "t.jsonl"))
        assert next(rows)[1] == {"a": "😀"}
        with pytest.raises(InputError) as e:
            next(rows)
        assert complaint in str(e.value)
        assert "\n" not in str(e.value)


class TestParquet:
    def test_nested_values_read_like_json(self, tmp_path: Path) -> None:
        write_parquet(tmp_path / "t.parquet", SQUAD)
        where, rows = zip(*read_rows(str(tmp_path / "t.parquet")), strict=True)
        assert list(rows) == SQUAD
        assert where == (f"{tmp_path}/t.parquet:1", f"{tmp_path}/t.parquet:2")

    def test_dates_become_text_and_bytes_are_refused(self, tmp_path: Path) -> None:
        write_parquet(tmp_path / "d.parquet", [{"day": datetime.date(2024, 2, 29)}])
        assert [row for _, row in read_rows(str(tmp_path / "d.parquet"))] == [{"day": "2024-02-29"}]
        write_parquet(tmp_path / "b.parquet", [{"image": b"ok"}, {"image": b"\xff\x00"}])
        with pytest.raises(InputError, match=r"b\.parquet:2: holds a value that is not text"):
            list(read_rows(str(tmp_path / "b.parquet")))

    def test_what_is_not_parquet(self, tmp_path: Path) -> None:
        (tmp_path / "t.parquet").write_text('{"a": 1}\n')
        with pytest.raises(InputError, match=r"t\.parquet: not Parquet"):
            list(read_rows(str(tmp_path / "t.parquet")))

    def test_where_arrow_is_not_installed_only_parquet_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_parquet(tmp_path / "t.parquet", SQUAD)
        (tmp_path / "t.jsonl").write_text('{"a": 1}\n')
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        assert len(list(read_rows(str(tmp_path / "t.jsonl")))) == 1
        with pytest.raises(InputError, match=r"t\.parquet: Parquet cannot be read .* pip install 'pada-agent\[hub\]'") as e:
            list(read_rows(str(tmp_path / "t.parquet")))
        assert "\n" not in str(e.value)


class TestSources:
    def test_a_directory_of_shards_is_one_source(self, tmp_path: Path) -> None:
        for n, row in enumerate(SQUAD):
            write_parquet(tmp_path / f"train-0000{n}-of-00002.parquet", [row])
        for other in ("README.md", "_metadata.parquet", ".train-00000-of-00002.parquet.crc.parquet"):
            (tmp_path / other).touch()
        where, rows = zip(*read_rows(str(tmp_path)), strict=True)
        assert list(rows) == SQUAD
        assert where[1] == f"{tmp_path}/train-00001-of-00002.parquet:1"

    def test_a_directory_with_several_splits_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "train.jsonl").touch()
        (tmp_path / "test.jsonl").touch()
        with pytest.raises(InputError, match=r"holds different files \(test\.jsonl, train\.jsonl\); name the one"):
            list(read_rows(str(tmp_path)))

    @pytest.mark.parametrize(
        ("name", "complaint"),
        [
            ("none.jsonl", "no such file or directory; a data set on the hub is written owner/name#split"),
            ("t.txt", "only files that end in .jsonl, .ndjson, .json, .csv, .tsv, .parquet, also with .gz, are read"),
            ("folder", "holds no file that ends in"),
        ],
    )
    def test_what_cannot_be_read(self, tmp_path: Path, name: str, complaint: str) -> None:
        (tmp_path / "t.txt").touch()
        (tmp_path / "folder").mkdir()
        with pytest.raises(InputError) as e:
            list(read_rows(str(tmp_path / name)))
        assert complaint in str(e.value)

    def test_an_object_store(self) -> None:
        with fsspec.open("memory://rows/t.jsonl", "wb") as f:
            f.write(b'{"a": 1}\n{"a"\n')
        rows = read_rows("memory://rows/t.jsonl")
        assert next(rows) == ("memory://rows/t.jsonl:1", {"a": 1})
        with pytest.raises(InputError, match=r"^memory://rows/t\.jsonl:2: not JSON"):
            next(rows)
        with pytest.raises(InputError, match=r"^memory://rows/none\.jsonl: there is no such file"):
            list(read_rows("memory://rows/none.jsonl"))

    @pytest.mark.parametrize(
        ("scheme", "library", "source", "extra"),
        [("s3", "s3fs", "s3://b/t.jsonl", "storage"), ("hf", "huggingface_hub", "owner/name#train", "hub")],
    )
    def test_a_missing_library_is_one_line(
        self, monkeypatch: pytest.MonkeyPatch, scheme: str, library: str, source: str, extra: str
    ) -> None:
        monkeypatch.setitem(sys.modules, library, None)
        monkeypatch.delitem(_registry, scheme, raising=False)
        with pytest.raises(InputError, match=rf"^{source}: cannot be read .* pip install 'pada-agent\[{extra}\]'") as e:
            list(read_rows(source))
        assert "\n" not in str(e.value)
