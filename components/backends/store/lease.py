"""One process at a time on a folder of an object store, as far as the store can tell: a numbered note that only one can create.

gs://bucket/runs/a/lease/000003.json    {"host": "node-4", "pid": 17, "time": 1763712345.2, "process": "...", "token": "8c1f..."}

The highest number holds. Whoever finds a note that was not refreshed for STALE_SECONDS creates the next number, which the store
lets only one do; the one before sees that when it refreshes and stops.
"""

import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pada_agent.components.backends.progress import notice
from pada_agent.components.backends.store.objects import create, names, read, remove, write
from pada_agent.components.core.errors import InputError

STALE_SECONDS = 180.0  # also what the clocks of two machines may differ by
REFRESH_SECONDS = 30.0


class Held(InputError):
    """Another process works in this folder; it may be over soon, or dead."""


class Lease:
    """A note in `uri`/lease that says that this process works in `uri`. Use `leased`."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._name = ""
        self._token = uuid.uuid4().hex
        self._lost = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._refresh, daemon=True)

    def check(self) -> None:
        """Raises InputError when another process has taken over since."""
        if self._lost:
            raise InputError(f"{self._uri}: {self._lost} has taken over this run, so this process stops")

    def take(self) -> None:
        """Raises Held when another process holds the lease, InputError when nothing can be written there."""
        taken = self._notes()
        if taken and (holder := self._holder(taken[-1])) and not _gone(holder):
            age = time.time() - holder["time"]
            raise Held(
                f"{self._uri}: {_name(holder)} is running here, seen {max(age, 0):.0f} s ago; wait for it or stop it. "
                f"If it is dead, the lease ends {STALE_SECONDS:.0f} s after it was last seen"
            )
        self._name = f"{int(taken[-1].split('.')[0]) + 1 if taken else 1:06d}.json"
        if not create(self._path(), self._note()):
            holder = self._holder(self._name) or {}
            if holder.get("token") != self._token:  # else the first answer was lost and the library asked again
                raise Held(f"{self._uri}: {_name(holder)} was faster and is running here; wait for it or stop it")
        elif create(self._path(), self._note()):
            notice(f"{self._uri}: this store does not refuse a second writer; do not start two runs on it")
        for old in taken:
            with suppress(InputError):  # who may not delete leaves them
                remove(f"{self._uri}/lease/{old}")
        self._thread.start()

    def _notes(self) -> list[str]:
        """Names of the notes, the highest number last; what else lies there is not ours."""
        return [name for name in names(f"{self._uri}/lease") if re.fullmatch(r"\d{6,}\.json", name)]

    def give_back(self) -> None:
        """Release the lease: the next process need not wait."""
        self._over.set()
        self._thread.join(STALE_SECONDS)  # a note written after its removal would keep others out
        if not self._lost:
            with suppress(InputError):
                remove(self._path())

    def renew(self) -> None:
        """Write the note again, unless another process holds the lease by now."""
        taken = self._notes()
        holder = self._holder(taken[-1]) if taken else None
        if holder is None or holder["token"] != self._token:
            self._lost = _name(holder or {})
        elif not self._over.is_set():
            write(self._path(), self._note())

    def _refresh(self) -> None:
        while not self._lost and not self._over.wait(REFRESH_SECONDS):
            with suppress(InputError):  # a store that is away for a moment: the next turn tells
                self.renew()

    def _path(self) -> str:
        return f"{self._uri}/lease/{self._name}"

    def _holder(self, name: str) -> dict[str, Any] | None:
        try:
            note = json.loads(read(f"{self._uri}/lease/{name}") or b"")
            return {**note, "time": float(note["time"]), "token": str(note["token"])}
        except (ValueError, KeyError, TypeError):
            return None

    def _note(self) -> bytes:
        own = {"host": socket.gethostname(), "pid": os.getpid(), "time": round(time.time(), 1), "process": _process(os.getpid())}
        return json.dumps({**own, "token": self._token}).encode()


@contextmanager
def leased(uri: str) -> Iterator[Lease]:
    """Hold `uri` while the block runs. Raises Held when another process does."""
    lease = Lease(uri)
    lease.take()
    try:
        yield lease
    finally:
        lease.give_back()


def _name(holder: dict[str, Any]) -> str:
    return f"process {holder['pid']} on {holder['host']}" if {"pid", "host"} <= holder.keys() else "another process"


def _gone(holder: dict[str, Any]) -> bool:
    """Whether the holder is dead: its note is old, or it was a process of this very machine that is no more."""
    if time.time() - holder["time"] > STALE_SECONDS:
        return True
    here, there = _process(os.getpid()), str(holder.get("process", ""))
    same_machine = bool(here) and here.split("/")[:2] == there.split("/")[:2]
    return same_machine and _process(int(holder["pid"])) != there


def _process(pid: int) -> str:
    """What tells this process from all others: boot, namespace of process ids, id, start. '' if dead or not on Linux."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as boot, open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
            if fields[0] in {"Z", "X"}:
                return ""
            return f"{boot.read().strip()}/{os.stat('/proc/self/ns/pid').st_ino}/{pid}/{fields[19]}"
    except (OSError, IndexError):
        return ""
