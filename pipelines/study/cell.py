"""One cell of a study: a run in a folder of its own, and beside its tasks the facts that the study needs of it.

    out/sql/300/seed-0/pada/           a run directory (pipelines/README.md)
    out/sql/300/seed-0/pada/cell.json  its facts, written last: the cell is finished
    out/sql/300/seed-0/pada.log        what it said
    out/shared/                        tasks that runs have in common: one vanilla adapter serves all methods of a seed

A finished cell whose settings and data files are the same is not run again, nor looked into.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from pada_agent.components.backends.record_files import read_record, write_json
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Record
from pada_agent.components.core.settings import Settings
from pada_agent.pipelines.local import run as local
from pada_agent.pipelines.local.run import Parts
from pada_agent.pipelines.study.gather import gather
from pada_agent.pipelines.study.outcomes import VANILLA, CellFacts, TaskFacts, cell_name

CELL_FILE = "cell.json"
SHARED = "shared"
GRACE = 60.0  # seconds in which the process of a study that was killed comes to its end


class CellFile(Record):
    """What cell.json holds."""

    key: str
    cell: CellFacts
    task: TaskFacts


@dataclass(frozen=True)
class Cell:
    """A run to be made. `out` is the study's folder."""

    task: str
    regime: int
    seed: int
    method: str
    settings: Settings
    out: Path

    @property
    def name(self) -> str:
        """Its folder below the study's."""
        return cell_name(self.task, self.regime, self.seed, self.method)

    @property
    def folder(self) -> Path:
        """Its run directory."""
        return self.out / self.name

    @property
    def needs(self) -> str:
        """The cell that must be there before; '' for none."""
        return "" if self.method == VANILLA else cell_name(self.task, self.regime, self.seed, VANILLA)

    def key(self) -> str:
        """Hash of all that decides what comes out."""
        return local.run_key(self.settings)

    def finished(self) -> CellFile | None:
        """What it left, if it is finished."""
        with suppress(InputError):
            found = read_record(self.folder / CELL_FILE, CellFile)
            return found if found.key == self.key() else None
        return None


Start = Callable[[Cell], None]


def run_cell(cell: Cell, parts: Parts | None = None) -> None:
    """Run the cell, or go on with it, to its end. Raises PadaError with what to do."""
    with suppress(Timeout), FileLock(cell.folder / ".lock", timeout=GRACE):
        pass
    until = "evaluate" if cell.method == VANILLA else ""
    outcome = local.run(cell.settings, cell.folder, until, replace(parts or Parts(), shared=cell.out / SHARED))
    facts, task = gather(cell.task, cell.regime, cell.method, cell.settings, outcome)
    write_json(cell.folder / CELL_FILE, CellFile(key=cell.key(), cell=facts, task=task))
