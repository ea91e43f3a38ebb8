"""The scorer: what it is sent of an answer, what comes back, and the score that becomes of it.

{"reason": "Names the cause but not what to do about it.", "score": 3}          ->   0.5, a failure below the threshold
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field, WithJsonSchema

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.llm_interface import Llm, LlmReply, LlmRequest, Reply
from pada_agent.components.core.quality.rules import shortened
from pada_agent.components.core.records import Fields, Prediction, Score
from pada_agent.components.core.settings import ScoreSettings
from pada_agent.components.core.tasks.task import Task

STAGE = "score_answers"
LOWEST, HIGHEST = 1, 5  # of what the scorer gives
REASON = 300  # characters
ANSWER, PROMPT = 8000, 12000  # characters that are shown: an answer that runs on says no more after that
MOST_UNSCORED = 0.05  # of a split's answers: with more, a mean says little
# A whole number is asked for; a scorer that writes 3.5 or "4" all the same is understood.
Points = Annotated[
    float, Field(ge=LOWEST, le=HIGHEST), WithJsonSchema({"type": "integer", "minimum": LOWEST, "maximum": HIGHEST})
]


class ScoreReply(Reply):
    """What is asked of the scorer. The reason comes first, so that the score follows from it."""

    reason: Annotated[str, Field(json_schema_extra={"maxLength": REASON})]
    score: Points

    @property
    def grade(self) -> float:
        """0 to 1."""
        return round((self.score - LOWEST) / (HIGHEST - LOWEST), 6)


@dataclass
class Scored:
    """Predictions by split, with no score pending, and how many answers got no score and count as failures."""

    predictions: dict[str, list[Prediction]] = field(default_factory=dict)
    unscored: int = 0


def score_answers(
    task: Task, answers: Mapping[str, Sequence[Prediction]], model: str, settings: ScoreSettings, scorer: Llm
) -> Scored:
    """Every pending score becomes one. `answers` are by split, `model` names whose they are, in logs and in the ledger.

    An answer that the scorer gives no usable reply to counts as a failure, with that as the reason. Raises InputError when a cap
    ends it early, or too many replies are of no use: a model with half of its scores cannot be compared.
    """
    waiting = [(split, p) for split, part in answers.items() for p in part if p.score.pending]
    requests = [
        score_request(task, f"score/{model}/{split}/{p.id}", p.fields, p.output, task.references(p.fields), settings)
        for split, p in waiting
    ]
    replies = scorer.ask_all("answers scored", requests)
    _check(answers, [split for split, _ in waiting], replies, scorer)
    given = {(split, p.id): verdict(task, p.score, reply) for (split, p), reply in zip(waiting, replies, strict=True)}
    predictions = {
        split: [p.model_copy(update={"score": given.get((split, p.id)) or _graded(p.score)}) for p in part]
        for split, part in answers.items()
    }
    return Scored(predictions, sum(reply.value is None for reply in replies))


def score_request(
    task: Task, key: str, fields: Fields, answer: str, references: Sequence[str], settings: ScoreSettings
) -> LlmRequest[ScoreReply]:
    """Asks for the score of one answer, which stands in the prompt behind a mark that it cannot hold."""
    shown = {"prompt": cut(task.shown(fields), PROMPT), "answer": cut(answer, ANSWER)}
    right = [cut(reference, ANSWER) for reference in references]
    mark = mark_of(*shown.values(), *right)
    messages = task.prompts.render(
        STAGE, "score", task=task.description, rubric=task.rubric, mark=mark, references=right, **shown
    )
    return LlmRequest.of(ScoreReply, key, messages, settings.temperature)


def mark_of(*texts: str) -> str:
    """A mark around texts that none of them holds: a hash of all of them, which their writers could not know."""
    whole = "\0".join(texts)
    return f"=={hashlib.sha256(whole.encode(errors='replace')).hexdigest()[:16]}=="


def cut(text: str, most: int) -> str:
    """As it is, line breaks too; of a text that is too long the beginning and the end."""
    return text.strip() if len(text) <= most else shortened(text, most)


def verdict(task: Task, pending: Score, reply: LlmReply[ScoreReply]) -> Score:
    """The score in the place of one that was pending. The reason is kept where it is a failure, for the analysis."""
    if reply.value is None:
        return pending.model_copy(update={"pending": False, "grade": 0.0, "detail": f"it could not be scored: {reply.error}"})
    grade = reply.value.grade
    correct = grade >= task.threshold
    detail = "" if correct else f"{reply.value.score:g} of {HIGHEST}: {shortened(reply.value.reason, REASON)}"
    return pending.model_copy(update={"pending": False, "correct": correct, "grade": grade, "detail": detail})


def _graded(score: Score) -> Score:
    """A verdict that needed no scorer: an answer that is empty, or was still thinking where it was cut."""
    return score if score.grade is not None else score.model_copy(update={"grade": float(score.correct)})


def _check(
    answers: Mapping[str, Sequence[Prediction]], splits: Sequence[str], replies: Sequence[LlmReply[ScoreReply]], scorer: Llm
) -> None:
    if unasked := sum(reply.unasked for reply in replies):
        raise InputError(
            f"{len(replies) - unasked} of {len(replies)} answers are scored: {scorer.usage.capped}; without the others no model "
            "can be compared: raise it and start the run again, which pays for no score twice"
        )
    for split, part in answers.items():
        failed = [reply.error for of, reply in zip(splits, replies, strict=True) if of == split and reply.value is None]
        if len(failed) > MOST_UNSCORED * len(part):
            raise InputError(
                f"{split}: {len(failed)} of {len(part)} answers got no usable score, the last: {failed[-1]}; that is more than "
                f"{MOST_UNSCORED:.0%}: use another scorer.model, or give its replies more room (scorer.max_tokens)"
            )
