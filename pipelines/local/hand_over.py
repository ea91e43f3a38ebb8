"""Exports what a run of one machine ships, as a pipeline with `--export-uri` does."""

from pathlib import Path

from pada_agent.components.backends.artifacts.evaluated import read_shown_rows
from pada_agent.components.backends.artifacts.exported import facts_of, put_beside
from pada_agent.components.backends.record_files import record_lines
from pada_agent.components.backends.store.export import publish
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.report.page import render
from pada_agent.components.core.state import STATE_FILE, State
from pada_agent.pipelines.local.outcome import last_state
from pada_agent.pipelines.local.remote_run import open_run

PREPARED = "*-prepare/train_data"


def hand_over(run_dir: str, uri: str) -> None:
    """Publish the adapter that the run in `run_dir` ships at `uri`, with state, report and synthetic rows beside it.

    Raises InputError for a run that has trained no model yet, or one that goes on or lacks a folder of its own.
    """
    with open_run(run_dir).brought() as run:
        folder = last_state(run)
        state = State.load(folder)
        if not state.incumbent:
            raise InputError(f"{run_dir}: no model to ship yet; let the run go on")
        adapter = _inside(run, Path(state.model(state.incumbent).adapter_uri))
        publish(adapter, uri, state.incumbent, facts_of(state, _prepared(run)))
        put_beside(uri, folder / STATE_FILE, render(state, read_shown_rows(folder)), record_lines(state.synthetic_rows))


def _inside(run: Path, adapter: Path) -> Path:
    """The adapter where the run directory is now: it may have been moved, or be the copy of one at a URI."""
    here = run / adapter.parent.name / adapter.name
    if not here.is_dir():
        raise InputError(f"{here}: the adapter to ship is not there; `pada run` makes it again")
    return here


def _prepared(run: Path) -> Path:
    found = sorted(run.glob(PREPARED))
    if not found:
        raise InputError(f"{run}: there is no {PREPARED}; `pada run` makes it again")
    return found[0]
