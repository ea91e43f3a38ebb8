"""What a scorer of the custom task is: how an answer is read from a row, found in an output, and compared.

Every file beside this one holds one. `fields` are a row's, with `answer` and `choices` as `read` left them; against which of
several accepted answers an output is scored, the task says (`accepted`).
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from pada_agent.components.core.records import Fields, Score
from pada_agent.components.core.tasks.columns import accepted
from pada_agent.components.core.tasks.scorers.options import ScorerOptions
from pada_agent.components.core.tasks.task import CodeRunner, Solution


class Scorer(ABC):
    """Made of a task's options; methods raise nothing on what a model wrote."""

    answer_type: Any = str  # of the answer in what a teacher writes
    answer_leads: ClassVar[bool] = False  # whether it is written before the prompt's fields
    Solved: ClassVar[type[Solution]] = Solution

    def __init__(self, options: ScorerOptions, assets: Path | None = None) -> None:
        """`assets`: the folder of files that came with the data. Raises InputError where a file that is needed cannot be read."""
        self.options = options

    def read(self, raw: Fields, key: str) -> Fields:
        """`answer` and `choices` of a row as published, whose answer is at `key`; in `also` what is accepted beside it.

        Raises InputError that names the field.
        """
        answer, *also = accepted(raw, key)
        return {"answer": answer, "choices": []} | ({"also": also} if also else {})

    def assets(self) -> dict[str, str]:
        """Texts that must travel with the data, by their names in the assets folder."""
        return {}

    @abstractmethod
    def complaint(self, fields: Fields) -> str:
        """Why the row's own answer cannot be scored by; '' if it can."""

    @abstractmethod
    def score(self, fields: Fields, output: str, run_code: CodeRunner) -> Score:
        """The verdict on an output."""

    def unusable(self, answer: str) -> str:
        """Why an answer found blind cannot be compared; '' if it can."""
        return "" if answer else "is empty"

    def agrees(self, fields: Fields, solution: Solution, run_code: CodeRunner) -> Score:
        """Whether an answer found blind is the row's own."""
        return self.score(fields, solution.answer, run_code)


class Finding(Scorer):
    """Compares what it finds in an output with what it finds in the row's own answer."""

    def found(self, text: str) -> str:
        """What is compared; '' if the text holds no answer."""
        return " ".join(text.split())

    def complaint(self, fields: Fields) -> str:
        return "" if self.found(fields["answer"]) else "is empty"

    def score(self, fields: Fields, output: str, run_code: CodeRunner) -> Score:
        found = self.found(output)
        if not found:
            return Score(correct=False, valid=False, detail="empty" if not output.strip() else "no answer found in it")
        return self.compare(fields, output, found, run_code)

    @abstractmethod
    def compare(self, fields: Fields, output: str, found: str, run_code: CodeRunner) -> Score:
        """The verdict on an output in which `found` was found."""


def verdict(found: str, gold: str, correct: bool, **more: Any) -> Score:
    """Of an answer that was found."""
    return Score(correct=correct, valid=True, predicted=found, detail="" if correct else f"'{found}' instead of '{gold}'", **more)
