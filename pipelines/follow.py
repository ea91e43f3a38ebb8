"""What a run tells of itself, read while it goes on and said in words: the same of a run here, on Kubeflow and on Vertex.

22:04:10 iteration 2, train: 120 of 300 training steps, 4 min left
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from rich.console import Console

from pada_agent.components.backends.artifacts.kept import REPORT_FILE, kept_state
from pada_agent.components.backends.patience import without_patience
from pada_agent.components.backends.store.events import Event, events_below, folder_of, runs, told
from pada_agent.components.core.errors import InputError, PassingError
from pada_agent.components.core.figures import duration
from pada_agent.components.core.places import HERE
from pada_agent.components.core.state import State
from pada_agent.pipelines.loop import STEP_MATCHED
from pada_agent.pipelines.results import show
from pada_agent.pipelines.words import line, spoken

POLL_SECONDS = 5.0
SILENCE_SECONDS = 600.0  # how long a store that was read before may be away
QUIET_SECONDS = 1200.0  # after so long without a word a person is told so: a task that goes on tells something more often
RESULT = "result"  # the task after which nothing comes on a cluster
_STATES = ("start", "merge", "score")  # tasks that leave a state
Say = Callable[[str], object]


@dataclass
class Following:
    """One run, of which everything is said once. `events_uri`: the folder that has a folder for each run."""

    events_uri: str
    run: str
    say: Say = print
    _seen: set[str] = field(default_factory=set)
    _starts: Counter[str] = field(default_factory=Counter)
    _last: dict[str, Event] = field(default_factory=dict)

    def look(self) -> bool:
        """Say what was told since the last look; whether that was anything. Raises InputError."""
        new = told(self.events_uri, self.run, self._seen)
        self._seen |= new.keys()
        latest = {event.task: name for name, event in new.items()}
        for name, event in new.items():
            before = self._last.get(event.task)
            stale = latest[event.task] != name or (before is not None and event.time < before.time)
            if event.kind != "progress" or not stale:
                self.say(f"{clock(event.time)} {self._words(event, before)}")
            if before is None or event.time >= before.time:
                self._last[event.task] = event
        return bool(new)

    def _words(self, event: Event, before: Event | None) -> str:
        if event.kind == "started":
            self._starts[event.task] += 1
            counted = event.numbers.get("attempt", 1)  # by the backend, which also knows of those that told nothing
            attempt = max(self._starts[event.task], counted if isinstance(counted, int) else 1)
            if attempt > 1 and (before is None or before.kind != "ended"):
                return f"{spoken(event.task)}: started again (attempt {attempt})"
        return line(event)

    @property
    def over(self) -> bool:
        """Whether nothing more will come. Raises InputError."""
        last = self._latest
        if last is None or last.kind in {"started", "progress"}:
            return False
        if self.run != HERE:
            return last.task == RESULT
        if last.kind != "ended":
            return True
        state = self.state() if last.task.partition("-")[0] in _STATES else None
        return state is not None and state.over and _left_by(state) == last.task  # that of a run before an edit is over too

    @property
    def failures(self) -> list[Event]:
        """The last word of each task that kept the run from its end, oldest first; of a lost one, what it told before."""
        bad = sorted((event for event in self._last.values() if event.kind != "ended"), key=lambda event: event.time)
        # In a run that came to its end, who failed was started again, or could not tell that it ended; but for the last word.
        return [event for event in bad if event is self._latest] if bad and self._finished else bad

    def why(self, event: Event) -> str:
        """The sentence of one of the `failures`."""
        if event.message:
            return event.message
        what = "process" if self.run == HERE else "pod"
        seen = f" ({event.done:,} of {event.total:,} {event.what})" if event.kind == "progress" else ""
        return f"it told nothing after {clock(event.time)}{seen}: its {what} was lost or killed, for want of memory perhaps"

    @property
    def ended_early(self) -> bool:
        """Whether tasks ended, and the run came to no end all the same. One of which nothing is known was taken over."""
        return bool(self._last.keys() - {RESULT}) and not self._finished

    @property
    def _latest(self) -> Event | None:
        return max(self._last.values(), key=lambda event: event.time, default=None)

    @property
    def _finished(self) -> bool:
        state = self.state()
        return state is not None and state.over

    def state(self) -> State | None:
        """The run's last state, None before there is one. Raises InputError."""
        return kept_state(self.events_uri, self.run)

    def show_results(self) -> None:
        """Print the table of results and the report's address. Raises PadaError if there is no new data."""
        try:
            state = self.state()
        except InputError as e:
            self.say(f"The results cannot be read from here: {e}")
            return
        folder = folder_of(self.events_uri, self.run)
        if state is None:
            self.say(f"There is no state at {folder}: its results are where the run took them over from")
            return
        place = self.events_uri.rpartition("/")[0] if self.run == HERE else folder
        show(state, f"{place}/{REPORT_FILE}", Console(highlight=False, soft_wrap=True))


def follow(place: str, run: str = "", once: bool = False, say: Say = print) -> bool:
    """Say what a run below `place`, a work_uri or a run directory, tells until it ends; whether it ended well.

    Without `run` the one that told something last. `once`: only what is known now. Raises PadaError.
    """
    events_uri = events_below(place)
    following = Following(events_uri, run or _newest(events_uri, say), say)
    try:
        over = _until_over(following, once)
    except KeyboardInterrupt:
        raise InputError("stopped watching: interrupted; the run itself goes on") from None
    if not over:
        say("The run goes on.")
        return False
    failures = following.failures
    for event in failures:
        say(f"failed: {spoken(event.task)}: {following.why(event)}")
    if failures:
        return False
    if following.ended_early:
        say("The run ended before it was over, and no task told why: the next one could not start, or its pod was never placed.")
        return False
    following.show_results()
    return True


def _until_over(following: Following, once: bool) -> bool:
    """Look until the run is over, or once; whether it is over. Raises InputError."""
    answered = heard = time.monotonic()
    away = quiet = False
    while True:
        now = time.monotonic()
        try:
            with without_patience():
                news, over = following.look(), following.over
        except PassingError as e:
            if once or now - answered > SILENCE_SECONDS:
                raise
            if not away:
                following.say(f"{e}; asking again")
            away = True
        else:
            if over or once:
                return over
            answered, away = now, False
            heard, quiet = (now, False) if news else (heard, quiet)
            if not quiet and now - heard > QUIET_SECONDS:
                following.say(f"Nothing new for {duration(now - heard)}: it waits for a machine, or a task was lost.")
                quiet = True
        time.sleep(POLL_SECONDS)


def _left_by(state: State) -> str:
    """The task that left this state."""
    if any(model.kind == "step_matched" for model in state.models):
        return f"score-{STEP_MATCHED}"
    if not state.iterations:
        return "start"
    last = state.iterations[-1]
    return f"{'score' if last.model else 'merge'}-{last.number}"


def clock(moment: datetime) -> str:
    """The time of day here, with the date of another day."""
    here = moment.astimezone()
    return f"{here:%H:%M:%S}" if here.date() == datetime.now().astimezone().date() else f"{here:%Y-%m-%d %H:%M:%S}"


def _newest(events_uri: str, say: Say) -> str:
    """The run that told something last. Raises InputError when none has."""
    known = runs(events_uri)
    if not known:
        raise InputError(
            f"{events_uri}: no run has told anything there; a run does when its first task starts: try again then, or correct "
            "--work-uri (--run-dir for one on this machine)"
        )
    if known[-1] != HERE:
        others = f", the latest of {len(known)} there; --run ID for another" if len(known) > 1 else ""
        say(f"run {known[-1]}{others}")
    return known[-1]
