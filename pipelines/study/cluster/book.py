"""What is there of a study at a URI, and what is not.

gs://bucket/studies/a/plan.json                          what was planned last
gs://bucket/studies/a/sql/300/seed-0/pada/cell.json      finished
gs://bucket/studies/a/sql/300/seed-0/pada/try.json       {"line": "teacher: HTTP 401 ...", "killed": 0} of its last try
"""

from contextlib import suppress

from pydantic import Field, ValidationError

from pada_agent.components.backends.executor import Executor
from pada_agent.components.backends.store.objects import read, remove, write
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Record
from pada_agent.pipelines.study.cell import Cell
from pada_agent.pipelines.study.outcomes import VANILLA, Failure, StudyFacts
from pada_agent.pipelines.study.packed import unpack
from pada_agent.pipelines.study.run import Book, cells

TRY_FILE = "try.json"
PLANNED = "plan.json"
KILLED = "its container was killed at work, perhaps for want of memory; or it is still at work"


class Try(Record):
    """How the last try of a cell that is not finished went."""

    line: str = "not run yet"
    killed: int = Field(default=0, ge=0, description="how many tries in a row ended without a word, this one too while it lasts")


def work_uri(ex: Executor) -> str:
    """Where the study's cells are. Raises InputError."""
    if not (uri := str(ex.parameter("work_uri", "")).rstrip("/")):
        raise InputError("work_uri: missing; give the folder in a store where the study's cells are kept")
    return uri


def open_book(ex: Executor) -> Book:
    """The study that a task is given, with the cells that are finished below its `work_uri`. Raises InputError."""
    uri, study = work_uri(ex), unpack(ex.parameter("study"))
    book = Book(study, uri, list(cells(study, uri)))
    for cell in book.plan:
        book.enter(cell)
    return book


def missing(book: Book) -> list[Failure]:
    """The cells that are not finished, each with why."""
    return [Failure(cell=cell.name, line=_why(book, cell)) for cell in book.plan if cell.name not in book.found]


def facts_of(book: Book) -> StudyFacts:
    """All that is there, and what is missing."""
    return book.facts(missing(book))


def unfinished(book: Book, step: str) -> list[Cell]:
    """The cells that can be run: with the step `vanilla` what all methods begin with, else methods' own.

    Those that were killed come last: in Kubeflow one that is killed again keeps all that come after it from being started.
    """
    todo = [
        cell
        for cell in book.plan
        if (cell.method == VANILLA) == (step == VANILLA)
        and cell.name not in book.found
        and (not cell.needs or cell.needs in book.found)
    ]
    return sorted(todo, key=lambda cell: last_try(cell).killed)


def last_try(cell: Cell) -> Try:
    """How it went."""
    with suppress(ValidationError):
        return Try.model_validate_json(read(f"{cell.place}/{TRY_FILE}") or b"")
    return Try()


def note_try(cell: Cell, line: str, killed: int = 0) -> None:
    """Say how it went."""
    write(f"{cell.place}/{TRY_FILE}", Try(line=line, killed=killed).model_dump_json().encode())


def forget_try(cell: Cell) -> None:
    """The cell is finished."""
    with suppress(InputError):  # without the right to delete it stays, and nobody reads it
        remove(f"{cell.place}/{TRY_FILE}")


def _why(book: Book, cell: Cell) -> str:
    if cell.needs and cell.needs not in book.found:
        return f"it needs {cell.needs}, which is missing"
    return last_try(cell).line
