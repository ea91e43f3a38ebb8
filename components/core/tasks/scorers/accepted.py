"""An output against each answer that is accepted: right if it is by one of them, graded by the nearest."""

from collections.abc import Callable

from pada_agent.components.core.records import Fields, Score
from pada_agent.components.core.thoughts import without_thoughts


def answered(fields: Fields) -> list[Fields]:
    """The row with each answer that is accepted, the one that is trained first.

    As scored: without the thoughts that a model may be trained to write before its answer.
    """
    return [{**fields, "answer": without_thoughts(answer) or ""} for answer in (fields["answer"], *fields.get("also", []))]


def best(fields: Fields, score: Callable[[Fields], Score]) -> Score:
    """The best verdict, of equal ones the first; none is asked for after one that cannot be bettered."""
    found: Score | None = None
    for row in answered(fields):
        verdict = score(row)
        if found is None or _rank(verdict) > _rank(found):
            found = verdict
        if found.correct and found.grade in (None, 1):
            break
    assert found is not None
    return found


def _rank(score: Score) -> tuple[bool, float, bool, float]:
    return score.correct, score.grade or 0.0, score.valid, sum(score.extra.values())
