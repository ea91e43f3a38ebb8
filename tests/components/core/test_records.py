"""What the types of the records promise."""

import pytest
from pydantic import ValidationError

from pada_agent.components.core.records import Prediction, Score, TrainingError


def prediction(split: str) -> Prediction:
    return Prediction.model_validate(
        {"id": "r", "split": split, "prompt": "p", "output": "o", "reference": "x", "score": Score(correct=False, valid=True)}
    )


@pytest.mark.parametrize("split", ["validation", "selection", "test"])
def test_no_held_out_prediction_becomes_a_training_error(split):
    with pytest.raises(ValidationError, match="split"):
        TrainingError.of(prediction(split))


def test_a_training_prediction_does():
    assert TrainingError.of(prediction("train")).model_dump() == prediction("train").model_dump()
