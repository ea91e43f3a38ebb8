"""The text of a file whose encoding nobody wrote down: told from its first bytes, never from its name.

EF BB BF 7B ...            UTF-8 with a byte order mark
FF FE 7B 00 ...            UTF-16, also without a mark
7B 22 61 22 ... E9 74 E9   UTF-8 until the first byte that is not; then Windows-1252, of which Latin-1 is a part
1F 8B 08 ...               gzip, and what is in it
50 4B 03 04 ...            no text: told what it is and what to do
"""

import codecs
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, cast

from pada_agent.components.backends.progress import notice
from pada_agent.components.core.errors import InputError

BLOCK = 1 << 20  # bytes
KEPT = 100  # runs of bytes above 127 by which the next block is judged, too
SAVE = "save it as UTF-8 text"
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_NO_TEXT = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook; unpack it, or save the sheet as CSV UTF-8"),
    (b"\xd0\xcf\x11\xe0", "an old or an encrypted Office document; open it there and save the sheet as CSV UTF-8"),
    (b"PAR1", "Parquet; its name must end in .parquet"),
    (b"PARE", "encrypted Parquet; decrypt it first"),
    (b"BZh", "bzip2; unpack it, or pack it with gzip"),
    (b"\xfd7zXZ", "xz; unpack it, or pack it with gzip"),
    (b"\x28\xb5\x2f\xfd", "zstandard; unpack it, or pack it with gzip"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it"),
    (b"Rar!", "a RAR archive; unpack it"),
    (b"SQLite format 3", "an SQLite database; export the table as CSV"),
    (b"%PDF", "a PDF; only tables and JSON are read"),
    (b"-----BEGIN PGP", "encrypted (PGP); decrypt it first"),
    (b"-----BEGIN AGE", "encrypted (age); decrypt it first"),
    (b"age-encryption.org/", "encrypted (age); decrypt it first"),
    (b"Salted__", "encrypted (OpenSSL); decrypt it first"),
    (b"$ANSIBLE_VAULT", "encrypted (Ansible Vault); decrypt it first"),
    (b"version https://git-lfs", "a pointer of Git LFS and not the file itself; run `git lfs pull`"),
    (b"<!doctype html", "a web page; download the file itself"),
    (b"<html", "a web page; download the file itself"),
)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_HIGH = re.compile(rb"[\x80-\xff]+")


def unpacked(file: BinaryIO) -> BinaryIO:
    """`file`, or what is in it where it is gzip, whatever its name."""
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file


def text_blocks(file: BinaryIO, shown: str) -> Iterator[str]:
    """The file's text in blocks of about a megabyte. Bytes that are no text in its encoding become surrogate halves.

    Raises InputError for what is no text at all: binary, encrypted, cut off.
    """
    block = _read(file, shown)
    _refuse(block, shown)
    encoding = _marked(block)
    decoder = codecs.getincrementaldecoder(encoding or "utf-8-sig")()
    plain, mac = True, b"\r" in block and b"\n" not in block  # plain: ASCII alone so far
    runs: list[bytes] = []  # of bytes that are not ASCII, the last ones
    while True:
        following = _read(file, shown) if block else b""
        try:
            text = decoder.decode(block, final=not following)
        except UnicodeDecodeError as e:
            if encoding:
                raise InputError(f"{shown}: begins as {encoding} and is not ({e.reason}); {SAVE}") from e
            encoding = "cp1252" if plain and e.object[: e.start].isascii() and _western(_HIGH.findall(e.object)) else "utf-8"
            if encoding == "cp1252":
                notice(f"{shown}: not UTF-8; read as Windows-1252 (Latin-1)")
            decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
            text = decoder.decode(e.object, final=not following)
        if encoding == "cp1252" and not _western(runs := runs[-KEPT:] + _HIGH.findall(block)):
            raise InputError(f"{shown}: neither UTF-8 nor Windows-1252 (Latin-1); {SAVE}")
        plain = plain and text.isascii()
        yield text.replace("\r", "\n") if mac else text
        if not following:
            return
        block = following


def lines_of(blocks: Iterable[str]) -> Iterator[str]:
    """The lines of a text that comes in blocks, each with the end that it has."""
    rest: list[str] = []  # of a line that is longer than a block
    for text in blocks:
        *lines, last = text.split("\n")
        for line in lines:
            yield "".join([*rest, line, "\n"])
            rest.clear()
        rest.append(last)
    if line := "".join(rest):
        yield line


def not_text(text: str) -> str:
    """Why `text` cannot be used, '' if it can: it holds bytes of another encoding, or half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as e:
        half = e.object[e.start]
        if "\udc80" <= half <= "\udcff":
            return f"not UTF-8 text (byte {ord(half) - 0xDC00:#x}); save the file as UTF-8"
        return f"holds half of a surrogate pair ({half!r}), which is not text"
    return ""


def _read(file: BinaryIO, shown: str) -> bytes:
    try:
        return file.read(BLOCK)
    except (EOFError, zlib.error, gzip.BadGzipFile) as e:
        raise InputError(f"{shown}: gzip that is cut off or damaged ({e}); copy it anew") from e


def _marked(first: bytes) -> str:
    for mark, encoding in _MARKS.items():
        if first.startswith(mark):
            return encoding
    sample = first[:4096]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) * 2 > len(sample) // 2 and min(even, odd) * 20 <= len(sample) // 2:
        return "utf-16-le" if odd > even else "utf-16-be"
    return ""


def _refuse(first: bytes, shown: str) -> None:
    """Raises InputError for what is known not to be text, and for what looks like none."""
    begin = first.lstrip()[:64].lower()
    for sign, what in _NO_TEXT:
        if first.startswith(sign) or (sign.isascii() and sign[:1] in b"-<$" and begin.startswith(sign.lower())):
            raise InputError(f"{shown}: {what}")
    sample = first[:65536]
    if not _marked(first) and len(_CONTROL.findall(sample)) * 50 > len(sample):
        raise InputError(f"{shown}: binary, perhaps encrypted or packed, and no text; decrypt or unpack it first")


def _western(runs: Sequence[bytes]) -> bool:
    """Whether bytes above 127 mostly stand alone, as accents between Latin letters do; those of other scripts come in rows."""
    return sum(len(run) for run in runs if len(run) > 1) * 3 <= sum(map(len, runs))
