"""The last match of a regular expression: in its first group, if it has one."""

import re

from pada_agent.components.core.records import Fields, Score
from pada_agent.components.core.tasks.scorers.scorer import Finding, verdict
from pada_agent.components.core.tasks.task import CodeRunner, Solution


class Regex(Finding):
    """Whoever solves blind may give the bare answer, without what the expression finds it by."""

    def found(self, text: str) -> str:
        matches = list(re.finditer(self.options.regex, text))
        return (matches[-1].group(1 if matches[-1].re.groups else 0) or "").strip() if matches else ""

    def complaint(self, fields: Fields) -> str:
        if self.found(fields["answer"]):
            return ""
        return f"the regex finds nothing in '{fields['answer']}'; the model is trained to write this text"

    def compare(self, fields: Fields, output: str, found: str, run_code: CodeRunner) -> Score:
        gold = self.found(fields["answer"])
        return verdict(found, gold, found == gold)

    def agrees(self, fields: Fields, solution: Solution, run_code: CodeRunner) -> Score:
        score = super().agrees(fields, solution, run_code)
        if score.valid:
            return score
        bare = " ".join(solution.answer.split())
        return Score(correct=bare == self.found(fields["answer"]), valid=bool(bare), predicted=bare)
