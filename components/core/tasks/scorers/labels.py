"""One of a closed set of answers, which `labels` names: {spam: advertising, ham: mail}."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pada_agent.components.core.records import Fields, Score
from pada_agent.components.core.tasks.scorers.exact import Exact
from pada_agent.components.core.tasks.scorers.options import ScorerOptions
from pada_agent.components.core.tasks.task import CodeRunner, Solution


class LabelSolution(Solution):
    """The label alone: asked to think first, a teacher of 1.5B named the right one of ten for 3 messages in 10, else for 6."""

    work: ClassVar[str] = ""  # type: ignore[misc]


class Labels(Exact):
    """Another text is no answer."""

    Solved: ClassVar[type[Solution]] = LabelSolution
    answer_leads: ClassVar[bool] = True  # a small teacher writes a text for a label better than a label for its text

    def __init__(self, options: ScorerOptions, assets: Path | None = None) -> None:
        super().__init__(options, assets)
        self.answer_type: Any = Literal[tuple(options.labels)]

    def complaint(self, fields: Fields) -> str:
        known = self.found(fields["answer"]) in self.options.labels
        return "" if known else f"'{fields['answer']}' is none of task.options.labels"

    def compare(self, fields: Fields, output: str, found: str, run_code: CodeRunner) -> Score:
        if found not in self.options.labels:
            return Score(correct=False, valid=False, detail=f"'{found}' is none of the labels")
        return super().compare(fields, output, found, run_code)
