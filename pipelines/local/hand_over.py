"""Exports what a run of one machine ships, as a pipeline with `--export-uri` does."""

from pathlib import Path

from pada_agent.components.backends.artifacts.evaluated import read_shown_rows
from pada_agent.components.backends.artifacts.exported import TRAINING, Exported, facts_of, of_all_weights, put_beside
from pada_agent.components.backends.record_files import read_json, record_lines
from pada_agent.components.backends.store.export import publish
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.report.page import render
from pada_agent.components.core.slm_interface import ADAPTER_FILE
from pada_agent.components.core.state import STATE_FILE, State
from pada_agent.pipelines.local.outcome import last_state
from pada_agent.pipelines.local.remote_run import open_run

PREPARED = "*-prepare/train_data"


def shipped_by(run_dir: str, run: Path) -> tuple[Exported, Path]:
    """What the run whose directory is `run` ships, as it would lie at an export place, and the folder of its adapter.

    Raises InputError for a run that has trained no model yet, or one that goes on or lacks a folder of its own; `run_dir` is what
    it is called.
    """
    folder = last_state(run)
    state = State.load(folder)
    if not state.incumbent:
        raise InputError(f"{run_dir}: no model to ship yet; let the run go on")
    adapter = adapter_of(run, state, state.incumbent)
    facts = facts_of(state, prepared(run) / "train_data")
    training = read_json(adapter / TRAINING)
    config = {} if of_all_weights(training) else read_json(adapter / ADAPTER_FILE)
    return Exported(run_dir, state.incumbent, adapter.name, facts, state, config, training), adapter


def hand_over(run_dir: str, uri: str) -> None:
    """Publish the adapter that the run in `run_dir` ships at `uri`, with state, report and synthetic rows beside it.

    Raises InputError for a run that has trained no model yet, or one that goes on or lacks a folder of its own.
    """
    with open_run(run_dir).brought() as run:
        exported, adapter = shipped_by(run_dir, run)
        folder, state = last_state(run), exported.state
        publish(adapter, uri, state.incumbent, exported.facts)
        put_beside(uri, folder / STATE_FILE, render(state, read_shown_rows(folder)), record_lines(state.synthetic_rows))


def adapter_of(run: Path, state: State, name: str) -> Path:
    """A model's adapter where the run directory is now: it may have been moved, or be the copy of one at a URI."""
    adapter = Path(state.model(name).adapter_uri)
    here = run / adapter.parent.name / adapter.name
    if not here.is_dir():
        raise InputError(f"{here}: the adapter to ship is not there; `pada run` makes it again")
    return here


def prepared(run: Path) -> Path:
    """The folder of the task that prepared the data."""
    found = sorted(path.parent for path in run.glob(PREPARED))
    if not found:
        raise InputError(f"{run}: there is no {PREPARED}; `pada run` makes it again")
    return found[0]
