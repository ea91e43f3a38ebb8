"""The checks of quality control on labelled samples: each alone, with the others off, and all in their order.

What decides is control_quality's own code: verify, solve and judge_verified.
"""

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from itertools import groupby

from pada_agent.components.backends.sandbox.run import run_code
from pada_agent.components.control_quality.control import Known, Tools, Verified, judge_verified, verify
from pada_agent.components.control_quality.solve import solve
from pada_agent.components.core.llm_interface import Llm
from pada_agent.components.core.records import Batch, RejectionKind, Sample
from pada_agent.components.core.settings import ControlSettings, GenerateSettings
from pada_agent.components.core.tasks.task import Task
from tests.components.control_quality.labelled_rows import (
    LabelledSample,
    TaskName,
    batches,
    fingerprints,
    strategies,
    tasks,
    train_rows,
)

Verdicts = dict[str, Sample]  # by id; a sample that a check was not shown has none
RULES: tuple[RejectionKind, ...] = ("wrong answer", "off the pattern", "not new", "leak")
ORDER: dict[str, set[RejectionKind]] = {
    **{kind: {kind} for kind in RULES},
    "solved blind": {"doubtful answer", "not verified"},
    "judge": {"judge", "not judged"},
}


def rule(kind: RejectionKind, chosen: Sequence[LabelledSample], settings: ControlSettings) -> Verdicts:
    """What one of RULES makes of samples; `off the pattern` is shown those that have a focus."""
    off = settings.model_copy(update={"solve": "off"})
    found: Verdicts = {}
    for name, group in _by_task(chosen):
        task = tasks()[name] if kind == "wrong answer" else _trusting(tasks()[name])
        tools = Tools(None, run_code, fingerprints(name).hits if kind == "leak" else lambda texts: "")
        shown = [s for s in group if s.focus] if kind == "off the pattern" else group
        if kind == "not new":
            todo = [b.model_copy(update={"focus": ""}) for b in batches(shown)]
            found |= _samples(verify(task, todo, Known(train_rows(name), []), off, tools).batches)
            continue
        for sample in shown:  # one by one, with nothing that it could repeat
            todo = batches([sample])
            if kind != "off the pattern":
                todo = [b.model_copy(update={"focus": ""}) for b in todo]
            found |= _samples(verify(task, todo, Known([], []), off, tools).batches)
    return found


def solved(chosen: Sequence[LabelledSample], solver: Llm, settings: ControlSettings) -> Verdicts:
    """What solving every sample blind makes of them, as `settings.solve` says."""
    found: Verdicts = {}
    for name, group in _by_task(chosen):
        samples = _samples(batches(group))
        train = [row.fields for row in train_rows(name)]
        findings = solve(tasks()[name], [s.row for s in samples.values()], train, settings, solver, run_code)
        found |= {id: samples[id].rejected(f.kind, f.detail) if f.kind else samples[id] for id, f in findings.items()}
    return found


def judged(chosen: Sequence[LabelledSample], judge: Llm, settings: ControlSettings) -> Verdicts:
    """What the judge makes of whole batches, that it is told nothing else about, as `settings.verdict` says."""
    found: Verdicts = {}
    for name, group in _by_task(chosen):
        known, every = Known(train_rows(name), []), Verified(batches(group), {})
        found |= _samples(judge_verified(tasks()[name], every, strategies(group), known, settings, GenerateSettings(), judge))
    return found


def in_sequence(chosen: Sequence[LabelledSample], llm: Llm | None, settings: ControlSettings) -> dict[str, Verdicts]:
    """Quality control as it runs, or its rules: of each check of ORDER its verdicts on what those before it let pass."""
    done: Verdicts = {}
    own = settings if llm else settings.model_copy(update={"solve": "off"})
    for name, group in _by_task(chosen):
        known, tools = Known(train_rows(name), []), Tools(llm, run_code, fingerprints(name).hits)
        verified = verify(tasks()[name], batches(group), known, own, tools)
        closed = verified.batches
        if llm:
            closed = judge_verified(tasks()[name], verified, strategies(group), known, own, GenerateSettings(), llm)
        done |= _samples(closed)
    found: dict[str, Verdicts] = {}
    for check, kinds in ORDER.items() if llm else list(ORDER.items())[: len(RULES)]:
        found[check] = {id: s if s.kind in kinds else Sample(row=s.row) for id, s in done.items()}
        done = {id: s for id, s in done.items() if s.kind not in kinds}
    return found


def together(found: Iterable[Verdicts]) -> Verdicts:
    """The verdicts of several checks as one: rejected by any of them."""
    merged: Verdicts = {}
    for verdicts in found:
        merged |= {id: s for id, s in verdicts.items() if id not in merged or s.kind}
    return merged


def _by_task(chosen: Sequence[LabelledSample]) -> Iterator[tuple[TaskName, list[LabelledSample]]]:
    return ((name, list(group)) for name, group in groupby(chosen, key=lambda sample: sample.task))


def _samples(of: Sequence[Batch]) -> Verdicts:
    return {s.row.id: s for batch in of for s in batch.samples}


def _trusting(task: Task) -> Task:
    """The same task with nothing to say against an answer."""
    trusting = copy(task)
    trusting.verify = lambda fields, run_code: ""  # type: ignore[method-assign]
    return trusting
