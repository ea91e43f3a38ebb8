"""Entry point: state and what is new in, state, accepted rows and report out."""

from pathlib import Path
from typing import Any

from pada_agent.components.backends.artifacts.evaluated import read_evaluated, read_shown_rows
from pada_agent.components.backends.artifacts.exported import exported_state, facts_of, put_beside
from pada_agent.components.backends.artifacts.learnt import read_learnt
from pada_agent.components.backends.artifacts.origins import taken_over
from pada_agent.components.backends.executor import Executor, main
from pada_agent.components.backends.files import write_atomic
from pada_agent.components.backends.progress import notice
from pada_agent.components.backends.record_files import read_records, write_json, write_records
from pada_agent.components.backends.store.export import publish, shipped
from pada_agent.components.backends.store.transfer import fetch
from pada_agent.components.backends.temporary import OwnFolder
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.evidence import Evaluated
from pada_agent.components.core.records import SyntheticRow, TrainRow
from pada_agent.components.core.report.page import render
from pada_agent.components.core.report.shown_rows import ROWS_FILE
from pada_agent.components.core.settings import UpdateState
from pada_agent.components.core.state import STATE_FILE, Earlier, Kind, RunFacts, State
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.stages import LAST_STEP
from pada_agent.components.update_state import steps
from pada_agent.components.update_state.earlier import look_up, prints


def run(ex: Executor) -> None:
    """Read, update, write."""
    settings, step, number = ex.settings(UpdateState), str(ex.parameter("step")), int(ex.parameter("iteration", 0))
    steps.check_step(step, ex.given())
    data = ex.input("train_data", "train.jsonl")
    task = load_task(settings.task.name, settings.task.options, data / "assets")
    before = ex.optional_input("previous_state", STATE_FILE)
    state = State.load(before) if before else State(run=RunFacts.of(settings, task.metric))
    earlier_runs = state.taken_over | taken_over(ex, state, step, number)
    earlier = ex.optional_input("previous_synthetic_data", "synthetic.jsonl")
    rows = read_records(earlier / "synthetic.jsonl", SyntheticRow) if earlier else state.synthetic_rows
    train = read_records(data / "train.jsonl", TrainRow)
    shown = read_shown_rows(before) if before else []
    if step == "merge":
        learnt = read_learnt(
            ex.input("analyses", "analyses.jsonl"),
            ex.input("plan", "strategies.yaml"),
            ex.input("checked_batches", "batches.jsonl"),
        )
        state, shown = steps.merge((state, shown), settings, task, train, number, learnt)
        rows += [row for batch in learnt.batches for row in batch.accepted]
    else:
        model = _read(ex, settings, *steps.recorded_model(step, number), number if step == "score" else 0)
        beside = ex.has_input("baseline_report_predictions")
        baseline = _read(ex, settings, *steps.baseline_model(step), 0, "baseline_") if beside else None
        if step == "start":
            state, shown = steps.begin(state, settings, task, train, model, baseline)
            state = _look_back(state, settings.earlier, model)
        else:
            state, shown = steps.record((state, shown), settings, step, model, baseline)
    state = state.model_copy(update={"taken_over": earlier_runs})
    write_records(ex.output("state", STATE_FILE) / ROWS_FILE, shown)
    write_json(ex.output("state") / STATE_FILE, state)
    write_records(ex.output("synthetic_data") / "synthetic.jsonl", rows)
    write_atomic(ex.output("report"), render(state, shown))
    if uri := str(ex.parameter("export_uri", "")):
        _export(ex, uri, state, facts_of(state, data) if state.incumbent else {}, last=step == LAST_STEP)
    ex.set_parameter("go_on", state.decision.go_on)
    ex.set_parameter("step_matched", steps.step_matched_next(state, step, settings.step_matched))
    ex.set_parameter("reason", state.decision.reason)
    ex.set_parameter("shipped", state.incumbent)
    uri = state.model(state.incumbent).adapter_uri if state.incumbent else ""
    ex.set_metadata("state", shipped=state.incumbent, shipped_uri=uri, iterations=len(state.iterations))
    ex.set_metadata("synthetic_data", rows=len(rows))
    ex.finish()


def _look_back(state: State, uri: str, model: Evaluated) -> State:
    """With what is to be known of this run's validation rows, and of an earlier run's patterns if the settings name one.

    That one may be away, or nothing lie there yet: no reason to end a run, but one to be told in its report.
    """
    state = state.model_copy(update={"row_prints": prints(model.open_predictions.get("validation", ()))})
    if not uri:
        return state
    try:
        found = look_up(exported_state(uri), uri, state)
    except InputError as e:
        notice(f"earlier: {e}")
        found = Earlier(uri=uri, problem=str(e))
    return state.model_copy(update={"earlier": found})


def _export(ex: Executor, uri: str, state: State, facts: dict[str, Any], last: bool) -> None:
    """Hand over the adapter if it is what this step decided to ship; state, report and the rows that made it lie beside it.

    A pipeline may take over all steps but the `last` one from an earlier run: it sees whether the adapter is still there.
    """
    adapter = ex.optional_input("adapter", "train.json")
    if state.incumbent:
        chosen = state.model(state.incumbent)
        if adapter and chosen.adapter_uri == ex.input_uri("adapter"):
            publish(adapter, uri, chosen.name, facts)
        elif last and (shipped(uri) or {}).get("facts") != facts:
            with OwnFolder("pada-adapter-") as folder:
                publish(_fetched(chosen.adapter_uri, folder, uri), uri, chosen.name, facts)
    put_beside(uri, ex.output("state") / STATE_FILE, ex.output("report"), ex.output("synthetic_data") / "synthetic.jsonl")


def _fetched(adapter_uri: str, folder: Path, uri: str) -> Path:
    try:
        return fetch(adapter_uri, folder)
    except InputError as e:
        raise InputError(
            f"{uri}: another adapter than this run's lies there by now, and that one cannot be read ({e}); submit with --no-cache"
        ) from e


def _read(ex: Executor, settings: UpdateState, name: str, kind: Kind, iteration: int, prefix: str = "") -> Evaluated:
    adapter = ex.optional_input(f"{prefix}adapter", "train.json")
    validation = ex.optional_input(f"{prefix}predictions", "metrics.json")
    held_out = ex.optional_input(f"{prefix}report_predictions", "metrics.json")
    folders = [folder for folder in (validation, held_out) if folder]
    tuned = (adapter, ex.input_uri(f"{prefix}adapter")) if adapter else None
    return read_evaluated(name, kind, iteration, folders, tuned, settings.evaluate)


if __name__ == "__main__":
    main(run)
