"""Events written and read back: a folder here, a real SeaweedFS, a real fake-gcs-server."""

from datetime import UTC, datetime, timedelta

from pada_agent.components.backends.store import objects
from pada_agent.components.backends.store.events import Event, runs, tell, told

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def test_events_come_back_in_order_of_time_and_only_once(events_uri):
    assert (told(events_uri, "a"), runs(events_uri)) == ({}, [])
    later = Event(task="train-1", kind="progress", time=NOON + timedelta(seconds=2), what="training steps", done=3, total=9)
    first = Event(task="train-1", kind="started", time=NOON)
    tell(events_uri, "a", later)
    tell(events_uri, "a", first)
    seen = told(events_uri, "a")
    assert list(seen.values()) == [first, later]
    assert told(events_uri, "a", seen) == {}
    ended = Event(task="train-1", kind="ended", time=NOON + timedelta(seconds=9), seconds=9.5, numbers={"steps": 9, "loss": 0.5})
    tell(events_uri, "a", ended)
    assert list(told(events_uri, "a", seen).values()) == [ended]


def test_runs_are_apart_and_the_latest_is_the_last(events_uri):
    tell(events_uri, "z", Event(task="prepare", kind="started", time=NOON))
    tell(events_uri, "b", Event(task="prepare", kind="failed", time=NOON + timedelta(hours=1), message="no rows"))
    objects.write(f"{events_uri}/z/state.json", b"{}")  # of update_state; no event, and later than all by its name
    assert runs(events_uri) == ["z", "b"]
    assert [event.message for event in told(events_uri, "b").values()] == ["no rows"]
    tell(events_uri, "z", Event(task="prepare", kind="ended", time=NOON + timedelta(hours=2)))
    assert runs(events_uri) == ["b", "z"]


def test_what_is_no_event_is_left_out(events_uri):
    tell(events_uri, "a", Event(task="prepare", kind="started", time=NOON))
    objects.write(f"{events_uri}/a/20261130T130000.000000-cut.json", b'{"task": "pre')
    objects.write(f"{events_uri}/a/report.html", b"<p>")
    objects.write(f"{events_uri}/a/deeper/20261130T130000.json", b"{}")
    newer = b'{"task": "x", "kind": "ended", "time": "2026-11-30T13:00:01Z", "new": 1}'
    objects.write(f"{events_uri}/a/20261130T130001.000000-x.json", newer)
    assert [event.task for event in told(events_uri, "a").values()] == ["prepare", "x"]
