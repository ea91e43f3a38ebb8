"""LLMs-as-Instructors, learning from error (Ying et al., arXiv 2407.00497): practice around each wrong answer to a training row.

The teacher is shown the question and the student's wrong answer, not the right one: it diagnoses and writes similar problems.
"""

from math import ceil
from typing import Any, ClassVar

from pada_agent.components.core.methods.method import FromRow, Origin, TrainingRows, drawn_beside
from pada_agent.components.core.settings import GenerateSettings
from pada_agent.components.core.tasks.task import Task


class LearningFromError(FromRow):
    """See the module."""

    prompt: ClassVar[str] = "practice"

    def rows_each(self, rows: int, origins: int, settings: GenerateSettings) -> int:
        return max(settings.per_row, min(settings.batch, ceil(rows / origins)))

    def beside(self, row: str, train: TrainingRows, shots: int) -> list[str]:
        return drawn_beside(row, train)

    def shown(self, task: Task, origin: Origin) -> dict[str, Any]:
        return {
            "question": task.question(origin.row),
            "output": origin.output,
            "forms": [task.sample_of(fields).model_dump_json() for fields in origin.beside[:1]],
            "mastered": [task.question(fields) for fields in origin.beside[1:]],
        }
