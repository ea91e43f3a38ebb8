"""Answers first: the teacher writes answers, they are run, and only those that stand get a question, in a second call.

SELECT city FROM customers GROUP BY city HAVING COUNT(*) > 2   ->   2 rows of (city), the first: 'Oslo'; 'Porto'   ->   question
"""

from collections.abc import Sequence
from functools import partial

from pydantic import BaseModel

from pada_agent.components.core.llm_interface import Llm, LlmReply, LlmRequest
from pada_agent.components.core.patterns.feature_pairs import with_pairs
from pada_agent.components.core.records import Batch, Fields
from pada_agent.components.core.separation.duplicates import normalise
from pada_agent.components.core.settings import GenerateSettings
from pada_agent.components.core.tasks.answer_first import AnswerFirst
from pada_agent.components.core.tasks.task import CodeRunner
from pada_agent.components.generate_data.batches import Sources
from pada_agent.components.generate_data.bounds import Forms
from pada_agent.components.generate_data.samples import Written, items_asked, read_each, read_items
from pada_agent.components.generate_data.shown import NOT_NEW, Shown

STAGE = "generate_data"
QUOTED = 200  # characters of a refused answer that the reason names


class AnswerWriter:
    """Writes the open batches of one link in two rounds of calls."""

    def __init__(
        self,
        task: AnswerFirst,
        sources: Sources,
        settings: GenerateSettings,
        forms: Forms,
        shown: Shown,
        run_code: CodeRunner,
        batches: Sequence[Batch],
    ) -> None:
        self._task, self._settings, self._shown, self._run_code = task, settings, shown, run_code
        self._forms, self._answer, self._question = forms, forms.answer or task.Answer, forms.question or task.Question
        rows: list[Fields] = [r.fields for r in sources.train]
        rows += [row.fields for b in batches for row in b.accepted]
        self._known = {self._identity(fields) for fields in rows}

    def write(self, todo: Sequence[Batch], teacher: Llm) -> list[LlmReply[Written]]:
        """What came of each batch, in order: rows, or why there are none. All answers are asked for before any question."""
        replies = teacher.ask_all("batches of answers written", [self._answers(b) for b in todo])
        replies = [self._run(b, reply) for b, reply in zip(todo, replies, strict=True)]
        standing = [i for i, reply in enumerate(replies) if reply.value and reply.value.rows]
        if standing:
            requests = [self._questions(todo[i], replies[i]) for i in standing]
            for i, asked in zip(standing, teacher.ask_all("batches of questions written", requests), strict=True):
                replies[i] = _both(replies[i], asked)
        return replies

    def _answers(self, batch: Batch) -> LlmRequest[Written]:
        return LlmRequest(
            key=f"answers/{batch.id}/{batch.attempt}",
            messages=self._task.prompts.render(STAGE, "answers", **self._shown.variables(batch)),
            schema=items_asked(self._answer, batch.missing),
            parse=lambda value: read_items(value, self._answer, self._task.answered, batch.missing),
            temperature=self._settings.temperature,
            salt=f"{batch.id}/{batch.attempt}",
        )

    def _run(self, batch: Batch, reply: LlmReply[Written]) -> LlmReply[Written]:
        """The reply with those of its answers that are right, on the pattern and new."""
        if reply.value is None:
            return reply
        rows, refused = [], list(reply.value.refused)
        for fields in reply.value.rows:
            if wrong := self._wrong(batch, fields):
                refused.append(f"{_short(self._task.reference(fields))}: {wrong}")
            else:
                self._known.add(self._identity(fields))
                rows.append(fields)
        return LlmReply(Written(rows, refused), reply.request_hash)

    def _wrong(self, batch: Batch, fields: Fields) -> str:
        if wrong := self._task.verify(fields, self._run_code):
            return wrong
        at_most = self._task.features(fields) | self._task.asked_features  # with what its question may bring
        if batch.focus and batch.focus not in with_pairs(at_most):
            return f"does not use {batch.focus}"
        return NOT_NEW if self._identity(fields) in self._known else ""

    def _identity(self, fields: Fields) -> str:
        return self._task.same_answer(fields) or normalise(self._task.reference(fields))

    def _whole(self, fields: Fields, question: BaseModel) -> Fields:
        return self._forms.short_enough(self._task, self._task.with_question(fields, question))

    def _questions(self, batch: Batch, reply: LlmReply[Written]) -> LlmRequest[Written]:
        assert reply.value is not None
        rows = reply.value.rows
        answers = [{"answer": self._task.reference(f), "result": self._task.result_of(f)} for f in rows]
        makers = [partial(self._whole, f) for f in rows]
        return LlmRequest(
            key=f"questions/{batch.id}/{batch.attempt}",
            messages=self._task.prompts.render(
                STAGE,
                "questions",
                **self._shown.variables(batch)
                | {"examples": self._shown.whole_examples(batch), "answers": answers, "count": len(answers)},
            ),
            schema=items_asked(self._question, len(answers)),
            parse=lambda value: read_each(value, self._question, makers, all_of_them=True),
            temperature=self._settings.temperature,
            salt=f"{batch.id}/{batch.attempt}",
        )


def _both(answers: LlmReply[Written], questions: LlmReply[Written]) -> LlmReply[Written]:
    """What the two calls gave; the rows are those of the second."""
    if answers.value is None or questions.value is None:
        return questions
    refused = [*answers.value.refused, *questions.value.refused]
    return LlmReply(Written(questions.value.rows, refused), questions.request_hash)


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= QUOTED else f"{flat[: QUOTED - 4]} ..."
