"""Entry point: which cells of a study are to be run now, by what is below work_uri; and at its end whether any is missing."""

import json

from pada_agent.components.backends.executor import Executor, main
from pada_agent.components.backends.record_files import write_json
from pada_agent.components.backends.store.objects import write
from pada_agent.components.core.errors import InputError, PadaError
from pada_agent.components.core.figures import plural
from pada_agent.pipelines.study.cluster.book import PLANNED, missing, open_book, unfinished
from pada_agent.pipelines.study.outcomes import VANILLA
from pada_agent.pipelines.study.packed import pack
from pada_agent.pipelines.study.run import Book

METHODS, CHECK = "methods", "check"
STEPS = (VANILLA, METHODS, CHECK)
SHOWN = 3  # of the cells that are missing


def run(ex: Executor) -> None:
    """Look, and say what is to do."""
    step, most = ex.parameter("step"), ex.parameter("most")
    if step not in STEPS:
        raise InputError(f"step: is {step!r}; give {', '.join(STEPS)}")
    if most < 1:
        raise InputError(f"cells_in_a_run: is {most}; give 1 or more")
    book = open_book(ex)
    study = pack(book.study)
    write(f"{book.out}/{PLANNED}", json.dumps(study).encode())
    if step == CHECK:
        _check(book)
    todo = [] if step == CHECK else unfinished(book, step)
    chosen = [cell.name for cell in todo[:most]]
    write_json(ex.output("plan"), study)
    # Nobody promises what Kubeflow makes of a loop over nothing: a finished cell ends at once.
    ex.set_parameter("cells", chosen or [book.plan[0].name])
    later = {"to run later": len(todo) - len(chosen)}
    ex.say_numbers({"finished": len(book.found), "cells": len(book.plan), "to run now": len(chosen), **later})
    ex.finish()


def _check(book: Book) -> None:
    if lacking := missing(book):
        said = "; ".join(f"{one.cell}: {one.line}" for one in lacking[:SHOWN])
        more = f"; and {plural(len(lacking) - SHOWN, 'other')}" if len(lacking) > SHOWN else ""
        raise PadaError(
            f"{len(lacking)} of {len(book.plan)} cells are missing: {said}{more}. The tables say so; start the run again with "
            "the same work_uri, and what is finished is kept"
        )


if __name__ == "__main__":
    main(run)
