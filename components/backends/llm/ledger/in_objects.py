"""The lines of a ledger below a gs:// or s3:// URI. Objects cannot be appended to, so each write is an object of its own:

gs://bucket/run/ledger/analyze_patterns/opened.json                                     who opened it last
gs://bucket/run/ledger/analyze_patterns/20261121T154501.123456-3f9a1c2d5e6b7a80.jsonl   one write: a few lines

The name ends in the SHA-256 of the content: two writers cannot hit the same name with different lines, and an object that
is not whole is noticed. All of them together, `cat *.jsonl`, are the ledger as one file.
"""

import hashlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from pada_agent.components.backends.store.objects import names, read_all, write
from pada_agent.components.core.errors import InputError


class LedgerObjects:
    """A LedgerStore (see calls.py) below a URI. Raises InputError when nothing can be written there: before a call is paid."""

    full = ""  # an object store has no last corner to write into

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._known: set[str] = set()
        opened = {"host": socket.gethostname(), "pid": os.getpid(), "time": _now()}
        with _named():
            write(f"{uri}/opened.json", json.dumps(opened).encode())

    def append(self, lines: bytes) -> None:
        """Write the lines as an object. A repeated upload after a lost answer hits the same name: nothing is there twice."""
        name = f"{_now()}-{_hash(lines)}.jsonl"
        write(f"{self._uri}/{name}", lines)
        self._known.add(name)

    def unread(self) -> tuple[list[bytes], int]:
        """The lines of all objects that are new since, in order of time, and how many objects are damaged."""
        with _named():
            new = [name for name in names(self._uri) if name.endswith(".jsonl") and name not in self._known]
            contents = read_all(self._uri, new)
        whole = [raw for name, raw in zip(new, contents, strict=True) if name[: -len(".jsonl")].endswith(f"-{_hash(raw)}")]
        self._known.update(new)
        return b"".join(whole).split(b"\n")[:-1], len(new) - len(whole)

    def same(self) -> bool:
        """Always: what others wrote since, `unread` gives."""
        return True

    def close(self) -> None:
        """Nothing is held."""


@contextmanager
def _named() -> Iterator[None]:
    """Says that it is the ledger's place which the store refuses."""
    try:
        yield
    except InputError as e:
        raise InputError(f"ledger {e}") from e


def _now() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")


def _hash(lines: bytes) -> str:
    return hashlib.sha256(lines).hexdigest()[:16]
