"""What a run tells of itself while it goes on: small objects below a folder, one an event, written once and never changed.

    gs://bucket/work/events/RUN/20261130T004512.123456-train-2-9f3ac1.json
    {"time": "2026-11-30T00:45:12.123456Z", "task": "train-2", "kind": "progress", "done": 120, ...}

RUN is the backend's id of the run, `here` for a run directory. Names sort by time; what else lies beside them is no event.
"""

import re
from collections.abc import Collection
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from pada_agent.components.backends.store.objects import names, read_all, write_at_once

Kind = Literal["started", "progress", "ended", "failed", "stopped"]
SUFFIX = ".json"
_NAME = re.compile(r"\d{8}T\d{6}\.\d+-[^/]+\.json")


class Event(BaseModel):
    """One thing that happened to a task."""

    model_config = ConfigDict(frozen=True, extra="ignore")  # a later release may tell more

    task: str = Field(description="as the recipe calls it, e.g. train-2")
    kind: Kind
    time: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    what: str = Field(default="", description="progress: what is counted")
    done: int = 0
    total: int = 0
    seconds_left: float = 0
    seconds: float = Field(default=0, description="ended: how long the task took")
    numbers: dict[str, bool | int | float | str] = Field(default_factory=dict, description="ended: what came out, by words")
    message: str = Field(default="", description="failed, stopped: the sentence for the user")


def events_below(work_uri: str) -> str:
    """Where the runs of a work_uri, or of a run directory, tell their events."""
    return f"{work_uri.rstrip('/')}/events"


def folder_of(events_uri: str, run: str) -> str:
    """Where one run tells its events; what its last step left is there too (artifacts/kept.py)."""
    return f"{events_uri.rstrip('/')}/{run}"


def tell(events_uri: str, run: str, event: Event) -> None:
    """Write an event of a run. Raises InputError where the store refuses, PassingError where it may take it in a moment."""
    text = event.model_dump_json(exclude_defaults=True).encode()
    name = f"{event.time.astimezone(UTC):%Y%m%dT%H%M%S.%f}-{event.task}-{sha256(text).hexdigest()[:6]}{SUFFIX}"
    write_at_once(f"{folder_of(events_uri, run)}/{name}", text)


def told(events_uri: str, run: str, known: Collection[str] = ()) -> dict[str, Event]:
    """The events of a run by the names of their objects, in order of time, but for those `known`. Raises InputError.

    An object that is no event is left out: it may be half-written, or of a release to come.
    """
    folder = folder_of(events_uri, run)
    new = [name for name in names(folder) if _NAME.fullmatch(name) and name not in known]
    found = {}
    for name, text in zip(new, read_all(folder, new), strict=True):
        try:
            found[name] = Event.model_validate_json(text)
        except ValidationError:
            continue
    return found


def runs(events_uri: str) -> list[str]:
    """The runs that have told something, the one that told something last at the end. Raises InputError."""
    last: dict[str, str] = {}
    for name in names(events_uri.rstrip("/")):
        run, slash, event = name.partition("/")
        if slash and _NAME.fullmatch(event):
            last[run] = max(event, last.get(run, ""))
    return sorted(last, key=lambda run: last[run])
