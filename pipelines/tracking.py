"""`pada track`: a run into MLflow, from its directory, its export place or its state."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pada_agent.components.backends.artifacts.exported import REPORT, run_state
from pada_agent.components.backends.artifacts.tracked import Tracked, log_run
from pada_agent.components.backends.files import write_atomic
from pada_agent.components.backends.record_files import read_json, write_json
from pada_agent.components.backends.store.objects import read
from pada_agent.components.backends.temporary import OwnFolder
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.report.gather import gather
from pada_agent.components.core.state import STATE_FILE, State


def track_in_mlflow(address: str, uri: str, experiment: str) -> str:
    """Write the run into MLflow at `uri`; words for where it is. Raises InputError for no run, or what MLflow refuses."""
    if not uri.strip():
        raise InputError("--mlflow: give a tracking URI, such as http://127.0.0.1:5000 or sqlite:///mlflow.db")
    state = run_state(address)
    name = address.rstrip("/") if "://" in address else str(Path(address).resolve())
    with OwnFolder("pada-track-") as folder:
        write_json(folder / STATE_FILE, state)
        files = [folder / STATE_FILE]
        if report := read(f"{name}/{REPORT}"):
            write_atomic(folder / REPORT, report)
            files.append(folder / REPORT)
        run = Tracked(name, state, gather(state), _settings(name), _losses(name, state), [(file, "") for file in files])
        return log_run(run, uri, experiment)


def _settings(address: str) -> Mapping[str, Any]:
    """The settings of a run directory; nothing of the other kinds of address."""
    file = Path(address) / "settings.json"
    return read_json(file) if "://" not in address and file.exists() else {}


def _losses(address: str, state: State) -> dict[str, Sequence[float]]:
    """By model, of the adapters that a run directory holds."""
    found: dict[str, Sequence[float]] = {}
    for model in state.models:
        adapter = Path(model.adapter_uri)
        file = Path(address) / adapter.parent.name / adapter.name / "train.json"
        if model.adapter_uri and file.exists():
            found[model.name] = read_json(file)["losses"]
    return found
