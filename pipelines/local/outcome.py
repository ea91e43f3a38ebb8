"""What came out of a run: the report, its facts as JSON, and the table."""

from pathlib import Path

from rich.console import Console

from pada_agent.components.backends.artifacts.evaluated import read_shown_rows
from pada_agent.components.backends.files import below, write_atomic
from pada_agent.components.backends.record_files import write_json
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.report.gather import gather
from pada_agent.components.core.report.page import render
from pada_agent.components.core.state import LATEST_STATE, State
from pada_agent.pipelines import results

TO_READ = {"analyze": "plan/strategies.yaml", "merge": "synthetic_data/synthetic.jsonl"}


def publish(state: Path, run_dir: Path) -> None:
    """Write report.html and report.json of a state (its artifact's folder) to the top of the run directory."""
    loaded = State.load(state)
    facts = gather(loaded)
    write_atomic(run_dir / "report.html", render(loaded, read_shown_rows(state), facts))
    write_json(run_dir / "report.json", facts)


def last_state(run_dir: Path) -> Path:
    """The run's latest state artifact. Raises InputError when there is none yet."""
    try:
        name = (run_dir / LATEST_STATE).read_text().strip()
    except OSError as e:
        raise InputError(f"{run_dir}: there is no state here yet; give the directory of a run that has trained a model") from e
    return below(run_dir, name, str(run_dir / LATEST_STATE))


def show_stop(task: str, folder: Path, console: Console) -> None:
    """Say where the run stopped and, where there is something to read and edit, where that is."""
    file = TO_READ.get(task.partition("-")[0])
    if file:
        console.print(f"Stopped after {task}. Read, and edit if you like: {folder / file}", markup=False, soft_wrap=True)
    else:
        console.print(f"Stopped after {task}.", markup=False)
    console.print("The same command without --until continues.", markup=False)


def show(state: Path, run_dir: Path, console: Console) -> None:
    """Print the table, the verdict and where the report is. Raises PadaError if there is no new data."""
    results.show(State.load(state), run_dir / "report.html", console)
