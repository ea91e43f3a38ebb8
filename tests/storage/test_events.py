"""Events written and read back: a folder here, a real SeaweedFS, a real fake-gcs-server."""

from datetime import UTC, datetime, timedelta

import pytest

from pada_agent.components.backends.store import objects
from pada_agent.components.backends.store.events import Event, runs, tell, told

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture(params=["folder", "gs", "s3"])
def place(request, tmp_path):
    if request.param == "folder":
        yield str(tmp_path / "work" / "events")
        return
    with request.getfixturevalue(f"{request.param}_server").elsewhere().used() as found:
        yield f"{found.uri}/events"


def test_events_come_back_in_order_of_time_and_only_once(place):
    assert (told(place, "a"), runs(place)) == ({}, [])
    later = Event(task="train-1", kind="progress", time=NOON + timedelta(seconds=2), what="training steps", done=3, total=9)
    first = Event(task="train-1", kind="started", time=NOON)
    tell(place, "a", later)
    tell(place, "a", first)
    seen = told(place, "a")
    assert list(seen.values()) == [first, later]
    assert told(place, "a", seen) == {}
    ended = Event(task="train-1", kind="ended", time=NOON + timedelta(seconds=9), seconds=9.5, numbers={"steps": 9, "loss": 0.5})
    tell(place, "a", ended)
    assert list(told(place, "a", seen).values()) == [ended]


def test_runs_are_apart_and_the_latest_is_the_last(place):
    tell(place, "z", Event(task="prepare", kind="started", time=NOON))
    tell(place, "b", Event(task="prepare", kind="failed", time=NOON + timedelta(hours=1), message="no rows"))
    objects.write(f"{place}/z/state.json", b"{}")  # of update_state; no event, and later than all by its name
    assert runs(place) == ["z", "b"]
    assert [event.message for event in told(place, "b").values()] == ["no rows"]
    tell(place, "z", Event(task="prepare", kind="ended", time=NOON + timedelta(hours=2)))
    assert runs(place) == ["b", "z"]


def test_what_is_no_event_is_left_out(place):
    tell(place, "a", Event(task="prepare", kind="started", time=NOON))
    objects.write(f"{place}/a/20261130T130000.000000-cut.json", b'{"task": "pre')
    objects.write(f"{place}/a/report.html", b"<p>")
    objects.write(f"{place}/a/deeper/20261130T130000.json", b"{}")
    objects.write(
        f"{place}/a/20261130T130001.000000-x.json", b'{"task": "x", "kind": "ended", "time": "2026-11-30T13:00:01Z", "new": 1}'
    )
    assert [event.task for event in told(place, "a").values()] == ["prepare", "x"]
