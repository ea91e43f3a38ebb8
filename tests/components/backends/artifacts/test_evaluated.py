"""One model's record from the files that its evaluation left."""

import pytest

from pada_agent.components.backends.artifacts.evaluated import read_evaluated
from pada_agent.components.backends.record_files import write_records
from pada_agent.components.core.records import Prediction, Score
from pada_agent.components.core.settings import EvaluateSettings
from pada_agent.components.core.state import ModelRecord


def recorded(folder, grades):
    texts = {"prompt": "", "output": "", "reference": ""}
    for split in ("train", "validation", "test"):
        scores = [Score(correct=i > 0, valid=True, grade=grade) for i, grade in enumerate(grades)]
        rows = [Prediction(id=f"{split}-{i}", split=split, score=score, **texts) for i, score in enumerate(scores)]
        write_records(folder / f"{split}.jsonl", rows)
    return read_evaluated("vanilla", "start", 0, [folder], None, EvaluateSettings()).model


def test_grades_are_kept_beside_right_and_wrong(tmp_path):
    model = recorded(tmp_path, [0.25, 0.75])
    assert model.outcomes["test"] == {"test-0": False, "test-1": True}
    assert model.scores("test") == model.grades["test"] == {"test-0": 0.25, "test-1": 0.75}
    assert model.grades.keys() == {"validation", "test"}
    assert model.metrics["train"].main.mean == 0.5
    assert ModelRecord.model_validate_json(model.model_dump_json()) == model


@pytest.mark.parametrize("grades", [[None, None], [0.5, None]])
def test_without_all_grades_there_are_none(tmp_path, grades):
    model = recorded(tmp_path, grades)
    assert model.grades == {} and model.metrics["test"].grade is None
    assert model.scores("test") == {"test-0": False, "test-1": True}
