"""Reads predictions: of evaluate_slm, or of another evaluator."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pada_agent.components.backends.artifacts.evaluator_logs import logs_in, read_log
from pada_agent.components.backends.artifacts.row_sources import read_rows
from pada_agent.components.backends.progress import notice
from pada_agent.components.backends.record_files import read_records
from pada_agent.components.backends.sandbox.run import run_code
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.foreign.answered import first_text
from pada_agent.components.core.foreign.known_rows import KnownRow, KnownRows, Split
from pada_agent.components.core.foreign.plain import ID
from pada_agent.components.core.foreign.read import ANALYSED_SPLITS, Reader
from pada_agent.components.core.records import Prediction, check_scored
from pada_agent.components.core.tasks.task import Task


def read_predictions(path: Path, task: Task, known: Iterable[KnownRow] = ()) -> list[Prediction]:
    """Training and validation predictions: a folder with `train.jsonl` and `validation.jsonl`, another evaluator's, or one file.

    A single file is taken as validation, unless its name begins with train. `known` are rows of the task, for outputs that
    come without their row's fields, and read only then. Raises InputError with file and line.
    """
    reader = Reader(task, run_code, KnownRows(task, known))
    if not path.is_dir():
        split: Split = "train" if path.name.startswith("train") else "validation"
        answers = _read([path], reader, split)
    elif own := [split for split in ANALYSED_SPLITS if (path / f"{split}.jsonl").exists()]:
        answers = [answer for split in own for answer in _read([path / f"{split}.jsonl"], reader, split)]
    else:
        answers = _read(logs_in(path), reader, "validation")
    if not answers:
        raise InputError(
            f"{path}: no predictions; give one file, a folder with train.jsonl or validation.jsonl, or what lm-eval or Inspect "
            "wrote (samples_*.jsonl, .eval)"
        )
    check_scored(answers, str(path))
    return answers


def known_rows(task: Task, split: Split, source: str) -> Iterator[KnownRow]:
    """The rows of a source as the task reads them. Raises InputError for a row that it refuses."""
    for where, raw in read_rows(source):
        try:
            fields = task.read(raw)
        except InputError as e:
            raise InputError(f"{where}: {e}") from e
        yield KnownRow(first_text(raw, ID), split, fields, task.group(raw))


def _read(files: Sequence[Path], reader: Reader, split: Split) -> list[Prediction]:
    for file in files:
        if not file.is_file():
            raise InputError(f"{file}: there is no such file or folder")
    if len(files) == 1 and _is_ours(files[0]):
        return read_records(files[0], Prediction)
    reading = reader.read((row for file in files for row in read_log(file)), split)
    total, shown = len(reading.predictions), files[0] if len(files) == 1 else f"{len(files)} files"
    if reading.scored_here:
        task = reader.task
        without = f"{reading.scored_here} of {total} answers have no verdict of right or wrong"
        notice(f"{shown}: {without}; {task.name} scored them: {task.metric}")
    if reading.unanswered:
        notice(f"{shown}: {reading.unanswered} samples broke off without an answer and are left out")
    return reading.predictions


def _is_ours(file: Path) -> bool:
    first = next(iter(read_log(file)), None)
    return first is not None and {"id", "split", "score"} <= first[1].keys()
