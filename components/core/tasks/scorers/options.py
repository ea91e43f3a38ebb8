"""What `task.options` of a custom task say about scoring."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

NEEDS = {"regex": "regex", "python": "python", "rubric": "judge"}  # option -> the scorer that needs it
TAKES = {  # option -> the scorers that may be given it
    "choices": ("multiple_choice",),
    "labels": ("exact",),
    "fractions": ("numeric",),
    "threshold": ("f1", "rouge", "json", "judge"),
    "human_score": ("judge",),
    "rouge": ("rouge",),
    "fields": ("json",),
    "free_text": ("json",),
    "ignored": ("json",),
}


def _without_meaning(value: Any) -> Any:
    """A list of labels as a mapping to nothing; a meaning that was left empty is none."""
    if isinstance(value, list) and all(isinstance(label, str) for label in value):
        if len(set(value)) < len(value):
            raise ValueError("each must occur once")
        return dict.fromkeys(value, "")
    if isinstance(value, dict):
        return {label: "" if meaning is None else meaning for label, meaning in value.items()}
    return value


class ScorerOptions(BaseModel):
    """The scorer, and what it must know beside a row's answer."""

    model_config = ConfigDict(extra="forbid")

    scorer: Literal["exact", "multiple_choice", "numeric", "regex", "python", "f1", "rouge", "json", "judge"]
    choices: str = Field(default="", description="field with the options, for multiple_choice; empty: found by its name")
    labels: Annotated[
        dict[str, str], BeforeValidator(_without_meaning, json_schema_input_type=dict[str, str | None] | list[str])
    ] = Field(
        default={}, description="all answers there are, where exact sorts rows into a few kinds; or a mapping: answer to meaning"
    )
    regex: str = Field(default="", description="finds the answer, in its first group if it has one; the last match counts")
    python: str = Field(default="", description="file.py:function or package.module:function")
    fractions: bool = Field(default=False, description="numeric: 3/4 and 1 3/4 are numbers; otherwise dates, scores and ratios")
    threshold: float = Field(
        default=0.5, gt=0, le=1, description="f1, rouge, judge: a lower score is a failure; json: of free text"
    )
    rouge: Literal["rouge1", "rouge2", "rougeL"] = Field(default="rougeL", description="which of the ROUGE scores")
    rubric: str = Field(
        default="",
        description="judge: what makes an answer good, for the LLM that scores; a text, or a file that ends in .txt or .md",
    )
    human_score: str = Field(
        default="",
        description="judge: field with a person's score of the row's own answer, on any scale; the report compares them",
    )
    # Of json: keys with points between them, `address.city`; `items.price` is that of every object in a list.
    fields: list[str] = Field(default_factory=list, description="json: those that count, with all in them; empty: all")
    free_text: list[str] = Field(default_factory=list, description="json: those whose words must only reach the threshold, by F1")
    ignored: list[str] = Field(default_factory=list, description="json: those that do not count")

    @model_validator(mode="after")
    def _fits(self) -> "ScorerOptions":
        for option, scorer in NEEDS.items():
            if (self.scorer == scorer) != bool(getattr(self, option)):
                raise ValueError(f"{option}: belongs to scorer {scorer}, and it needs it")
        for option, scorers in TAKES.items():
            if self.scorer not in scorers and option in self.model_fields_set:
                raise ValueError(f"{option}: belongs to scorer {' and '.join(scorers)}, not to {self.scorer}")
        if self.labels and (len(self.labels) < 2 or not all(label and label == " ".join(label.split()) for label in self.labels)):
            raise ValueError("labels: must be two or more, none of them empty or with space around it")
        if both := {*self.ignored} & {*self.fields, *self.free_text}:
            raise ValueError(f"ignored: '{min(both)}' is named as one that counts too; leave it in one of the lists")
        try:
            re.compile(self.regex)
        except re.error as e:
            raise ValueError(f"regex: {e}") from e
        if self.python and not re.fullmatch(r".+:[A-Za-z_]\w*", self.python):
            raise ValueError(f"python: '{self.python}' is not file.py:function or package.module:function")
        return self
