"""Entry point: one cell of a study, from rows to facts, in one container; killed and started again it goes on.

A cell that fails ends its task well, and says why in the store: in Kubeflow one task that failed keeps all others of a loop from
being started. The check at the study's end fails instead.
"""

import traceback

from pada_agent.components.backends.executor import Executor, main
from pada_agent.components.backends.progress import notice
from pada_agent.components.backends.record_files import read_json, write_json
from pada_agent.components.backends.telling import sentence
from pada_agent.components.core.errors import InputError, PadaError
from pada_agent.pipelines.local.run import Parts
from pada_agent.pipelines.study.cell import Cell, run_cell
from pada_agent.pipelines.study.cluster.book import forget_failure, note_failure
from pada_agent.pipelines.study.packed import unpack
from pada_agent.pipelines.study.run import cells


def run(ex: Executor, parts: Parts | None = None) -> None:
    """Run the cell unless it is finished."""
    name, study = ex.parameter("cell"), unpack(read_json(ex.input("plan")))
    cell = next((cell for cell in cells(study, str(ex.parameter("work_uri"))) if cell.name == name), None)
    if cell is None:
        raise InputError(f"cell: there is none called {name!r} in this study")
    line = "" if cell.finished() else _tried(cell, parts)
    found = None if line else cell.finished()
    write_json(ex.output("facts"), found or {"line": line})
    about = {"ended": "failed", "why": line} if line else {"ended": "well"}
    ex.set_metadata("facts", cell=name, **about)
    ex.say_numbers({"cell": name, **about})
    ex.finish()


def task_name(ex: Executor) -> str:
    """What the run tells of is each cell, though all of them are the same task to Kubeflow."""
    return str(ex.parameter("cell")).replace("/", "-")


def _tried(cell: Cell, parts: Parts | None) -> str:
    """Run it; why it failed, '' if it did not."""
    try:
        run_cell(cell, parts)
    except Exception as e:
        if not isinstance(e, PadaError):
            traceback.print_exc()
        line = sentence(e)
        note_failure(cell, line)
        notice(f"{cell.name}: failed: {line}")
        return line
    forget_failure(cell)
    return ""


if __name__ == "__main__":
    main(run, task_name)
