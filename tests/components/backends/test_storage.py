"""Records, rows and object stores."""

import json
from pathlib import Path

import pytest

from components.backends.storage import read_json, read_record, read_records, write_json, write_records
from components.core.errors import InputError
from components.core.records import TrainRow

GOOD = '{"id": "a", "fields": {"x": 1}}'


def row(identity: str, **fields: object) -> TrainRow:
    return TrainRow(id=identity, fields=fields)


class TestRecords:
    def test_come_back_as_they_were(self, tmp_path: Path) -> None:
        rows = [row("a", text="line\nbreak \u2028 é", number=1.5), row("b", nested={"k": [1, None, True]})]
        write_records(tmp_path / "deep" / "rows.jsonl", rows)
        assert read_records(tmp_path / "deep" / "rows.jsonl", TrainRow) == rows
        assert [p.name for p in (tmp_path / "deep").iterdir()] == ["rows.jsonl"]

    def test_an_empty_list_is_an_empty_file(self, tmp_path: Path) -> None:
        write_records(tmp_path / "rows.jsonl", [])
        assert (tmp_path / "rows.jsonl").read_bytes() == b""
        assert read_records(tmp_path / "rows.jsonl", TrainRow) == []

    def test_half_a_surrogate_does_not_lose_the_file(self, tmp_path: Path) -> None:
        write_records(tmp_path / "rows.jsonl", [row("a", text="x\ud800y")])
        assert read_records(tmp_path / "rows.jsonl", TrainRow)[0].fields == {"text": "x?y"}

    def test_a_failed_write_leaves_the_old_file(self, tmp_path: Path) -> None:
        path = tmp_path / "rows.jsonl"
        write_records(path, [row("a")])
        with pytest.raises(ZeroDivisionError):
            write_records(path, (row(str(1 // n)) for n in (1, 0)))
        assert read_records(path, TrainRow) == [row("a")]
        assert len(list(tmp_path.iterdir())) == 1

    @pytest.mark.parametrize(
        ("line", "complaint"),
        [
            ('{"id": "b", "fields"', "rows.jsonl:3: not JSON (EOF"),
            ('{"id": "b", "fields": {}, "grup": ""}', "rows.jsonl:3: unknown key 'grup'"),
            ('{"id": 7, "fields": {}}', "rows.jsonl:3: id: Input should be a valid string"),
            ("[]", "rows.jsonl:3: value: Input should be an object"),
        ],
    )
    def test_a_bad_line_is_named(self, tmp_path: Path, line: str, complaint: str) -> None:
        (tmp_path / "rows.jsonl").write_text(f"{GOOD}\n\n{line}\n{GOOD}\n")
        with pytest.raises(InputError) as e:
            read_records(tmp_path / "rows.jsonl", TrainRow)
        assert complaint in str(e.value)
        assert "\n" not in str(e.value)

    def test_a_missing_file_is_an_input_error(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"none\.jsonl: cannot be read \(No such file"):
            read_records(tmp_path / "none.jsonl", TrainRow)


class TestJson:
    def test_values_and_models(self, tmp_path: Path) -> None:
        write_json(tmp_path / "v.json", {"é": [1, 2.5, None]})
        assert read_json(tmp_path / "v.json") == {"é": [1, 2.5, None]}
        write_json(tmp_path / "m.json", row("a", x=1))
        assert read_record(tmp_path / "m.json", TrainRow) == row("a", x=1)

    def test_errors_name_file_and_line(self, tmp_path: Path) -> None:
        (tmp_path / "v.json").write_text('{"a": 1,\n "b": }')
        with pytest.raises(InputError, match=r"v\.json:2: not JSON"):
            read_json(tmp_path / "v.json")
        (tmp_path / "b.json").write_bytes(b'{"a": "\xff"}')
        with pytest.raises(InputError, match=r"b\.json: not UTF-8"):
            read_json(tmp_path / "b.json")
        (tmp_path / "m.json").write_text(json.dumps({"id": ""}))
        with pytest.raises(InputError, match=r"m\.json: id: String should have at least 1 character \(and 1 more\)"):
            read_record(tmp_path / "m.json", TrainRow)
