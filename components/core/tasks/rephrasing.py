"""Tasks whose rows hold a text that may be put into other words while the answer stays as it is.

"Ann has 5 plums and eats 2. How many are left?"   ->   "Of her 5 plums Ann eats 2; how many remain?"     still 3
                                                   ->   "Ann eats some plums. How many are left?"         refused: lacks 5, 2
"""

import re
from abc import abstractmethod
from collections import Counter

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields
from pada_agent.components.core.tasks.task import Task

_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


class Rephrasable(Task):
    """`rephrased` is what that text is, as a teacher is told."""

    rephrased: str = "the question"

    def check_rephrasing(self) -> None:
        """Raises InputError where the task's options do not say which text it is."""

    @abstractmethod
    def wording(self, fields: Fields) -> str:
        """The text of a row."""

    @abstractmethod
    def with_wording(self, fields: Fields, text: str) -> Fields:
        """The row with another text in its place. Raises InputError, as feedback, for a text that cannot stand there."""

    def must_keep(self, fields: Fields) -> list[str]:
        """Words of the text without which the answer is another, beside its numbers."""
        return []

    def reworded(self, fields: Fields, text: str) -> Fields:
        """The row in other words. Raises InputError, as feedback, if its answer cannot be right any more."""
        new, old = text.strip(), self.wording(fields)
        if not new:
            raise InputError("text: is empty")
        if (now := _numbers(new)) != (was := _numbers(old)):
            changed = _listed(sorted(((was - now) + (now - was)).elements()))
            raise InputError(f"text: must have the numbers of {self.rephrased} and no others, in figures; look at {changed}")
        lacking = [part for part in self.must_keep(fields) if part.casefold() not in new.casefold()]
        if lacking:
            raise InputError(f"text: leaves out {_listed(lacking)}, which the answer needs")
        return self.with_wording(fields, new)


def _numbers(text: str) -> Counter[str]:
    return Counter(number.replace(",", "") for number in _NUMBER.findall(text))


def _listed(parts: list[str]) -> str:
    return ", ".join(f"'{part}'" for part in parts)
