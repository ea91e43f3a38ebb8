"""The same text, apart from white space."""

import re

from pada_agent.components.core.records import Fields, Score
from pada_agent.components.core.tasks.scorers.scorer import Finding, verdict
from pada_agent.components.core.tasks.squad import normalise
from pada_agent.components.core.tasks.task import CodeRunner, Solution

# Without what ends and quotes sentences; a sign, a decimal point and what makes C++ no C# are part of an answer.
_WORD = re.compile(r"-?\d[\d.,]*\d|-?\d|[^\W\d]+|[^\w\s.,;:!?\"'()\[\]{}-]")


class Exact(Finding):
    """Whoever solves blind is not asked about capitals, articles and the marks of a sentence."""

    def compare(self, fields: Fields, output: str, found: str, run_code: CodeRunner) -> Score:
        gold = self.found(fields["answer"])
        return verdict(found, gold, found == gold, extra={"normalised": normalise(found) == normalise(gold)})

    def agrees(self, fields: Fields, solution: Solution, run_code: CodeRunner) -> Score:
        score = super().agrees(fields, solution, run_code)
        alike = _words(solution.answer) == _words(fields["answer"]) != []
        return score.model_copy(update={"correct": True, "valid": True}) if alike else score


def _words(text: str) -> list[str]:
    """In lower case and without articles, unless there is nothing else."""
    words = _WORD.findall(text.lower())
    return [word for word in words if word not in {"a", "an", "the"}] or words
