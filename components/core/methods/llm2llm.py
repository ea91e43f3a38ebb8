"""LLM2LLM (Lee et al., arXiv 2403.15042): one new row from each training row that the SLM got wrong, again after each training.

Only original rows are written from, never what was written. The teacher is shown the row with its right answer and, as in the
authors' code, not what the SLM said. A question too like a known one (ROUGE-L above 0.95) is written again.
"""

from typing import Any, ClassVar

from rapidfuzz import process
from rapidfuzz.distance import Indel

from pada_agent.components.core.methods.method import FromRow, Novelty, Origin
from pada_agent.components.core.records import Fields
from pada_agent.components.core.separation.duplicates import tokens
from pada_agent.components.core.tasks.task import Task

ROUGE_L = 0.95
rouge_l = Indel.normalized_similarity  # of lists of words it is the F1 of ROUGE-L: twice the longest common subsequence over both


class Llm2Llm(FromRow):
    """See the module."""

    prompt: ClassVar[str] = "similar"

    def shown(self, task: Task, origin: Origin) -> dict[str, Any]:
        return {"example": task.sample_of(origin.row).model_dump_json()}

    def novelty(self, task: Task) -> Novelty:
        return Unlike(task)


class Unlike:
    """Novelty by the words of questions."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._known: list[list[str]] = []

    def add(self, fields: Fields) -> None:
        self._known.append(tokens(self._task.question(fields)))

    def twin(self, fields: Fields) -> str:
        words = tokens(self._task.question(fields))
        nearest = process.extractOne(words, self._known, scorer=rouge_l, score_cutoff=ROUGE_L)
        near = nearest[1] if nearest else 0.0
        return f"its question has nearly the words of another one (ROUGE-L {near:.2f})" if near > ROUGE_L else ""
