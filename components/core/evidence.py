"""What a step of update_state brings to the state: an evaluated model, or what one iteration found and wrote."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.quality.judge_check import JudgeCheck
from pada_agent.components.core.quality.scorer_check import ScorerCheck
from pada_agent.components.core.records import Analysis, Batch, Pattern, Prediction, Strategy, TrainingError
from pada_agent.components.core.state import ModelRecord


@dataclass(frozen=True)
class Evaluated:
    """A model's record; by split, the group of each row that has one; predictions that may be shown (training, validation).

    `scorer_check`: what was measured beside them of the LLM that scored them.
    """

    model: ModelRecord
    groups: Mapping[str, Mapping[str, str]]
    open_predictions: Mapping[str, Sequence[Prediction]]
    scorer_check: ScorerCheck | None = None


@dataclass(frozen=True)
class Learnt:
    """What the stages of one iteration left behind, up to quality control."""

    summary: dict[str, Any] = field(default_factory=dict)
    analyses: Sequence[Analysis] = ()
    patterns: Sequence[Pattern] = ()
    strategies: Sequence[Strategy] = ()
    batches: Sequence[Batch] = ()
    errors: Sequence[TrainingError] = ()
    usage: Mapping[str, Usage] = field(default_factory=dict)
    judge_check: JudgeCheck | None = None
