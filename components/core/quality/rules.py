"""The rules of quality control that hold whatever the task: who may judge, what a score is, what is sent back."""

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import LlmSettings

REASONS_SHOWN = 4


def check_judge(teacher: LlmSettings, judge: LlmSettings, allowed: str) -> None:
    """Refuse a judge that is the teacher: models favour their own text. `allowed` names the model to let it pass."""
    if teacher.model == judge.model and allowed != judge.model:
        raise InputError(
            f"judge.model: '{judge.model}' is the teacher too, and would judge its own text; use another model, or name this "
            f"one in control.allow_judge if there is no other"
        )


def mean_score(scores: dict[str, float]) -> float:
    """Mean over the dimensions that apply (adherence only in the pattern branch). No scores is an error, never a zero."""
    if not scores:
        raise ValueError("no scores to average")
    return sum(scores.values()) / len(scores)


def feedback_text(reasons: list[str], judge: str) -> str:
    """What the next attempt is told: the distinct reasons of the rules first, then the judge's words."""
    distinct = list(dict.fromkeys(reasons))[:REASONS_SHOWN]
    return " ".join(f"{part.rstrip('.')}." for part in [*distinct, judge] if part)
