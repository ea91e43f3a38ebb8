"""`pada compare`: what runs ship, side by side, with paired tests on the test rows that they share.

    run             model          test accuracy  interval           over the first          p      p, Holm
    runs/a          vanilla        61.0 %         54.1 % to 67.5 %
    runs/b          iteration-1    67.0 %         60.2 % to 73.1 %   +6.0 (+0.5 to +11.5)    0.034  0.034

Of graded tasks it is the mean score, tested by permutation. Rows are the same if their ids are and, where a run directory still
holds them, what they say.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from pada_agent.components.backends.artifacts.exported import run_state
from pada_agent.components.backends.record_files import read_records
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.figures import bare, p_value, percent, plural, points
from pada_agent.components.core.records import HeldOutRow
from pada_agent.components.core.report.gather import REPORTED_SPLIT
from pada_agent.components.core.state import State
from pada_agent.components.core.statistics import (
    Interval,
    Paired,
    holm,
    mean_interval,
    measure,
    paired_bootstrap,
    paired_test,
    wilson_interval,
)
from pada_agent.pipelines.results import PLAIN, show_table


@dataclass(frozen=True)
class Run:
    """What a run ships: row id -> score, right or wrong unless `graded`, group and, where known, a hash of what the row says."""

    address: str
    state: State
    scores: Mapping[str, float]
    graded: bool
    groups: Mapping[str, str]
    prints: Mapping[str, str] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """Name of the shipped model."""
        return self.state.incumbent


@dataclass(frozen=True)
class Compared:
    """A run against the first: on `rows` that both have, of `own` and `firsts`; `other_texts` have one id and differ."""

    test: Paired
    interval: Interval
    rows: int
    own: int
    firsts: int
    other_texts: int


def read_run(address: str) -> Run:
    """The run at an address. Raises InputError for one that ships nothing, or was not tested."""
    state = run_state(address)
    if not state.incumbent:
        raise InputError(f"{address}: no model to compare yet; let the run go on")
    model = state.model(state.incumbent)
    if not model.outcomes.get(REPORTED_SPLIT):
        raise InputError(f"{address}: {state.incumbent} was not evaluated on the test rows; nothing can be compared")
    graded, groups = bool(model.grades.get(REPORTED_SPLIT)), state.groups.get(REPORTED_SPLIT, {})
    return Run(address, state, model.scores(REPORTED_SPLIT), graded, groups, _prints(address))


def _alike(runs: Sequence[Run]) -> list[Run]:
    """All by their grades, or by right and wrong where one has no grades."""
    if all(run.graded for run in runs):
        return list(runs)
    return [replace(run, scores=run.state.model(run.model).outcomes[REPORTED_SPLIT], graded=False) for run in runs]


def _prints(address: str) -> dict[str, str]:
    """Of the test rows that a run directory holds."""
    file = next(iter(sorted(Path(address).glob(f"*-prepare/heldout_data/{REPORTED_SPLIT}.jsonl"))), None)
    if "://" in address or file is None:
        return {}
    rows = read_records(file, HeldOutRow)
    return {row.id: hashlib.sha256(json.dumps(row.fields, sort_keys=True).encode()).hexdigest() for row in rows}


def compared(first: Run, run: Run, confidence: float) -> Compared:
    """The run against the first. Raises InputError where they share no row, or do another task."""
    if first.state.run.task != run.state.run.task:
        raise InputError(
            f"{run.address}: its task is {run.state.run.task}, that of {first.address} is {first.state.run.task}; "
            "there is nothing to pair"
        )
    both = [row for row in first.scores if row in run.scores]
    same = [row for row in both if first.prints.get(row, "") == run.prints.get(row, "") or not (first.prints and run.prints)]
    if not same:
        why = "the same ids stand for other rows" if both else "no row of the one is in the other"
        raise InputError(f"{run.address}: its test rows are not those of {first.address} ({why}), so nothing can be paired")
    before, after = ({row: one.scores[row] for row in same} for one in (first, run))
    groups = {row: group for row in same if (group := first.groups.get(row) or run.groups.get(row, ""))}
    interval = paired_bootstrap(list(before.values()), list(after.values()), _units(same, groups), confidence)
    test = paired_test(before, after, groups)
    return Compared(test, interval, len(same), len(run.scores), len(first.scores), len(both) - len(same))


def _units(rows: Iterable[str], groups: Mapping[str, str]) -> list[str]:
    """What each row is drawn with: its group, or the row alone."""
    return [groups.get(row) or f"row {row}" for row in rows]


def show_compared(addresses: Sequence[str], confidence: float, console: Console) -> None:
    """Print the table and what to know of it. Raises InputError for fewer than two runs, or runs that cannot be paired."""
    if len(addresses) < 2:
        raise InputError("compare needs two runs or more; each is compared with the first")
    if len(set(addresses)) < len(addresses):
        raise InputError("compare: a run is named twice")
    first, *others = _alike([read_run(address) for address in addresses])
    found = [compared(first, run, confidence) for run in others]
    adjusted = holm([one.test.p for one in found])
    rows = [[*_own(first, confidence), "", "", "", ""]]
    for run, one, p in zip(others, found, adjusted, strict=True):
        over = f"{points(one.test.difference)} ({points(one.interval.low)} to {points(one.interval.high)})"
        changed = f"{one.test.gains}, {one.test.losses}"
        rows.append([*_own(run, confidence), over, changed, bare(p_value(one.test.p)), bare(p_value(p))])
    title = f"What each run ships, on test rows; intervals of {percent(confidence)}"
    own = ("run", "model", f"test {measure(first.graded)}", "interval")
    show_table((*own, "over the first", "gains, losses", "p", "p, Holm"), rows, title, console)
    for note in [*_notes(first, others, found), "Each is one seed: the tests cover the choice of test rows, not of seeds."]:
        console.print(note.translate(PLAIN), markup=False, soft_wrap=True)


def _own(run: Run, confidence: float) -> list[str]:
    right, n = sum(run.scores.values()), len(run.scores)
    own = Interval(right / n, *wilson_interval(right, n, confidence))
    if run.graded:
        own = mean_interval(list(run.scores.values()), _units(run.scores, run.groups), confidence)
    return [run.address, run.model, percent(own.mean), f"{percent(own.low)} to {percent(own.high)}"]


def _notes(first: Run, others: Sequence[Run], found: Sequence[Compared]) -> list[str]:
    notes = []
    for run, one in zip(others, found, strict=True):
        if one.rows < max(one.own, one.firsts):
            why = f", {one.other_texts} with an id of the first that say something else" if one.other_texts else ""
            notes.append(
                f"{run.address}: compared on the {plural(one.rows, 'row')} that both have; it has {one.own}{why}, "
                f"the first {one.firsts}."
            )
        if run.state.run.metric != first.state.run.metric:
            notes.append(f"{run.address}: a row is right by {run.state.run.metric}, in the first by {first.state.run.metric}.")
        if run.state.run.slm != first.state.run.slm:
            notes.append(f"{run.address}: its model is {run.state.run.slm}, that of the first {first.state.run.slm}.")
    if any(not run.prints for run in (first, *others)):
        notes.append("Not all of these are run directories with their rows: those are taken for the same whose ids are.")
    return notes
