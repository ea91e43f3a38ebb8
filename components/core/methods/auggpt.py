"""AugGPT (Dai et al., arXiv 2302.13007): each training row with its question in other words and its answer as it was.

    "How many cards has she left?"   ->   "What number of cards remains with her?"

Its authors ask for six of each row and check nothing. Here each row has one at first (`generate.per_row: 6` is theirs), and it is
kept only if the answer can still be right: numbers and values stand in it as before.
"""

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.methods.method import FromRow, Origin
from pada_agent.components.core.records import Branch
from pada_agent.components.core.settings import Context
from pada_agent.components.core.tasks.rephrasing import Rephrasable
from pada_agent.components.core.tasks.sample_form import SampleForm
from pada_agent.components.core.tasks.task import Task


class Wording(BaseModel):
    """What a teacher writes."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, description="the text in other words")


class AugGpt(FromRow):
    """See the module."""

    prompt: ClassVar[str] = "rephrase"
    branch: ClassVar[Branch] = "row"
    repeats: ClassVar[Literal["", "answers", "rows"]] = "answers"

    def check(self, task: Task) -> None:
        if not isinstance(task, Rephrasable):
            raise InputError(
                f"generate.method: auggpt puts a row's question into other words, and {task.name} has none that may be"
            )
        task.check_rephrasing()

    def form(self, task: Task, context: Context) -> SampleForm:
        """A wording, whatever the settings: all else stays as it is."""
        assert isinstance(task, Rephrasable)
        return SampleForm(
            Wording,
            of=lambda fields: Wording.model_construct(text=task.wording(fields)),
            row=lambda item, seed: task.reworded(seed, item.text),
        )

    def shown(self, task: Task, origin: Origin) -> dict[str, Any]:
        assert isinstance(task, Rephrasable)
        return {"what": task.rephrased, "text": task.wording(origin.row)}
