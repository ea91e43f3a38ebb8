"""What is there of a study at a URI, and what is not.

gs://bucket/studies/a/sql/300/seed-0/pada/cell.json      finished
gs://bucket/studies/a/sql/300/seed-0/pada/failed.json    {"line": "teacher: HTTP 401 ..."} of its last try, if that failed
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from pada_agent.components.backends.store.objects import read, remove, write
from pada_agent.components.core.errors import InputError
from pada_agent.pipelines.study.cell import Cell
from pada_agent.pipelines.study.outcomes import VANILLA, Failure, StudyFacts
from pada_agent.pipelines.study.packed import unpack
from pada_agent.pipelines.study.run import Book, cells

FAILED_FILE = "failed.json"
NOT_RUN = "not run yet"


def open_book(values: Any, uri: str) -> Book:
    """The study whose cells are below `uri`, with those that are finished. Raises InputError."""
    if not uri:
        raise InputError("work_uri: missing; give the folder in a store where the study's cells are kept")
    study = unpack(values)
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


def unfinished(book: Book, step: str) -> Iterator[Cell]:
    """The cells that can be run: with the step `vanilla` what all methods begin with, else methods' own."""
    for cell in book.plan:
        ready = not cell.needs or cell.needs in book.found
        if (cell.method == VANILLA) == (step == VANILLA) and ready and cell.name not in book.found:
            yield cell


def note_failure(cell: Cell, line: str) -> None:
    """Say why a try failed."""
    write(f"{cell.place}/{FAILED_FILE}", json.dumps({"line": line}).encode())


def forget_failure(cell: Cell) -> None:
    """The cell is finished."""
    with suppress(InputError):  # without the right to delete it stays, and nobody reads it
        remove(f"{cell.place}/{FAILED_FILE}")


def _why(book: Book, cell: Cell) -> str:
    if cell.needs and cell.needs not in book.found:
        return f"it needs {cell.needs}, which is missing"
    try:
        return str(json.loads(read(f"{cell.place}/{FAILED_FILE}") or b"")["line"])
    except (ValueError, KeyError, TypeError):
        return NOT_RUN
