"""What the last step of a run left where the run also tells how far it is, for readers who have none of its artifacts.

gs://bucket/work/events/RUN/report.html    the report so far
gs://bucket/work/events/RUN/rows.jsonl     the rows that it shows
gs://bucket/work/events/RUN/state.json     the state; written last
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pada_agent.components.backends.record_files import parse_records, record_lines
from pada_agent.components.backends.store.events import folder_of
from pada_agent.components.backends.store.objects import read, write
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.report.shown_rows import ROWS_FILE, ShownRow
from pada_agent.components.core.state import STATE_FILE, State

REPORT_FILE = "report.html"


@dataclass(frozen=True)
class Kept:
    """A state, and the rows that its report shows."""

    state: State
    rows: list[ShownRow]


def keep(events_uri: str, run: str, state: State, rows: Sequence[ShownRow], page: str) -> None:
    """Put a step's state and report in place of those of the step before. Raises InputError where the store refuses.

    A step that was thought lost and comes late changes nothing if what is kept already goes on from its state.
    """
    folder = folder_of(events_uri, run)
    try:
        before = kept_state(events_uri, run)
    except InputError:  # of another release, or damaged: there is something better now
        before = None
    if before is None or not _goes_on(state, before):
        write(f"{folder}/{REPORT_FILE}", page.encode("utf-8", "replace"))
        write(f"{folder}/{ROWS_FILE}", record_lines(rows))
        write(f"{folder}/{STATE_FILE}", state.model_dump_json(indent=1).encode())


def kept(events_uri: str, run: str) -> Kept | None:
    """What a run's last step left, None if no step did. Raises InputError."""
    state = kept_state(events_uri, run)
    if state is None:
        return None
    where = f"{folder_of(events_uri, run)}/{ROWS_FILE}"
    return Kept(state, parse_records(read(where) or b"", ShownRow, where))


def kept_state(events_uri: str, run: str) -> State | None:
    """The state alone. Raises InputError."""
    where = f"{folder_of(events_uri, run)}/{STATE_FILE}"
    text = read(where)
    return None if text is None else State.parse(text, where)


def _goes_on(state: State, later: State) -> bool:
    """Whether `later` has all that is in `state`, and more."""
    models = later.models[: len(state.models)] == state.models
    done, more = ((len(s.models), len(s.iterations)) for s in (state, later))
    return models and more != done and more[0] >= done[0] and more[1] >= done[1]
