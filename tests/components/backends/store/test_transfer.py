"""Records, rows and object stores."""

import errno
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import fsspec
import pytest
from fsspec.registry import _registry

from pada_agent.components.backends.files import whole_directory
from pada_agent.components.backends.record_files import read_json, read_record, read_records, write_json, write_records
from pada_agent.components.backends.store.transfer import fetch, put
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import TrainRow

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
        with pytest.raises(InputError, match=r"m\.json: id: String should have at least 1 character; and 1 more$"):
            read_record(tmp_path / "m.json", TrainRow)


class TestWholeDirectory:
    def test_another_user_can_read_what_is_inside(self, tmp_path: Path) -> None:
        with whole_directory(tmp_path / "out") as work:
            (work / "deep").mkdir(mode=0o700)
            (work / "deep" / "weights").touch(mode=0o600)
        assert [oct((tmp_path / "out" / p).stat().st_mode & 0o777) for p in (".", "deep", "deep/weights")] == [
            "0o755",
            "0o755",
            "0o644",
        ]

    def test_takes_the_place_of_the_old_one(self, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "old").touch()
        with whole_directory(tmp_path / "out") as work:
            (work / "new").touch()
            assert (tmp_path / "out" / "old").exists()
        assert [p.name for p in (tmp_path / "out").iterdir()] == ["new"]
        assert [p.name for p in tmp_path.iterdir()] == ["out"]

    def test_a_failure_leaves_the_old_one(self, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        with pytest.raises(ZeroDivisionError), whole_directory(tmp_path / "out") as work:
            (work / "new").touch()
            raise ZeroDivisionError
        assert [p.name for p in tmp_path.iterdir()] == ["out"]
        assert not list((tmp_path / "out").iterdir())

    def test_where_directories_cannot_be_renamed_nothing_half_is_left(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise OSError(errno.EMFILE, "as gcsfuse says")

        monkeypatch.setattr("pada_agent.components.backends.files.os.replace", refuse)
        with pytest.raises(InputError, match="cannot be renamed here"), whole_directory(tmp_path / "out") as work:
            (work / "new").touch()
        assert not list(tmp_path.iterdir())


def test_what_a_killed_process_had_fetched_by_half_goes_with_the_next(tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe("/models/slm/config.json", b"{}")
    half = tmp_path / ".slm.fetching-of-a-killed-process"
    half.mkdir()
    (half / "config.json").touch()
    fetch("memory://models/slm", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["slm"]


def test_google_s_control_plane_is_not_asked_even_if_gcsfs_was_imported_before() -> None:
    program = """
        import os
        os.environ.pop("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", None)
        os.environ["STORAGE_EMULATOR_HOST"] = "http://127.0.0.1:9"
        import gcsfs
        from pada_agent.components.backends.store.transfer import open_store
        files, path = open_store("gs://bucket/a/b.json")
        print(type(files).__module__, path)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["gcsfs.core", "bucket/a/b.json"]


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place in an object store."""
    return f"memory:/{tmp_path}" if request.param == "memory" else f"file://{tmp_path}/store"


class TestObjectStore:
    def test_a_directory_goes_there_and_back(self, tmp_path: Path, store: str) -> None:
        folder = tmp_path / "adapter"
        (folder / "deep").mkdir(parents=True)
        (folder / "a.bin").write_bytes(b"\x00a")
        (folder / "deep" / "b.json").write_text("{}")
        put(folder, f"{store}/run/adapter")
        copy = fetch(f"{store}/run/adapter", tmp_path / "cache")
        assert copy == tmp_path / "cache" / "adapter"
        assert {p.relative_to(copy).as_posix(): p.read_bytes() for p in copy.rglob("*") if p.is_file()} == {
            "a.bin": b"\x00a",
            "deep/b.json": b"{}",
        }
        assert [p.name for p in (tmp_path / "cache").iterdir()] == ["adapter"]

    def test_a_file_goes_there_and_back_and_replaces_the_old(self, tmp_path: Path, store: str) -> None:
        path = tmp_path / "m.gguf"
        for content in ("one", "two"):
            path.write_text(content)
            put(path, f"{store}/models/m.gguf")
            copy = fetch(f"{store}/models/m.gguf", tmp_path / "cache")
            assert copy == tmp_path / "cache" / "m.gguf"
            assert copy.read_text() == content

    def test_nothing_there(self, tmp_path: Path, store: str) -> None:
        with pytest.raises(InputError, match="none: there is nothing there"):
            fetch(f"{store}/none", tmp_path / "cache")
        with pytest.raises(InputError, match="nothing to store at"):
            put(tmp_path / "none", store)

    def test_plain_paths_are_used_where_they_are(self, tmp_path: Path) -> None:
        (tmp_path / "m").mkdir()
        assert fetch(str(tmp_path / "m"), tmp_path / "cache") == tmp_path / "m"
        assert not (tmp_path / "cache").exists()
        with pytest.raises(InputError, match="no such file"):
            fetch(str(tmp_path / "none"), tmp_path / "cache")
        (tmp_path / "a.txt").write_text("a")
        put(tmp_path / "a.txt", str(tmp_path / "new" / "b.txt"))
        assert (tmp_path / "new" / "b.txt").read_text() == "a"

    def test_a_missing_library_is_one_line(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in ("gcsfs", "gcsfs.core"):
            monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delitem(_registry, "gs", raising=False)
        with pytest.raises(InputError, match=r"gs://bucket/x: cannot be read .* pip install 'pada-agent\[storage\]'") as e:
            fetch("gs://bucket/x", tmp_path)
        assert "\n" not in str(e.value)

    def test_an_unknown_scheme_is_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"nope://b/x: cannot be reached \(ValueError: Protocol not known"):
            fetch("nope://b/x", tmp_path)
