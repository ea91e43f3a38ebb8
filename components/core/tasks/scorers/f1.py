"""F1 of the words of two texts, in any order, as SQuAD's official script has it."""

from collections import Counter

from pada_agent.components.core.tasks.scorers.graded import Graded
from pada_agent.components.core.tasks.scorers.words import squad_words


class F1(Graded):
    """Without capitals, punctuation and articles."""

    def words(self, text: str) -> list[str]:
        return squad_words(text)

    def grade(self, own: list[str], gold: list[str]) -> float:
        return word_f1(own, gold)


def word_f1(own: list[str], gold: list[str]) -> float:
    """0 to 1; 0 where one has no words."""
    common = (Counter(own) & Counter(gold)).total()
    return 2 * common / (len(own) + len(gold)) if common else 0.0
