"""Entry point: state and what is new in, state, accepted rows and report out."""

from pathlib import Path
from typing import Any

from pada_agent.components.backends.artifacts.evaluated import read_evaluated, read_shown_rows
from pada_agent.components.backends.artifacts.exported import facts_of, put_beside, run_state
from pada_agent.components.backends.artifacts.kept import keep
from pada_agent.components.backends.artifacts.learnt import read_learnt
from pada_agent.components.backends.artifacts.origins import taken_over
from pada_agent.components.backends.executor import Executor, main
from pada_agent.components.backends.files import write_atomic
from pada_agent.components.backends.progress import notice
from pada_agent.components.backends.record_files import read_records, record_lines, write_json, write_records
from pada_agent.components.backends.store.export import publish, shipped
from pada_agent.components.backends.store.transfer import fetch
from pada_agent.components.backends.temporary import OwnFolder
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.evidence import Evaluated
from pada_agent.components.core.places import place_of
from pada_agent.components.core.records import TrainRow
from pada_agent.components.core.report.page import render
from pada_agent.components.core.report.shown_rows import ROWS_FILE, ShownRow
from pada_agent.components.core.settings import UpdateState
from pada_agent.components.core.state import STATE_FILE, Earlier, Kind, RunFacts, State
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.stages import LAST_STEP
from pada_agent.components.update_state import steps
from pada_agent.components.update_state.earlier import look_up, prints

ROWS = "synthetic.jsonl"


def run(ex: Executor) -> None:
    """Read, update, write."""
    settings, step, number = ex.settings(UpdateState), str(ex.parameter("step")), int(ex.parameter("iteration", 0))
    steps.check_step(step, ex.given())
    data = ex.input("train_data", "train.jsonl")
    task = load_task(settings.task.name, settings.task.options, data / "assets")
    before = ex.optional_input("previous_state", STATE_FILE)
    state = State.load(before) if before else State(run=RunFacts.of(settings, task.metric))
    state = state.model_copy(update={"run": state.run.model_copy(update={"step_matched": settings.step_matched})})
    earlier_runs = state.taken_over | taken_over(ex, state, step, number)
    train = read_records(data / "train.jsonl", TrainRow)
    shown = read_shown_rows(before) if before else []
    if step == "merge":
        learnt = read_learnt(
            ex.input("analyses", "analyses.jsonl"),
            ex.input("checked_batches", "batches.jsonl"),
        )
        state, shown = steps.merge((state, shown), settings, task, train, number, learnt)
    else:
        model = _read(ex, settings, *steps.recorded_model(step, number), number if step == "score" else 0)
        if step == "start":
            untuned = ex.optional_input("baseline_report_predictions", "metrics.json")
            baseline = read_evaluated("untuned", "untuned", 0, [untuned], None, settings.evaluate) if untuned else None
            state, shown = steps.begin(state, settings, task, train, model, baseline)
            state = _look_back(state, settings.earlier, model)
        else:
            state, shown = steps.record((state, shown), settings, step, model)
    state = state.model_copy(update={"taken_over": earlier_runs})
    write_records(ex.output("state", STATE_FILE) / ROWS_FILE, shown)
    write_json(ex.output("state") / STATE_FILE, state)
    page, rows = render(state, shown, lead=steps.snapshot(state, step, number)), record_lines(state.synthetic_rows)
    if ex.has_output("synthetic_data"):
        write_atomic(ex.output("synthetic_data", ROWS) / ROWS, rows)
        ex.set_metadata("synthetic_data", rows=len(state.synthetic_rows))
    write_atomic(ex.output("report_so_far"), page)
    if uri := str(ex.parameter("export_uri", "")):
        facts = facts_of(state, data) if state.incumbent else {}
        _export_adapter(ex, uri, state, facts, last=step == LAST_STEP)
        put_beside(uri, ex.output("state") / STATE_FILE, page, rows)
    ex.say_numbers(steps.numbers(state, len(state.synthetic_rows)))
    ex.set_parameter("go_on", state.decision.go_on)
    ex.set_parameter("step_matched", state.step_matched_due)
    ended = {"ended": state.decision.reason} if state.decision.reason else {}
    ex.set_metadata("state", shipped=state.incumbent, iterations=len(state.iterations), **ended)
    ex.finish()
    if ex.events_uri:
        _keep(ex, state, shown, page)


def _keep(ex: Executor, state: State, shown: list[ShownRow], page: str) -> None:
    """After the outputs: a state that is kept is that of a step which came to its end."""
    here = place_of(ex.output_uri("state"))
    try:
        if here is None:
            raise InputError(f"{ex.output_uri('state')}: no run can be told from this URI")
        keep(ex.events_uri, here.run, state, shown, page)
    except InputError as e:
        notice(f"state and report of this step are not kept below work_uri, which changes nothing else: {e}")


def _look_back(state: State, uri: str, model: Evaluated) -> State:
    """With what is to be known of this run's validation rows, and of an earlier run's patterns if the settings name one.

    That one may be away, or nothing lie there yet: no reason to end a run, but one to be told in its report.
    """
    state = state.model_copy(update={"row_prints": prints(model.open_predictions.get("validation", ()))})
    if not uri:
        return state
    try:
        found = look_up(run_state(uri), uri, state)
    except InputError as e:
        notice(f"earlier: {e}")
        found = Earlier(uri=uri, problem=str(e))
    return state.model_copy(update={"earlier": found})


def _export_adapter(ex: Executor, uri: str, state: State, facts: dict[str, Any], last: bool) -> None:
    """Hand over the adapter if it is what this step decided to ship.

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


def _fetched(adapter_uri: str, folder: Path, uri: str) -> Path:
    try:
        return fetch(adapter_uri, folder)
    except InputError as e:
        raise InputError(
            f"{uri}: another adapter than this run's lies there by now, and that one cannot be read ({e}); submit with --no-cache"
        ) from e


def _read(ex: Executor, settings: UpdateState, name: str, kind: Kind, iteration: int) -> Evaluated:
    adapter = ex.input("adapter", "train.json"), ex.input_uri("adapter")
    validation, held_out = ex.optional_input("predictions", "metrics.json"), ex.input("report_predictions", "metrics.json")
    folders = [validation, held_out] if validation else [held_out]
    return read_evaluated(name, kind, iteration, folders, adapter, settings.evaluate)


if __name__ == "__main__":
    main(run)
