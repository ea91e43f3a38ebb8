"""Scores from 0 to 1, of which those below `threshold` are failures."""

from abc import abstractmethod

from pada_agent.components.core.records import Fields, Score
from pada_agent.components.core.tasks.scorers.scorer import Finding
from pada_agent.components.core.tasks.task import CodeRunner

SHOWN = 200  # characters of a text in the reason why it failed


class Graded(Finding):
    """Every row has a grade; models are compared by its mean."""

    @abstractmethod
    def words(self, text: str) -> list[str]:
        """What is compared of a text."""

    @abstractmethod
    def grade(self, own: list[str], gold: list[str]) -> float:
        """Of the words of an output and of a row's answer, neither empty."""

    def found(self, text: str) -> str:
        return " ".join(text.split()) if self.words(text) else ""

    def complaint(self, fields: Fields) -> str:
        return "" if self.found(fields["answer"]) else f"'{fields['answer']}' has no word in it"

    def unusable(self, answer: str) -> str:
        return super().unusable(answer) or ("" if self.found(answer) else "has no word in it")

    def score(self, fields: Fields, output: str, run_code: CodeRunner) -> Score:
        score = super().score(fields, output, run_code)
        return score if score.valid else score.model_copy(update={"grade": 0.0})

    def compare(self, fields: Fields, output: str, found: str, run_code: CodeRunner) -> Score:
        # Six digits: the same on every machine, and short in files.
        grade = round(self.grade(self.words(output), self.words(fields["answer"])), 6)
        correct = grade >= self.options.threshold
        below = f"{grade:.2f}, below {self.options.threshold:g}: '{_cut(found)}' instead of '{_cut(fields['answer'])}'"
        return Score(correct=correct, valid=True, predicted=found, detail="" if correct else below, grade=grade)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
