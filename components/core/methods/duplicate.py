"""A control: the same training rows again, without a teacher. More rows mean more steps, which may help by itself."""

from typing import ClassVar, Literal

from pada_agent.components.core.methods.method import FromRow
from pada_agent.components.core.records import Branch
from pada_agent.components.core.settings import ControlSettings, GenerateSettings


class Duplicate(FromRow):
    """See the module. Of its rows nothing is checked but that they hold no held-out text."""

    prompt: ClassVar[str] = ""
    branch: ClassVar[Branch] = "row"
    repeats: ClassVar[Literal["", "answers", "rows"]] = "rows"

    def rows_each(self, rows: int, origins: int, settings: GenerateSettings) -> int:
        return 1

    def checked_by(self, control: ControlSettings) -> ControlSettings:
        return control.model_copy(update={"verdict": "none"})
