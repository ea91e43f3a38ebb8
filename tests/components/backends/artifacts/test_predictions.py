"""Predictions from a directory of ours, from a file of theirs."""

import json
from pathlib import Path

import pytest

from pada_agent.components.backends.artifacts.predictions import read_predictions
from pada_agent.components.backends.record_files import write_records
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Prediction, Score
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.task import Task

ROW = {"question": "Ada has 3 apples and eats 1. How many are left?", "answer": "#### 2", "output": "4", "correct": False}


@pytest.fixture
def task() -> Task:
    return load_task("gsm8k", {})


def ours(identity: str, split: str) -> Prediction:
    score = Score(correct=True, valid=True)
    return Prediction(id=identity, split=split, prompt="p", output="o", reference="r", score=score)


def test_a_directory_of_evaluate_slm(tmp_path: Path, task: Task) -> None:
    rows = [ours("a", "train"), ours("b", "validation")]
    write_records(tmp_path / "train.jsonl", rows[:1])
    write_records(tmp_path / "validation.jsonl", rows[1:])
    (tmp_path / "metrics.json").write_text("{}")
    assert read_predictions(tmp_path, task) == rows


def test_files_of_others(tmp_path: Path, task: Task) -> None:
    for name, split in (("samples_gsm8k_2025.jsonl", "validation"), ("predictions", "validation"), ("train_log.jsonl", "train")):
        (tmp_path / name).write_text(json.dumps(ROW) + "\n")
        (prediction,) = read_predictions(tmp_path / name, task)
        assert (prediction.split, prediction.output) == (split, "4")
    (tmp_path / "validation.jsonl").write_text(json.dumps(ROW) + "\n")
    assert [p.split for p in read_predictions(tmp_path, task)] == ["validation"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (json.dumps(ROW) + '\n{"question', r"log\.jsonl:2: not JSON"),
        (json.dumps({**ROW, "correct": "maybe"}), r"log\.jsonl:1: no verdict"),
        ('{"id": "a", "split": "validation", "score": {}}', r"log\.jsonl:1: 'prompt' is missing"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, task: Task, content: str, complaint: str) -> None:
    (tmp_path / "log.jsonl").write_text(content)
    with pytest.raises(InputError, match=complaint):
        read_predictions(tmp_path / "log.jsonl", task)


def test_nothing_to_read(tmp_path: Path, task: Task) -> None:
    with pytest.raises(InputError, match="no predictions"):
        read_predictions(tmp_path, task)
    (tmp_path / "train.jsonl").touch()
    for path in (tmp_path, tmp_path / "train.jsonl"):
        with pytest.raises(InputError, match="no predictions"):
            read_predictions(path, task)
