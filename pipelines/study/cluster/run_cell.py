"""Entry point: one cell of a study, from rows to facts, in one container; killed and started again it goes on.

A cell that fails ends its task well, and says why in the store: in Kubeflow one task that failed keeps all others of a loop from
being started. The check at the study's end fails instead. A container that is killed says nothing, so this is written before;
after some times the cell counts as failed too, for the study to have its tables.
"""

import traceback

from pada_agent.components.backends.executor import Executor, main
from pada_agent.components.backends.progress import notice
from pada_agent.components.backends.record_files import read_json, write_json
from pada_agent.components.backends.store.objects import read
from pada_agent.components.backends.telling import sentence
from pada_agent.components.core.errors import InputError, PadaError
from pada_agent.pipelines.local.run import Parts
from pada_agent.pipelines.study.cell import Cell, run_cell
from pada_agent.pipelines.study.cluster.book import KILLED, PLANNED, forget_try, last_try, note_try, work_uri
from pada_agent.pipelines.study.packed import unpack
from pada_agent.pipelines.study.run import cells

MOST_KILLED = 3  # times in a row


def run(ex: Executor, parts: Parts | None = None) -> None:
    """Run the cell unless it is finished."""
    name, uri, study = ex.parameter("cell"), work_uri(ex), unpack(read_json(ex.input("plan")))
    if read(f"{uri}/{PLANNED}") is None:
        raise InputError(f"work_uri: {uri} is not where the plan saw it; give a folder in a store, or on a volume of all tasks")
    cell = next((cell for cell in cells(study, uri) if cell.name == name), None)
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
    before = last_try(cell)
    if before.killed >= MOST_KILLED:
        return _failed(cell, f"its container was killed {before.killed} times in a row, perhaps for want of memory")
    note_try(cell, KILLED, before.killed + 1)
    try:
        run_cell(cell, parts)
    except Exception as e:
        if not isinstance(e, PadaError):
            traceback.print_exc()
        return _failed(cell, sentence(e))
    except SystemExit:
        note_try(cell, before.line, before.killed)  # asked to end, as by a node that is given up
        raise
    forget_try(cell)
    return ""


def _failed(cell: Cell, line: str) -> str:
    note_try(cell, line)
    notice(f"{cell.name}: failed: {line}")
    return line


if __name__ == "__main__":
    main(run, task_name)
