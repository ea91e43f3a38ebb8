"""Tasks whose answers can be run: a teacher may write the answer first, and the question once its result is known.

answer    {"tables": "customers(city)", "sql": "SELECT city FROM customers GROUP BY city HAVING COUNT(*) > 2"}
run       2 rows of (city), the first: 'Oslo'; 'Porto'
question  {"question": "Which cities have more than two customers?"}
"""

from abc import abstractmethod
from typing import ClassVar, Literal

from pydantic import BaseModel

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields
from pada_agent.components.core.tasks.task import Order, Task


class AnswerFirst(Task):
    """A task that can be written in either order. `verify` must need nothing of the question."""

    Answer: type[BaseModel]  # of what a teacher writes first
    Question: type[BaseModel]  # of what it adds when the answer has been run
    shapes: ClassVar[str]  # what answers can differ in, told to the teacher
    asked_features: ClassVar[frozenset[str]] = frozenset()  # those that a row may owe to its question

    @abstractmethod
    def answer_of(self, fields: Fields) -> BaseModel:
        """A training row's answer, as an `Answer`: the example in the prompt."""

    @abstractmethod
    def question_of(self, fields: Fields) -> BaseModel:
        """A training row's question, as a `Question`."""

    @abstractmethod
    def answered(self, answer: BaseModel) -> Fields:
        """The fields of an `Answer` whose question is not written yet. Raises InputError with what is wrong, as feedback."""

    @abstractmethod
    def result_of(self, fields: Fields) -> str:
        """What running an answer gave, in one line for the teacher; it is one that `verify` found right."""

    @abstractmethod
    def with_question(self, fields: Fields, question: BaseModel) -> Fields:
        """An answer's fields with its `Question`. Raises InputError with what is wrong, as feedback."""


def answer_first(task: Task, order: Literal["", Order]) -> AnswerFirst | None:
    """The task, if its answers are to be written first; '' is what the task says. Raises InputError if it cannot."""
    if (order or task.order) == "question_first":
        return None
    check_order(type(task), order)
    assert isinstance(task, AnswerFirst)
    return task


def check_order(task: type[Task], order: Literal["", Order]) -> None:
    """Raises InputError if rows of the task cannot be written in this order."""
    if order == "answer_first" and not issubclass(task, AnswerFirst):
        raise InputError(f"generate.order: answer_first needs answers that can be run, and {task.name} has none; leave it out")
