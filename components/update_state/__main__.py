"""Entry point: state and what is new in, state, accepted rows and report out."""

from typing import Any

from pada_agent.components.backends.artifacts.evaluated import Evaluated, read_evaluated, read_shown_rows
from pada_agent.components.backends.artifacts.plan import read_plan
from pada_agent.components.backends.executor import Executor, main
from pada_agent.components.backends.files import write_atomic
from pada_agent.components.backends.record_files import read_json, read_records, write_json, write_records
from pada_agent.components.backends.store.export import publish
from pada_agent.components.backends.store.transfer import put
from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.cost.estimate import estimate
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.quality.judge_check import FILE as JUDGE_CHECK
from pada_agent.components.core.quality.judge_check import JudgeCheck
from pada_agent.components.core.records import Analysis, Batch, Pattern, SyntheticRow, TrainRow
from pada_agent.components.core.report.page import render
from pada_agent.components.core.report.shown_rows import FILE as ROWS
from pada_agent.components.core.report.shown_rows import ShownRow, draw_rows, with_answers, with_parents
from pada_agent.components.core.report.verdict import STEP_MATCHED
from pada_agent.components.core.settings import UpdateState
from pada_agent.components.core.state import FILE, Kind, RunFacts, State
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.task import Task
from pada_agent.components.update_state import update


def run(ex: Executor) -> None:
    """Read, update, write."""
    settings, step, before = ex.settings(UpdateState), ex.parameter("step"), ex.optional_input("previous_state", FILE)
    if step not in ("start", "merge", "score", "control"):
        raise InputError(f"step '{step}' is not known; it is start, merge, score or control")
    if before is None and step != "start":
        raise InputError(f"step '{step}' needs the input artifact 'previous_state'; the first step of a run is 'start'")
    state = State.load(before) if before else State(run=RunFacts.of(settings, _task(ex, settings).metric))
    earlier = ex.optional_input("previous_synthetic_data", "synthetic.jsonl")
    rows = read_records(earlier / "synthetic.jsonl", SyntheticRow) if earlier else state.synthetic_rows
    shown = read_shown_rows(before) if before else []
    if step == "merge":
        learnt = _learnt(ex)
        state = update.merge(state, ex.parameter("iteration"), learnt)
        rows += [row for batch in learnt.batches for row in batch.accepted]
        shown = _with_parents(ex, settings, shown, state, learnt)
    else:
        state, models = _evaluated(ex, settings, step, state)
        if step == "start":
            shown = draw_rows(models[-1].open_predictions, _task(ex, settings), settings.seed)
        for found in models:
            shown = with_answers(shown, found.model.name, found.open_predictions)
    write_records(ex.output("state") / ROWS, shown)
    write_json(ex.output("state") / FILE, state)
    write_records(ex.output("synthetic_data") / "synthetic.jsonl", rows)
    write_atomic(ex.output("report"), render(state, shown))
    if uri := str(ex.parameter("export_uri", "")):
        _export(ex, uri, state)
    ex.set_parameter("go_on", state.decision.go_on)
    ex.set_parameter("reason", state.decision.reason)
    ex.set_parameter("shipped", state.incumbent)
    uri = state.model(state.incumbent).adapter_uri if state.incumbent else ""
    ex.set_metadata("state", shipped=state.incumbent, shipped_uri=uri, iterations=len(state.iterations))
    ex.set_metadata("synthetic_data", rows=len(rows))
    ex.finish()


def _export(ex: Executor, uri: str, state: State) -> None:
    """Hand over the adapter if it is what this step decided to ship; the report and the rows that made it lie beside it."""
    adapter = ex.optional_input("adapter", "train.json")
    if adapter and state.models and state.model(state.incumbent).adapter_uri == ex.input_uri("adapter"):
        accuracies = {split: round(m.accuracy, 4) for split, m in state.model(state.incumbent).metrics.items()}
        publish(adapter, uri, state.incumbent, {"slm": state.run.slm, "task": state.run.task, "accuracy": accuracies})
    put(ex.output("report"), f"{uri}/report.html")
    put(ex.output("synthetic_data") / "synthetic.jsonl", f"{uri}/synthetic.jsonl")


