"""What `task.options` of a custom task say about scoring."""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

NEEDS = {"choices": "multiple_choice", "regex": "regex", "python": "python"}  # option -> the scorer that needs it


class ScorerOptions(BaseModel):
    """The scorer, and what it must know beside a row's answer."""

    model_config = ConfigDict(extra="forbid")

    scorer: Literal["exact", "multiple_choice", "numeric", "regex", "python"]
    choices: str = Field(default="", description="field with the list of options, for multiple_choice")
    regex: str = Field(default="", description="finds the answer, in its first group if it has one; the last match counts")
    python: str = Field(default="", description="file.py:function or package.module:function")

    fractions: bool = Field(default=False, description="numeric: 3/4 and 1 3/4 are numbers; otherwise dates, scores and ratios")

    @model_validator(mode="after")
    def _fits(self) -> "ScorerOptions":
        for option, scorer in NEEDS.items():
            if (self.scorer == scorer) != bool(getattr(self, option)):
                raise ValueError(f"{option}: belongs to scorer {scorer}, and it needs it")
        try:
            re.compile(self.regex)
        except re.error as e:
            raise ValueError(f"regex: {e}") from e
        if self.python and not re.fullmatch(r".+:[A-Za-z_]\w*", self.python):
            raise ValueError(f"python: '{self.python}' is not file.py:function or package.module:function")
        return self
