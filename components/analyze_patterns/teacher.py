"""The teacher as analyst: what it is sent and what comes back, for one failure, one cluster and one pattern.

{"missing": "the GROUP BY", "root_cause": "Leaves out the condition on groups.", "scenario": "Counts per group"}
{"category_name": "Group filters", "pattern": "Questions that keep only some groups fail."}
{"strategy": "Every example keeps groups above a number. Vary the tables."}
"""

from typing import Any

from pydantic import Field, field_validator

from pada_agent.components.analyze_patterns.grounding import Dossier
from pada_agent.components.core.llm_interface import LlmRequest, Reply
from pada_agent.components.core.records import Prediction
from pada_agent.components.core.settings import AnalyzeSettings
from pada_agent.components.core.tasks.task import Task

STAGE = "analyze_patterns"
ANALYSES_SHOWN = 8  # of a cluster, in the prompt that names it: more does not fit a small teacher's context
COUNTS_SHOWN = 5
SHOWN_CHARACTERS = 1500


def _text(length: int) -> Any:
    # Small teachers ramble until they are cut off, so servers are given a bound; a longer text is taken all the same.
    return Field(min_length=1, json_schema_extra={"maxLength": length})


class TextReply(Reply):
    """A reply of texts, none empty."""

    @field_validator("*")
    @classmethod
    def _whole(cls, text: Any) -> Any:
        """Without a last sentence that the schema's bound cut off."""
        if not isinstance(text, str):
            return text
        end = max(text.rfind(mark) for mark in ".!?")
        return text if end < 0 or text[-1] in ".!?" else text[: end + 1]


class Explanation(TextReply):
    """Why one answer failed. `missing` makes the teacher look before it judges; it is not read, so anything may stand in it."""

    missing: Any = Field(default="", json_schema_extra={"type": "string", "minLength": 1, "maxLength": 200})
    root_cause: str = _text(200)
    scenario: str = _text(160)


class PatternName(TextReply):
    """What the failures of a cluster have in common."""

    category_name: str = _text(60)
    pattern: str = _text(240)


class StrategyText(TextReply):
    """What to write against a pattern."""

    strategy: str = _text(360)


def explain(task: Task, failure: Prediction, settings: AnalyzeSettings, key: str) -> LlmRequest[Explanation]:
    """Asks why one answer is wrong."""
    messages = task.prompts.render(
        STAGE,
        "analyse",
        task=task.description,
        question=_short(task.question(failure.fields)),
        output=_short(failure.output),
        reference=_short(failure.reference),
        detail=_short(failure.score.detail),
    )
    return LlmRequest.of(Explanation, f"analyse/{key}", messages, settings.temperature)


def name_pattern(
    task: Task, dossier: Dossier, settings: AnalyzeSettings, key: str, feedback: str, attempt: int
) -> LlmRequest[PatternName]:
    """Asks what a cluster has in common; `feedback` says what was wrong with the draft before."""
    messages = task.prompts.render(
        STAGE,
        "categorise",
        task=task.description,
        analyses=dossier.members[:ANALYSES_SHOWN],
        counts=dossier.counts[:COUNTS_SHOWN],
        size=len(dossier.members),
        passed=dossier.passed,
        features=dossier.features,
        feedback=feedback,
    )
    return LlmRequest.of(PatternName, f"categorise/{key}/{attempt}", messages, settings.temperature, salt=str(attempt))


def draft_strategy(
    task: Task,
    dossier: Dossier,
    name: PatternName | None,
    settings: AnalyzeSettings,
    key: str,
    feedback: str,
    attempt: int,
) -> LlmRequest[StrategyText]:
    """Asks what to write against a pattern; `feedback` says what was wrong with the draft before."""
    messages = task.prompts.render(
        STAGE,
        "strategise",
        task=task.description,
        name=name.category_name if name else "",
        pattern=name.pattern if name else "",
        features=dossier.features,
        feedback=feedback,
    )
    return LlmRequest.of(StrategyText, f"strategise/{key}/{attempt}", messages, settings.temperature, salt=str(attempt))


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + " ..."
