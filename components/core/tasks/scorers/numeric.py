"""The last number of a text."""

from pada_agent.components.core.records import Fields, Score
from pada_agent.components.core.tasks.gsm8k import last_number, same_number
from pada_agent.components.core.tasks.scorers.scorer import Scorer, verdict
from pada_agent.components.core.tasks.task import CodeRunner


class Numeric(Scorer):
    """By value: 18 and 18.00 are one."""

    def found(self, text: str) -> str:
        return last_number(text)

    def complaint(self, fields: Fields) -> str:
        return "" if self.found(fields["answer"]) else f"'{fields['answer']}' has no number in it"

    def compare(self, fields: Fields, output: str, found: str, run_code: CodeRunner) -> Score:
        gold = self.found(fields["answer"])
        return verdict(found, gold, same_number(found, gold))
