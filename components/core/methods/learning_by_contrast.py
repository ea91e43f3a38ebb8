"""LLMs-as-Instructors, learning from error by contrast (Ying et al., arXiv 2407.00497).

As learning_from_error, and the teacher is also shown what the student answers right: of the training rows most like the wrong one
`generate.shots` questions, without their answers.
"""

from pada_agent.components.core.methods.learning_from_error import LearningFromError
from pada_agent.components.core.methods.method import TrainingRows, drawn_beside


class LearningByContrast(LearningFromError):
    """See the module."""

    def beside(self, row: str, train: TrainingRows, shots: int) -> list[str]:
        near = train.nearest_right(row, shots)
        form = drawn_beside(row, train, without=near)
        return [*form, *(i for i in near if i not in form)]
