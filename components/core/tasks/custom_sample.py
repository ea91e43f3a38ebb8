"""What a teacher writes of a custom task: the prompt's fields and the answer, or the right option and wrong ones.

A column's name that is no plain word is a field of another name: `keys` are these names (`columns.safe_names`).
"""

import warnings
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from pada_agent.components.core.tasks.multiple_choice import LETTERS
from pada_agent.components.core.tasks.scorers.scorer import Scorer


def key_of(keys: Sequence[str], name: str) -> str:
    """A name for a field of the sample that no field of the prompt has."""
    return name if name not in keys else key_of(keys, f"{name}_")


def sample_model(keys: Sequence[str], scorer: Scorer) -> type[BaseModel]:
    """The form of a sample, its fields in the order in which they are written."""
    least = 1 if len(keys) == 1 else 0  # of several some may be empty
    fields: dict[str, Any] = {key: (Annotated[str, Field(min_length=least)], ...) for key in keys}
    if scorer.options.scorer == "multiple_choice":
        option = Annotated[str, Field(min_length=1)]
        correct = Field(description="the one right option")
        wrong = Field(min_length=1, max_length=len(LETTERS) - 1, description="options that are plausible but clearly wrong")
        fields |= {key_of(keys, "correct"): (option, correct), key_of(keys, "wrong"): (list[option], wrong)}
    else:
        answer = Field(min_length=1, description="the right answer, in exactly the form of the examples")
        own = {key_of(keys, "answer"): (scorer.answer_type, ... if scorer.answer_leads else answer)}
        fields = {**own, **fields} if scorer.answer_leads else {**fields, **own}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a field may well be called schema or json
        return create_model("CustomSample", __config__=ConfigDict(extra="forbid"), **fields)
