"""The rules of quality control that hold whatever the task: who may judge, what a score is, what is sent back."""

from collections.abc import Sequence

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import ControlSettings, LlmSettings

REASONS_SHOWN = 4
QUESTION_SHOWN = 300  # characters of a question in a list of what there is


def check_judge(teacher: LlmSettings, judge: LlmSettings, control: ControlSettings) -> None:
    """Refuse a judge that is the teacher, unless it is allowed or nobody judges: models favour their own text."""
    if control.judges and teacher.model == judge.model and control.allow_judge != judge.model:
        raise InputError(
            f"judge.model: '{judge.model}' is the teacher too, and would judge its own text; use another model, or name this "
            f"one in control.allow_judge if there is no other"
        )


def mean_score(scores: dict[str, float]) -> float:
    """Mean over the dimensions that apply (adherence only in the pattern branch). No scores is an error, never a zero."""
    if not scores:
        raise ValueError("no scores to average")
    return sum(scores.values()) / len(scores)


def shortened(text: str, most: int) -> str:
    """A text in one line of at most about `most` characters: its beginning and, as many a prompt asks there, its end."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most * 3 // 4].rstrip()} ... {line[-(most // 4) :].lstrip()}"


def let_in(rows: Sequence[dict[str, float]], settings: ControlSettings) -> list[bool]:
    """Which samples of a batch pass by their scores: each by its mean and its lowest, or all by the mean of the whole batch.

    A mean alone lets a good question with the answer to another one in: 9, 2 and 10 are 7.
    """
    if settings.verdict == "batch":
        return [sum(map(mean_score, rows)) / len(rows) >= settings.threshold] * len(rows)
    return [mean_score(row) >= settings.threshold and min(row.values()) >= settings.lowest for row in rows]


def feedback_text(refused: Sequence[str], judge: str) -> str:
    """What the next attempt is told beside its rejected samples, which it is shown with their reasons (generate_data).

    `refused`: why replies were no rows, of which there is nothing to show; `judge`: what the judge says of the whole batch.
    """
    reasons = dict.fromkeys(f"{reason.rstrip('.')}." for reason in refused)
    return " ".join([*list(reasons)[:REASONS_SHOWN], *([f"{judge.rstrip('.')}."] if judge else [])])
