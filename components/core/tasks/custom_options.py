"""What `task.options` of a custom task say, and what its rows hold."""

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer, model_validator

from pada_agent.components.core.records import Fields
from pada_agent.components.core.tasks.multiple_choice import LETTERS
from pada_agent.components.core.tasks.scorers.options import ScorerOptions
from pada_agent.components.core.tasks.shapes import Shape
from pada_agent.components.core.tasks.task import Message


class CustomOptions(ScorerOptions):
    """`task.options` of a custom task."""

    prompt: str = Field(default="", description="template with {field}s, or the name of one field; empty: as the shape says")
    answer: str = Field(
        default="",
        description="field with the answer, or with a list of accepted ones; multiple choice: label, number from 0, or text",
    )
    description: str = Field(min_length=1, description="told to the teacher: what is asked, what a good answer is")
    shape: Shape = Field(default="auto", description="of the rows: columns, chat, sharegpt, alpaca; auto: as each row looks")
    system: str = Field(default="", description="system message")
    rephrase: str = Field(default="", description="field of the prompt that may be put into other words; empty: its only one")
    context: str = Field(
        default="", description="field of the prompt that questions are about, e.g. a document; generate.context may keep it"
    )
    group: str = Field(default="", description="field whose value ties rows together, e.g. a document's name")
    max_new_tokens: int = Field(default=128, ge=1, le=4096)

    @model_validator(mode="after")
    def _columns_or_shape(self) -> "CustomOptions":
        if self.shape not in ("auto", "columns") and (self.prompt or self.answer):
            raise ValueError(
                f"{'prompt' if self.prompt else 'answer'}: shape {self.shape} says where it is; leave one of them out"
            )
        return self


class CustomRow(BaseModel):
    """The values of the prompt's fields, the answer (a letter for multiple choice) and the options."""

    inputs: dict[str, str]
    answer: str = Field(min_length=1)
    choices: list[str] = Field(default_factory=list, max_length=len(LETTERS))
    also: list[str] = Field(default_factory=list, description="other answers that are accepted")
    before: list[Message] = Field(default_factory=list, description="the turns of user and assistant before the prompt")
    system: str = Field(default="", description="the row's own system message")
    human_score: float | None = Field(default=None, description="a person's score of the row's own answer")

    @model_serializer(mode="wrap")
    def _without_what_is_empty(self, whole: SerializerFunctionWrapHandler) -> Fields:
        kept = ("inputs", "answer", "choices")
        return {name: value for name, value in whole(self).items() if value or value == 0 or name in kept}


def complaint(error: ValidationError) -> str:
    """What is wrong with the options, in a line."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        own = {name: field for name, field in CustomOptions.model_fields.items() if name not in ScorerOptions.model_fields}
        return f"'{where}' is not known; custom takes {', '.join(own | ScorerOptions.model_fields)}"
    return f"{where}: {first['msg']}" if where else str(first["msg"]).removeprefix("Value error, ")