def _task(ex: Executor, settings: UpdateState) -> Task:
    return load_task(settings.task.name, settings.task.options, ex.input("train_data", "train.jsonl") / "assets")


def _with_parents(
    ex: Executor, settings: UpdateState, shown: list[ShownRow], state: State, learnt: update.Learnt
) -> list[ShownRow]:
    """`shown` and what the new samples were written from: training rows, and the errors that were made on them."""
    train = read_records(ex.input("train_data", "train.jsonl") / "train.jsonl", TrainRow)
    rows = with_parents(shown, train, learnt.batches, _task(ex, settings), settings.seed)
    return with_answers(rows, state.analysed(state.iterations[-1].number), {"train": learnt.errors})


def _learnt(ex: Executor) -> update.Learnt:
    analyses, checked = ex.input("analyses", "analyses.jsonl"), ex.input("checked_batches", "batches.jsonl")
    strategies, errors, _ = read_plan(ex.input("plan", "strategies.yaml"))
    usages: dict[str, Any] = {**read_json(analyses / "usage.json"), **read_json(checked / "usage.json")}
    return update.Learnt(
        summary=read_json(analyses / "summary.json"),
        analyses=read_records(analyses / "analyses.jsonl", Analysis),
        patterns=read_records(analyses / "patterns.jsonl", Pattern),
        strategies=strategies,
        batches=read_records(checked / "batches.jsonl", Batch),
        errors=errors,
        usage={stage: Usage.model_validate(value) for stage, value in usages.items()},
        judge_check=JudgeCheck.model_validate(read_json(judged)) if (judged := checked / JUDGE_CHECK).exists() else None,
    )


def _evaluated(ex: Executor, settings: UpdateState, step: str, state: State) -> tuple[State, list[Evaluated]]:
    """The state with the model of this step, and with the one that stands beside it: untuned at the start, else the control."""
    number = ex.parameter("iteration") if step == "score" else 0
    names = {"start": "vanilla", "score": f"iteration-{number}", "control": STEP_MATCHED}
    found = _read(ex, settings, names[step], update.KINDS[step], number)
    models, beside = [found], ex.has_input("baseline_report_predictions")
    if step == "start":
        if beside:
            untuned = _read(ex, settings, "untuned", "untuned", 0, "baseline_")
            state = update.start(state, untuned.model, untuned.groups)
            models.insert(0, untuned)
        return _with_expected(ex, settings, update.start(state, found.model, found.groups)), models
    if step == "score":
        state = update.score(state, found.model, found.groups, settings.loop, settings.budget)
        if not beside:
            return state, models
        found = _read(ex, settings, STEP_MATCHED, "control", 0, "baseline_")
        models.append(found)
    return update.control(state, found.model, found.groups), models


def _with_expected(ex: Executor, settings: UpdateState, state: State) -> State:
    """The state with what `pada estimate` says of this run, to stand beside what it will have cost."""
    data = ex.input("train_data", "train.jsonl")
    task = _task(ex, settings)
    train = [row.fields for row in read_records(data / "train.jsonl", TrainRow)]
    validation = state.start.metrics.get("validation")
    stages = estimate(settings, task, train, len(train), validation.n if validation else 0)
    return state.model_copy(update={"expected": {s.stage: s.expected for s in stages}})


def _read(ex: Executor, settings: UpdateState, name: str, kind: Kind, iteration: int, prefix: str = "") -> Evaluated:
    adapter = ex.optional_input(f"{prefix}adapter", "train.json")
    artifacts = (f"{prefix}predictions", f"{prefix}report_predictions")
    folders = [folder for a in artifacts if (folder := ex.optional_input(a, "metrics.json"))]
    tuned = (adapter, ex.input_uri(f"{prefix}adapter")) if adapter else None
    return read_evaluated(name, kind, iteration, folders, tuned, settings.evaluate)


if __name__ == "__main__":
    main(run)
