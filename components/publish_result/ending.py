"""How a run ended: well, or in which task and why, from what its tasks told and the state they left."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from pada_agent.components.core.figures import plural
from pada_agent.components.core.report.facts import Lead
from pada_agent.components.core.state import State

FAILED, LOST, STOPPED = "failed", "lost", "stopped"  # the likelier cause first: others are stopped because one failed
HOW = {FAILED: "failed in", LOST: "was lost in", STOPPED: "was stopped in"}
GO_ON = "What had ended and what was paid is kept: started again with the same work_uri, the run goes on from there."


class Told(Protocol):
    """What there is to know of an event here; see backends/store/events.py."""

    @property
    def task(self) -> str: ...
    @property
    def kind(self) -> Literal["started", "progress", "ended", "failed", "stopped"]: ...
    @property
    def time(self) -> datetime: ...
    @property
    def what(self) -> str: ...
    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def message(self) -> str: ...


@dataclass(frozen=True)
class Trouble:
    """A task that did not come to its end: what became of it, and its own sentence or ours."""

    task: str
    kind: str
    sentence: str


def troubles(events: Sequence[Told], state: State | None) -> list[Trouble]:
    """The tasks that kept a run from its end, the first one being why; none of a run that is over. Events are in order."""
    if state and state.over:  # whoever failed before that was started again
        return []
    last: dict[str, Told] = {event.task: event for event in events}
    found = [_trouble(event) for event in sorted(last.values(), key=lambda e: e.time) if event.kind != "ended"]
    return sorted(found, key=lambda trouble: (FAILED, LOST, STOPPED).index(trouble.kind))


def _trouble(event: Told) -> Trouble:
    if event.kind in (FAILED, STOPPED):
        return Trouble(event.task, event.kind, event.message)
    seen = f" ({event.done:,} of {event.total:,} {event.what})" if event.kind == "progress" else ""
    heard = f"{event.time:%Y-%m-%d %H:%M:%S} UTC"
    sentence = (
        f"it was last heard of at {heard}{seen} and never ended: its pod was lost or killed, for want of memory, by its time "
        "limit or with its node; the graph shows its last status"
    )
    return Trouble(event.task, LOST, sentence)


def lead(found: Sequence[Trouble], events: Sequence[Told], state: State | None) -> Lead | None:
    """What stands above the report; None above that of a run that is over."""
    if state and state.over:
        return None
    after = [GO_ON, f"What it had reached by then: {_reached(state)}."]
    if found:
        first, *others = found
        also = [f"{other.task} {other.kind}: {other.sentence}" for other in others]
        return Lead(headline=f"The run {HOW[first.kind]} {first.task}.", details=[first.sentence, *also, *after], failed=True)
    ended = next((event.task for event in reversed(events) if event.kind == "ended"), "")
    since = f"the last one that ended is {ended}; what follows it" if ended else "the first one"
    sentence = f"No task told why: {since} never started. Its image, its rights or room on a node may be missing: see the graph."
    return Lead(headline="The run ended before it was over.", details=[sentence, *after], failed=True)


def _reached(state: State | None) -> str:
    if state is None:
        return "no model was evaluated"
    models = [f"{model.name} evaluated" for model in state.models]
    return ", ".join([*models, f"{plural(len(state.synthetic_rows), 'synthetic row')} let in"])


def unheard(run: str, other: str) -> Lead:
    """Above the report of the run `other`, if there is one, for a run of which no task has told anything."""
    details = [
        f"Nothing was told of run {run}: either all its results were taken over from an earlier run, or no task of it could "
        "start. The graph shows which."
    ]
    if other:
        details.append(
            f"If they were taken over, they are most likely those of run {other}, the newest one with a result that used the "
            "same work_uri. What follows is its report; its metrics and its adapter are not repeated as this run's."
        )
    return Lead(headline="This run has no result of its own.", details=details)
