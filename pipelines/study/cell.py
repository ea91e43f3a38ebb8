"""One cell of a study: a run in a folder of its own, and beside its tasks the facts that the study needs of it.

    out/sql/300/seed-0/pada/           a run directory (pipelines/README.md)
    out/sql/300/seed-0/pada/cell.json  its facts, written last: the cell is finished
    out/sql/300/seed-0/pada.log        what it said
    out/shared/                        tasks that runs have in common: one vanilla adapter serves all methods of a seed

On a cluster `out` is a URI, and so is all of this but the log. A finished cell whose settings and data files are the same is
not run again, nor looked into.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from pada_agent.components.backends.store.lease import REFRESH_SECONDS, STALE_SECONDS, Held
from pada_agent.components.backends.store.objects import read, write
from pada_agent.components.core.records import Record
from pada_agent.components.core.settings import Settings
from pada_agent.pipelines.local import run as local
from pada_agent.pipelines.local.run import Outcome, Parts
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
    """A run to be made. `out` is the study's folder, or a URI."""

    task: str
    regime: int
    seed: int
    method: str
    settings: Settings
    out: Path | str

    @property
    def name(self) -> str:
        """Its folder below the study's."""
        return cell_name(self.task, self.regime, self.seed, self.method)

    @property
    def place(self) -> str:
        """Its run directory, a path or a URI."""
        return f"{self.out}/{self.name}"

    @property
    def folder(self) -> Path:
        """Its run directory on this machine."""
        return Path(self.place)

    @property
    def needs(self) -> str:
        """The cell that must be there before; '' for none."""
        return "" if self.method == VANILLA else cell_name(self.task, self.regime, self.seed, VANILLA)

    def key(self) -> str:
        """Hash of all that decides what comes out."""
        return local.run_key(self.settings)

    def finished(self) -> CellFile | None:
        """What it left, if it is finished."""
        with suppress(ValidationError):
            found = CellFile.model_validate_json(read(f"{self.place}/{CELL_FILE}") or b"")
            return found if found.key == self.key() else None
        return None


Start = Callable[[Cell], None]


def run_cell(cell: Cell, parts: Parts | None = None) -> None:
    """Run the cell, or go on with it, to its end. Raises PadaError with what to do."""
    outcome = _in_a_store(cell, parts) if "://" in cell.place else _on_this_machine(cell, parts)
    facts, task = gather(cell.task, cell.regime, cell.method, cell.settings, outcome)
    written = CellFile(key=cell.key(), cell=facts, task=task).model_dump_json(indent=1)
    write(f"{cell.place}/{CELL_FILE}", written.encode())


def _on_this_machine(cell: Cell, parts: Parts | None) -> Outcome:
    with suppress(Timeout), FileLock(cell.folder / ".lock", timeout=GRACE):
        pass
    return _run(cell, parts)


def _in_a_store(cell: Cell, parts: Parts | None) -> Outcome:
    """Whoever was killed, on another machine perhaps, is known to be dead only after a while."""
    end = time.monotonic() + STALE_SECONDS + 2 * REFRESH_SECONDS
    while True:
        try:
            return _run(cell, parts)
        except Held:
            if time.monotonic() > end:
                raise
        time.sleep(REFRESH_SECONDS / 2)


def _run(cell: Cell, parts: Parts | None) -> Outcome:
    until = "evaluate" if cell.method == VANILLA else ""
    return local.run(cell.settings, cell.place, until, replace(parts or Parts(), shared=f"{cell.out}/{SHARED}"))
