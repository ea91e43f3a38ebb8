"""`pada study`: all cells of a study, each run once, and the tables. Started again it goes on where it stopped."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pada_agent.components.backends.files import write_atomic
from pada_agent.components.backends.record_files import read_record
from pada_agent.components.core.errors import InputError, PadaError
from pada_agent.pipelines.local.held_folder import held
from pada_agent.pipelines.study.cell import Cell, CellFile, run_cell
from pada_agent.pipelines.study.compare import compare
from pada_agent.pipelines.study.outcomes import VANILLA, Failure, StudyFacts, TaskFacts, joined, together
from pada_agent.pipelines.study.report.page import render
from pada_agent.pipelines.study.side_by_side import Item, Start, run_side_by_side
from pada_agent.pipelines.study.study_file import Study
from pada_agent.pipelines.study.tables import markdown

FACTS_FILE, TABLES_FILE, PAGE_FILE = "study.json", "study.md", "study.html"
IN_USE = "another study is running here; wait for it, stop it or give another --out"


def parse_seeds(text: str) -> list[int]:
    """Seeds from `0,1,2`. Raises InputError."""
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError as e:
        raise InputError(f"--seeds {text}: give whole numbers separated by commas, e.g. 0,1,2") from e
    if len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise InputError(f"--seeds {text}: every seed must occur once and not be negative")
    return seeds


def conduct(study: Study, out: Path, start: Start = run_cell, say: Callable[[str], None] = print) -> str:
    """Run what is not finished under `out`, write study.json, study.md and study.html there, and say and return study.md.

    Raises PadaError once all is written, if a cell failed; the next start tries it again.
    """
    book = Book(study, out, list(cells(study, out)))
    with held(out, IN_USE, "--out"):
        todo = [cell for cell in book.plan if not book.enter(cell)]
        book.write()
        say(f"{len(book.plan) - len(todo)} of {len(book.plan)} cells are finished")
        items = [Item(cell.name, cell.folder, cell, cell.needs) for cell in todo]
        failed = run_side_by_side(items, study.jobs, start, say, lambda item: book.enter_and_write(item.work))
        facts = book.write([Failure(cell=name, line=line) for name, line in failed.items()])
        text = write_tables(facts, out)
    say(text)
    if failed:
        raise PadaError(f"{len(failed)} of {len(book.plan)} cells failed; the same command tries them again")
    return text


def cells(study: Study, out: Path | str) -> Iterator[Cell]:
    """Seed by seed, so that whole comparisons are there early; of each seed first what all methods begin with."""
    for seed in study.seeds:
        places = [(task, regime) for task, regimes in study.regimes.items() for regime in regimes]
        for task, regime in places:
            yield Cell(task, regime, seed, VANILLA, study.settings(task, regime, VANILLA, seed), out)
        for task, regime in places:
            for method in study.methods:
                yield Cell(task, regime, seed, method, study.settings(task, regime, method, seed), out)


def tables_of(files: Sequence[Path], out: Path | None = None) -> str:
    """Make study.md and study.html of a study.json again, in `out` or beside it; returns the former.

    Of several, which ran other seeds of one study, `out` gets the study.json of all. Raises InputError.
    """
    if out is None:
        if len(files) > 1:
            raise InputError("--tables of several files needs --out, a folder for the study.json of all and its tables")
        return write_tables(read_record(files[0], StudyFacts), files[0].parent)
    facts = together({str(file): read_record(file, StudyFacts) for file in files})
    with held(out, IN_USE, "--out"):
        write_facts(facts, out)
        return write_tables(facts, out)


def write_tables(facts: StudyFacts, out: Path) -> str:
    """Write study.md and study.html into `out`, and return the former."""
    results = compare(facts)
    text = markdown(results)
    write_atomic(out / TABLES_FILE, text)
    write_atomic(out / PAGE_FILE, render(results))
    return text


def write_facts(facts: StudyFacts, out: Path) -> None:
    """Write study.json into `out`."""
    compact = {"version": facts.version, **facts.model_dump(mode="json", exclude_defaults=True)}
    write_atomic(out / FACTS_FILE, json.dumps(compact, ensure_ascii=False) + "\n")


@dataclass
class Book:
    """The study's facts as cells come in. `out` is its folder, or a URI."""

    study: Study
    out: Path | str
    plan: list[Cell]
    tasks: dict[str, TaskFacts] = field(default_factory=dict)
    found: dict[str, CellFile] = field(default_factory=dict)

    def enter(self, cell: Cell) -> bool:
        """Take a cell in if it is finished; whether it is. Raises InputError when it was evaluated on other rows."""
        file = cell.finished()
        if file is None:
            return False
        self.tasks[cell.task] = joined(self.tasks.get(cell.task), file.task, cell.name)
        self.found[cell.name] = file
        return True

    def enter_and_write(self, cell: Cell) -> None:
        """Take a cell in that was just run. Raises InputError when that is not what was to be run."""
        if not self.enter(cell):
            raise InputError(f"{cell.name}: the data changed while it ran; start again")
        self.write()

    def write(self, failed: list[Failure] | None = None) -> StudyFacts:
        """Write study.json with all that is there."""
        facts = self.facts(failed)
        write_facts(facts, Path(self.out))
        return facts

    def facts(self, failed: list[Failure] | None = None) -> StudyFacts:
        """All that is there, in the study's order."""
        return StudyFacts(
            methods=list(self.study.methods),
            seeds=list(self.study.seeds),
            regimes={task: list(regimes) for task, regimes in self.study.regimes.items()},
            tasks={task: self.tasks[task] for task in self.study.tasks if task in self.tasks},
            cells=[self.found[cell.name].cell for cell in self.plan if cell.name in self.found],
            failed=failed or [],
        )
