"""The rules of quality control that hold whatever the task: who may judge, what a score is, what is sent back."""

from typing import Any

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import LlmSettings

DIMENSIONS = {"pattern": ("adherence", "utility", "relevance"), "error": ("utility", "relevance")}
REASONS_SHOWN = 4


def check_judge(teacher: LlmSettings, judge: LlmSettings, allowed: str) -> None:
    """Refuse a judge that is the teacher: models favour their own text. `allowed` names the model to let it pass."""
    if teacher.model == judge.model and allowed != judge.model:
        raise InputError(
            f"judge.model: '{judge.model}' is the teacher too, and would judge its own text; take another model, or name it in "
            f"control.allow_judge if there is none"
        )


def parse_scores(value: Any, dimensions: tuple[str, ...]) -> tuple[dict[str, float], str]:
    """The judge's scores (1 to 10) and its feedback. Raises ValueError for what is missing or out of range."""
    if not isinstance(value, dict):
        raise ValueError("the reply must be a JSON object")
    scores = {}
    for name in dimensions:
        try:
            scores[name] = float(value[name])
        except (KeyError, TypeError, ValueError) as e:
            raise ValueError(f'"{name}" must be a number from 1 to 10') from e
        if not 1 <= scores[name] <= 10:
            raise ValueError(f'"{name}" is {scores[name]:g}; it must be from 1 to 10')
    feedback = str(value.get("feedback") or "").strip()
    return scores, "" if feedback.lower().strip(". ") == "none" else feedback


def mean_score(scores: dict[str, float]) -> float:
    """Mean over the dimensions that apply (adherence only in the pattern branch). No scores is an error, never a zero."""
    if not scores:
        raise ValueError("no scores to average")
    return sum(scores.values()) / len(scores)


def feedback_text(reasons: list[str], judge: str) -> str:
    """What the next attempt is told: the distinct reasons of the rules first, then the judge's words."""
    distinct = list(dict.fromkeys(reasons))[:REASONS_SHOWN]
    return " ".join(f"{part.rstrip('.')}." for part in [*distinct, judge] if part)
