"""Encodings, and what is no text."""

import gzip
import os
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from pada_agent.components.backends.artifacts.row_sources import read_all, read_rows
from pada_agent.components.backends.row_files import text
from pada_agent.components.core.errors import InputError

CSV = "frage,antwort\nWas kostet ein Brötchen?,„50 Cent“ – für jeden\nGrößer als fünf?,ja\n"
ROWS = [
    {"frage": "Was kostet ein Brötchen?", "antwort": "„50 Cent“ – für jeden"},
    {"frage": "Größer als fünf?", "antwort": "ja"},
]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
@pytest.mark.parametrize("block", [1 << 20, 7])
def test_encodings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, block: int) -> None:
    if block < 20 and encoding in ("utf-16-le", "utf-16-be"):
        pytest.skip("without a mark the first bytes must say it")
    monkeypatch.setattr(text, "BLOCK", block)
    (tmp_path / "t.csv").write_bytes(CSV.encode(encoding))
    assert [row for _, row in read_rows(str(tmp_path / "t.csv"))] == ROWS


def test_it_is_said_that_a_file_is_not_utf_8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.jsonl").write_bytes('{"a": "für"}\n'.encode("latin-1"))
    assert [row for _, row in read_rows(str(tmp_path / "t.jsonl"))] == [{"a": "für"}]
    assert "t.jsonl: not UTF-8; read as Windows-1252 (Latin-1)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text_",
    ["{'a': 'привет мир, это текст'}".replace("'", '"').encode("cp1251"), '{"a": "日本語の文章です"}'.encode("shift_jis")],
)
def test_what_is_not_western_is_not_taken_for_it(tmp_path: Path, text_: bytes) -> None:
    (tmp_path / "t.jsonl").write_bytes(b'{"a": "ok"}\n' + text_ + b"\n")
    (_, first), (where, second) = read_all(str(tmp_path / "t.jsonl"))
    assert first == {"a": "ok"}
    assert isinstance(second, InputError)
    assert f"{where}: not UTF-8 text (byte 0x" in str(second)


def test_one_bad_byte_in_utf_8_is_that_rows_fault(tmp_path: Path) -> None:
    for name, lines in (
        ("t.jsonl", [b'{"a": "bl\xc3\xa5"}', b'{"a": "\xff"}', b'{"a": "\xc3\xa6"}']),
        ("t.csv", [b"a", b"\xc3\xa5", b"\xff", b"\xc3\xa6"]),
    ):
        (tmp_path / name).write_bytes(b"\n".join(lines))
        rows = [row for _, row in read_all(str(tmp_path / name))]
        assert "not UTF-8 text (byte 0xff); save the file as UTF-8" in str(rows[1])
        assert rows[2] == {"a": "æ"}


def test_a_file_that_changes_its_encoding_is_not_misread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "BLOCK", 16)
    (tmp_path / "t.csv").write_bytes(b"a\nf\xfcr\n" + b"plain\n" * 9 + "blåbær på øya æææ øøø".encode())
    with pytest.raises(InputError, match="neither UTF-8 nor Windows-1252"):
        list(read_rows(str(tmp_path / "t.csv")))


def archive() -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("xl/workbook.xml", "<x/>")
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (archive(), "a zip archive or an Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "an old or an encrypted Office document"),
        (b"-----BEGIN PGP MESSAGE-----\n\nhQEMA...", "encrypted (PGP); decrypt it first"),
        (b"age-encryption.org/v1\n-> X25519 ...", "encrypted (age)"),
        (b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVu...", "encrypted (age)"),
        (b"Salted__" + os.urandom(900), "encrypted (OpenSSL)"),
        (os.urandom(5000), "binary, perhaps encrypted or packed"),
        (b"\x8c" + os.urandom(5000), "binary, perhaps encrypted or packed"),
        (gzip.compress(os.urandom(5000)), "binary, perhaps encrypted or packed"),
        (b"PAR1" + bytes(50), "Parquet; its name must end in .parquet"),
        (b"PARE" + bytes(50), "encrypted Parquet; decrypt it first"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
        (b"\n<!DOCTYPE html>\n<html><body>Log in</body></html>", "a web page; download the file itself"),
        (gzip.compress(b"a,b\n" + b"1,2\n" * 9000)[:-20], "gzip that is cut off or damaged"),
        (b"\xff\xfea\x00,\x00b\x00\n\x00\x00\xd8x\x00", "begins as utf-16 and is not"),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "jsonl", "json"])
def test_what_is_no_text_is_told(tmp_path: Path, content: bytes, complaint: str, ending: str) -> None:
    path = tmp_path / f"t.{ending}"
    path.write_bytes(content)
    with pytest.raises(InputError) as e:
        list(read_rows(str(path)))
    assert str(e.value).startswith(f"{path}: ") and complaint in str(e.value) and "\n" not in str(e.value)
