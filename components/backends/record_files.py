"""Record files between stages: JSONL, one record per line, UTF-8, written whole or not at all."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pada_agent.components.backends.files import refusal, write_atomic
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.validation import validation_message

M = TypeVar("M", bound=BaseModel)


def read_records(path: Path, model: type[M]) -> list[M]:
    """The records of a JSONL file. Raises InputError with file, line and field for a line that is not a `model`."""
    with _open(path) as lines:
        return _records(lines, model, str(path))


def parse_records(text: bytes, model: type[M], where: str) -> list[M]:
    """The records in what a JSONL file holds; `where` is its path or URI. Raises InputError as `read_records`."""
    return _records(text.split(b"\n"), model, where)


def write_records(path: Path, records: Iterable[BaseModel]) -> None:
    """Write a JSONL file, atomically."""
    write_atomic(path, _lines(records))


def records_sha256(records: Iterable[BaseModel]) -> str:
    """SHA-256 of the file that `write_records` makes of them."""
    digest = hashlib.sha256()
    for line in _lines(records):
        digest.update(line)
    return digest.hexdigest()


def record_lines(records: Iterable[BaseModel]) -> bytes:
    """What a JSONL file of these records holds. The same records give the same bytes."""
    return b"".join(_lines(records))


def read_record(path: Path, model: type[M]) -> M:
    """The one record of a JSON file. Raises InputError with file and field."""
    with _open(path) as file:
        return _record(file.read(), model, str(path))


def read_json(path: Path) -> Any:
    """The value of a JSON file. Raises InputError with file and line when it is not JSON."""
    with _open(path) as file:
        try:
            return json.load(file)
        except json.JSONDecodeError as e:
            raise InputError(f"{path}:{e.lineno}: not JSON ({e.msg}, column {e.colno})") from e
        except UnicodeDecodeError as e:
            raise InputError(f"{path}: not UTF-8 text ({e.reason} at byte {e.start})") from e


def write_json(path: Path, value: Any) -> None:
    """Write a JSON value or a pydantic model, indented, atomically."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    write_atomic(path, _utf8(json.dumps(plain, indent=1, ensure_ascii=False) + "\n"))


def _lines(records: Iterable[BaseModel]) -> Iterator[bytes]:
    """One by one: together they may be larger than the memory that is left."""
    return (_utf8(json.dumps(record.model_dump(mode="json"), ensure_ascii=False) + "\n") for record in records)


def _open(path: Path) -> Any:
    try:
        return path.open("rb")
    except PermissionError as e:
        raise InputError(refusal(path, e.errno or 0)) from e
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror})") from e


def _records(lines: Iterable[bytes], model: type[M], where: str) -> list[M]:
    return [_record(line, model, f"{where}:{number}") for number, line in enumerate(lines, 1) if line.strip()]


def _record(text: bytes, model: type[M], where: str) -> M:
    try:
        return model.model_validate_json(text)
    except ValidationError as e:
        invalid = next((d for d in e.errors() if d["type"] == "json_invalid"), None)
        what = f"not JSON ({invalid['ctx']['error']})" if invalid else validation_message(e)
        raise InputError(f"{where}: {what}") from e


def _utf8(text: str) -> bytes:
    # A model may answer with half of a surrogate pair, which UTF-8 cannot hold; one '?' is better than a lost run.
    return text.encode("utf-8", "replace")
