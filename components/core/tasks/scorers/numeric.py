"""The last number of a text, as people write numbers (`written_numbers`)."""

from collections import deque

from pada_agent.components.core.records import Fields, Score
from pada_agent.components.core.tasks.scorers.scorer import Finding, verdict
from pada_agent.components.core.tasks.scorers.written_numbers import Number, numbers, same
from pada_agent.components.core.tasks.task import CodeRunner


class Numeric(Finding):
    """By value: 18 and 18.00 are one."""

    def found(self, text: str) -> str:
        number = self._last(text)
        return "" if number is None else str(number)

    def complaint(self, fields: Fields) -> str:
        if self._last(fields["answer"]) is not None:
            return ""
        if not self.options.fractions and next(numbers(fields["answer"], fractions=True), None):
            return f"'{fields['answer']}' has no number in it; if it is a fraction, and not a date, set fractions: true"
        return f"'{fields['answer']}' has no number in it"

    def compare(self, fields: Fields, output: str, found: str, run_code: CodeRunner) -> Score:
        gold, own = self._last(fields["answer"]), self._last(output)
        return verdict(found, str(gold), gold is not None and own is not None and same(own, gold))

    def unusable(self, answer: str) -> str:
        return super().unusable(answer) or ("" if self.found(answer) else "has no number in it")

    def _last(self, text: str) -> Number | None:
        return next(iter(deque(numbers(text, self.options.fractions), maxlen=1)), None)
