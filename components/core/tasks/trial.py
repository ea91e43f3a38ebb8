"""Tries a task on rows: whether it reads them, and whether its scorer calls a row's own answer right and an empty one wrong.

A scorer that fails this would make every number of a run wrong unnoticed. prepare_data tries it before anything is paid or
trained, evaluate_slm on every row that it asks.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields, HeldOutRow, RawRow, TrainRow
from pada_agent.components.core.tasks.task import CodeRunner, Task

SHOWN = 5


@dataclass
class Tried:
    """What came of reading rows: their fields, why others cannot be used, with their places, and what the first was taken for."""

    fields: list[Fields] = field(default_factory=list)
    complaints: list[InputError] = field(default_factory=list)
    what: str = ""


def try_reading(task: Task, rows: Iterable[RawRow], most: int) -> Tried:
    """Reads the first rows, `most` of them."""
    tried = Tried()
    for where, raw in islice(rows, most):
        try:
            if isinstance(raw, InputError):
                raise raw
            tried.what = tried.what or task.recognised(raw)
            tried.fields.append(task.read(raw))
        except InputError as e:
            tried.complaints.append(e if e is raw else InputError(f"{where}: {e}"))
    return tried


def try_scorer(task: Task, rows: Iterable[TrainRow | HeldOutRow], run_code: CodeRunner) -> None:
    """Raises InputError that names the rows whose gold answer is not correct, or whose empty answer is."""
    wrong, right = [], []
    for row in rows:
        gold, empty = (task.score(row.fields, text, run_code) for text in (task.target(row.fields), ""))
        if not (gold.correct or gold.pending):
            wrong.append(row.id)
        if empty.correct or empty.pending:
            right.append(row.id)
    for ids, what in ((wrong, "the row's own answer as wrong"), (right, "an empty answer as correct")):
        if ids:
            more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
            shown = ", ".join(ids[:SHOWN])
            raise InputError(
                f"task {task.name} scores {what} in {len(ids)} rows: {shown}{more}; correct these rows or the scorer"
            )
