"""The judge: what it is sent and what comes back, for a batch to be scored and for a question to be solved without its key.

{"adherence": 9, "utility": 8, "relevance": 9, "feedback": "Vary the tables."}
{"answer": "B"}
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema, create_model, field_validator

from pada_agent.components.core.llm_interface import LlmRequest, Reply
from pada_agent.components.core.records import Branch, Fields, SyntheticRow
from pada_agent.components.core.settings import ControlSettings
from pada_agent.components.core.tasks.task import Task

STAGE = "control_quality"
FEEDBACK_LENGTH = 300
Item = dict[str, str]
# Whole numbers are asked for; a judge that writes 7.5 or "8" all the same is understood.
Score = Annotated[float, Field(ge=1, le=10), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 10})]
Feedback = Annotated[str, Field(json_schema_extra={"maxLength": FEEDBACK_LENGTH})]


class _Judgement(Reply):
    @property
    def scores(self) -> dict[str, float]:
        """The scores by dimension, 1 to 10."""
        return self.model_dump(exclude={"feedback"})

    @field_validator("feedback", mode="before", check_fields=False)
    @classmethod
    def _none_is_no_feedback(cls, value: Any) -> str:
        text = str(value or "").strip()
        return "" if text.lower().strip(". ") == "none" else text


class PatternJudgement(_Judgement):
    """Scores of a batch written against a pattern. The fields are in the order in which a judge is to think of them."""

    adherence: Score
    utility: Score
    relevance: Score
    feedback: Feedback = ""


class ErrorJudgement(_Judgement):
    """Scores of a batch around training errors: there is no plan to adhere to."""

    utility: Score
    relevance: Score
    feedback: Feedback = ""


Judgement = PatternJudgement | ErrorJudgement
JUDGEMENTS: dict[Branch, type[Judgement]] = {"pattern": PatternJudgement, "error": ErrorJudgement}


class Answer(Reply):
    """The label of the option that the judge holds to be right."""

    answer: str

    @field_validator("answer", mode="before")
    @classmethod
    def _text(cls, value: Any) -> str:
        return str(value).strip()


def item(task: Task, fields: Fields) -> Item:
    """A row as the judge sees it."""
    return {"question": task.question(fields), "reference": task.reference(fields)}


def judge_request(
    task: Task, key: str, branch: Branch, strategy: str, items: Sequence[Item], settings: ControlSettings
) -> LlmRequest[Judgement]:
    """Asks for the scores of one batch, and the feedback on it."""
    messages = task.prompts.render(STAGE, "judge", task=task.description, strategy=strategy, items=items)
    return LlmRequest.of(JUDGEMENTS[branch], key, messages, settings.temperature)


def solve_request(task: Task, row: SyntheticRow, settings: ControlSettings) -> LlmRequest[Answer]:
    """Asks for the answer to a multiple-choice row."""
    labels = task.options_of(row.fields)
    label: Any = Literal[tuple(labels)]
    answer = create_model("LabelAnswer", __base__=Answer, answer=(label, ...))
    messages = task.prompts.render(STAGE, "solve", question=task.question(row.fields), labels=labels)
    return LlmRequest.of(answer, f"solve/{row.id}", messages, settings.temperature)
