"""ROUGE (Lin 2004), F-measure: of words, of pairs of words, or of the longest common subsequence."""

from itertools import pairwise

from rapidfuzz.distance import Indel

from pada_agent.components.core.tasks.scorers.f1 import word_f1
from pada_agent.components.core.tasks.scorers.graded import Graded
from pada_agent.components.core.tasks.scorers.words import rouge_words


class Rouge(Graded):
    """The numbers of the package rouge-score, to which the tests hold it."""

    def words(self, text: str) -> list[str]:
        return rouge_words(text)

    def grade(self, own: list[str], gold: list[str]) -> float:
        if self.options.rouge == "rougeL":
            return float(Indel.normalized_similarity(own, gold))  # of lists of words: twice the subsequence over both lengths
        return word_f1(own, gold) if self.options.rouge == "rouge1" else word_f1(_pairs(own), _pairs(gold))


def _pairs(words: list[str]) -> list[str]:
    return [" ".join(pair) for pair in pairwise(words)]
