"""The teacher as analyst: what it is sent and what comes back, for one failure, one cluster and one pattern.

{"difference": "lacks the GROUP BY", "root_cause": "Leaves out the condition on groups.", "scenario": "Counts per group"}
{"category_name": "Group filters", "pattern": "Questions that keep only some groups fail."}
{"strategy": "Every example keeps groups above a number. Vary the tables."}
"""

from typing import Any, TypeVar

from pydantic import Field

from pada_agent.components.analyze_patterns.grounding import Dossier
from pada_agent.components.core.llm_interface import LlmRequest, Reply
from pada_agent.components.core.records import Prediction
from pada_agent.components.core.settings import AnalyzeSettings
from pada_agent.components.core.tasks.task import Message, Task

STAGE = "analyze_patterns"
ANALYSES_SHOWN = 8  # of a cluster, in the prompt that names it: more does not fit a small teacher's context
COUNTS_SHOWN = 5
SHOWN_CHARACTERS = {"brief": 1500, "full": 6000}  # of each text of a failure; longer ones without their middle
# Characters at which servers are told to stop, since small teachers ramble until they are cut off. A longer text is taken too.
LENGTHS = {
    "brief": {"difference": 200, "root_cause": 200, "scenario": 160, "category_name": 60, "pattern": 240, "strategy": 360},
    "full": {"difference": 400, "root_cause": 400, "scenario": 240, "category_name": 60, "pattern": 600, "strategy": 1600},
}
R = TypeVar("R", bound=Reply)


class Explanation(Reply):
    """Why one answer failed. `difference` makes the teacher look before it judges; nobody reads it, so it may hold anything."""

    difference: Any = Field(default="", json_schema_extra={"type": "string", "minLength": 1})
    root_cause: str = Field(min_length=1)
    scenario: str = Field(min_length=1)


class PatternName(Reply):
    """What the failures of a cluster have in common."""

    category_name: str = Field(min_length=1)
    pattern: str = Field(min_length=1)


class StrategyText(Reply):
    """What to write against a pattern."""

    strategy: str = Field(min_length=1)


def explain(task: Task, failure: Prediction, settings: AnalyzeSettings, key: str) -> LlmRequest[Explanation]:
    """Asks why one answer is wrong."""
    messages = task.prompts.render(
        STAGE,
        "analyse",
        task=task.description,
        question=_short(task.question(failure.fields), settings),
        output=_short(failure.output, settings),
        reference=_short(failure.reference, settings),
        detail=_short(failure.score.detail, settings),
    )
    return _request(Explanation, f"analyse/{key}", messages, settings)


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
        brief=settings.detail == "brief",
        feedback=feedback,
    )
    return _request(PatternName, f"categorise/{key}/{attempt}", messages, settings, salt=str(attempt))


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
        brief=settings.detail == "brief",
        feedback=feedback,
    )
    return _request(StrategyText, f"strategise/{key}/{attempt}", messages, settings, salt=str(attempt))


def _request(reply: type[R], key: str, messages: list[Message], settings: AnalyzeSettings, salt: str = "") -> LlmRequest[R]:
    """Asks for a reply whose texts are as long as the settings say."""
    asked, lengths = reply.schema_asked(), LENGTHS[settings.detail]
    bounded = {name: {**text, "maxLength": lengths[name]} for name, text in asked["properties"].items()}

    def read(value: Any) -> R:
        found = reply.read(value)
        return found.model_copy(update={n: _whole(t, lengths[n]) for n, t in found if isinstance(t, str)})

    return LlmRequest(key, messages, {**asked, "properties": bounded}, read, settings.temperature, salt)


def _whole(text: str, length: int) -> str:
    """Without a last sentence that the bound cut off."""
    end = max(text.rfind(mark) for mark in ".!?")
    return text[: end + 1] if end >= 0 and len(text) >= length - 1 else text  # a space at the cut is stripped


def _short(text: str, settings: AnalyzeSettings) -> str:
    """Beginning and end, where many a text has its question or its result."""
    most = SHOWN_CHARACTERS[settings.detail]
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"
