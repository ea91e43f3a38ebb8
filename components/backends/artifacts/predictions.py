"""Reads predictions: of evaluate_slm, or of another evaluator."""

from pathlib import Path

from pada_agent.components.backends.artifacts.row_sources import read_json_lines
from pada_agent.components.backends.record_files import read_records
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.foreign_predictions import ANALYSED_SPLITS, Split, read_foreign
from pada_agent.components.core.records import Prediction
from pada_agent.components.core.tasks.task import Task


def read_predictions(path: Path, task: Task) -> list[Prediction]:
    """Training and validation predictions from a directory with `train.jsonl` and `validation.jsonl`, or from one JSONL file.

    A single file is taken as validation, unless its name begins with train. Raises InputError with file and line.
    """
    answers: list[Prediction] = []
    if path.is_file():
        answers = _read(path, task, "train" if path.name.startswith("train") else "validation")
    for split in ANALYSED_SPLITS:
        if (path / f"{split}.jsonl").exists():
            answers += _read(path / f"{split}.jsonl", task, split)
    if not answers:
        raise InputError(f"{path}: no predictions; train.jsonl or validation.jsonl must be there, or name one JSONL file")
    return answers


def _read(path: Path, task: Task, split: Split) -> list[Prediction]:
    first = next(read_json_lines(path), None)
    if first and {"id", "split", "score"} <= first[1].keys():
        return read_records(path, Prediction)
    return read_foreign(task, read_json_lines(path), split)
