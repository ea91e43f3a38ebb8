"""SQuAD v1.1: a question on a paragraph, answered with words copied from it.

    {"id": "57097051ed30961900e84136", "title": "Sky_(United_Kingdom)", "context": "... over 100,000 digiboxes had been sold ...",
     "question": "Within the 30 days how many digiboxes had been sold?",
     "answers": {"text": ["100,000", "over 100,000", "100,000"], "answer_start": [562, 557, 562]}}

Exact match as in the official v1.1 script: "The cat!" is "cat". Its F1 of words is reported beside it.
"""

import hashlib
import random
import re
import string
from collections import Counter
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields, Score
from pada_agent.components.core.tasks.rephrasing import Rephrasable
from pada_agent.components.core.tasks.task import CodeRunner, Message, Solution

AGREE_F1 = 0.5  # from here a span and a longer one with the same words are one answer: "1066" and "in the year 1066"
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_DATE = re.compile(rf"\b(?:{_MONTHS})\b|\b(?:1[0-9]|20)\d\ds?\b")
_NUMBER = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|hundreds?|thousands?|millions?|billions?|half)\b"
)
_ASKS = re.compile(r"\b(how (?:many|much)|how|who|whom|whose|when|where|why|which|what)\b")


class SquadRow(BaseModel):
    """A paragraph, a question, and all the answers that people gave."""

    context: str = Field(min_length=1)
    question: str = Field(min_length=1)
    answers: list[str] = Field(min_length=1)

    @field_validator("answers", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        return value.get("text") if isinstance(value, dict) else value


class SquadSample(BaseModel):
    """What a teacher writes."""

    model_config = ConfigDict(extra="forbid")

    context: str = Field(
        min_length=120,
        description="factual sentences as in an encyclopedia, as many as in the examples, with names, dates or numbers",
    )
    question: str = Field(min_length=10, description="a question that the paragraph answers, in other words")
    answer: str = Field(min_length=1, description="the shortest words that answer it, copied from the paragraph")


def normalise(text: str) -> str:
    """Lower case, without ASCII punctuation, articles and extra spaces (in that order)."""
    bare = re.sub(r"\b(?:a|an|the)\b", " ", text.lower().translate(_PUNCTUATION))
    return " ".join(bare.split())


class SquadSolution(Solution):
    """What a solver writes."""

    work: str = Field(default="", description="the sentence of the text that answers it", json_schema_extra={"maxLength": 300})
    answer: str = Field(description="the shortest words that answer it, copied from the text")


def word_f1(a: str, b: str) -> float:
    """F1 of the words of two texts, 0 to 1; 0 where one has none, also if both have none, as in the official script."""
    left, right = _words(a), _words(b)
    common = (left & right).total()
    return 2 * common / (left.total() + right.total()) if common else 0.0


def one_span(a: str, b: str) -> bool:
    """Whether one answer has all the words of the other, and not many more: F1 from AGREE_F1.

    F1 alone would take 5 million for 7 million, and King Harold for King William.
    """
    left, right = _words(a), _words(b)
    return (left <= right or right <= left) and word_f1(a, b) >= AGREE_F1


class Squad(Rephrasable):
    """Options: none."""

    name = "squad"
    metric: ClassVar[str] = "exact match"
    description = (
        "The user gives a paragraph and a question about it; the answer is the shortest run of words, copied from the "
        "paragraph without any change, that answers the question: a name, a date, a number or a phrase, not a sentence. "
        "Scored by exact match without capitals, punctuation and articles."
    )
    max_new_tokens = 32
    context = "context"
    Schema = SquadRow
    Sample = SquadSample
    Solved = SquadSolution

    def read(self, raw: Fields) -> Fields:
        """As Task.read. Raises InputError for a row without an answer, as SQuAD 2 has them."""
        fields = super().read(raw)
        if not any(normalise(answer) for answer in fields["answers"]):
            raise InputError("answers: none has a word in it; unanswerable questions cannot be scored")
        return fields

    def group(self, raw: Fields) -> str:
        """The article; without a title the paragraph."""
        return str(raw.get("title") or hashlib.sha256(str(raw.get("context")).encode()).hexdigest()[:16])

    def messages(self, fields: Fields) -> list[Message]:
        text = (
            f"{fields['context']}\n\nQuestion: {fields['question']}\n"
            "Answer with the shortest words copied from the text above, nothing else."
        )
        return [{"role": "user", "content": text}]

    def target(self, fields: Fields) -> str:
        return str(fields["answers"][0])

    def score(self, fields: Fields, output: str, run_code: CodeRunner) -> Score:
        answer = output.strip().split("\n")[0].strip()
        if not answer:
            return Score(correct=False, valid=False, detail="empty", extra={"f1": 0.0})
        extra = {"f1": max(word_f1(answer, gold) for gold in fields["answers"])}
        if normalise(answer) in {normalise(gold) for gold in fields["answers"]}:
            return Score(correct=True, valid=True, predicted=answer, extra=extra)
        return Score(correct=False, valid=True, predicted=answer, detail=_difference(answer, fields), extra=extra)

    def question(self, fields: Fields) -> str:
        return f"{fields['context']}\nQuestion: {fields['question']}"

    def private_texts(self, fields: Fields) -> list[str]:
        """Without the answers: a name or a year may well be the answer to another question."""
        return [fields["question"], fields["context"]]

    def features(self, fields: Fields) -> set[str]:
        return {_question_feature(fields["question"]), _answer_feature(fields["answers"][0])}

    def sample_of(self, fields: Fields) -> SquadSample:
        answer = fields["answers"][0]
        # Not validated: a training row that is shorter than a sample must be is still shown as it is.
        return SquadSample.model_construct(context=fields["context"], question=fields["question"].strip(), answer=answer)

    def fields_of(self, sample: BaseModel, seed: Fields) -> Fields:
        assert isinstance(sample, SquadSample)
        context, question = " ".join(sample.context.split()), " ".join(sample.question.split())
        answer = " ".join(sample.answer.split())
        span = re.search(re.escape(answer), context) or re.search(re.escape(answer.rstrip(".")), context, re.IGNORECASE)
        if not span or not normalise(span.group()):
            raise InputError(f"answer: '{answer}' is not in the context; copy it from there word for word")
        return {"context": context, "question": question, "answers": [span.group()]}

    def wording(self, fields: Fields) -> str:
        return str(fields["question"])

    def with_wording(self, fields: Fields, text: str) -> Fields:
        return {**fields, "question": " ".join(text.split())}

    def verify(self, fields: Fields, run_code: CodeRunner) -> str:
        answer = normalise(fields["answers"][0])
        given_away = re.search(rf"\b{re.escape(answer)}\b", normalise(fields["question"]))
        return f"the question gives its answer '{answer}' away" if given_away else ""

    def unusable(self, answer: str) -> str:
        return "" if normalise(answer) else "has no word in it"

    def spoil(self, fields: Fields, draw: random.Random) -> str:
        """Other words of the passage, of the same kind where there are some: a name for a name, a number for a number."""
        own = {word for answer in fields["answers"] for word in normalise(answer).split()}
        length = len(fields["answers"][0].split())
        words = fields["context"].split()
        spans = [" ".join(words[i : i + length]).strip(string.punctuation) for i in range(len(words) - length + 1)]
        others = [s for s in spans if normalise(s) and own.isdisjoint(normalise(s).split())]
        alike = [s for s in others if _answer_feature(s) == _answer_feature(fields["answers"][0])]
        return draw.choice(alike or others) if others else ""

    def agrees(self, fields: Fields, solution: Solution, run_code: CodeRunner) -> Score:
        """By exact match, or with some words more or fewer: where an answer ends is a matter of taste."""
        score = self.score(fields, solution.answer, run_code)
        close = any(one_span(score.predicted, gold) for gold in fields["answers"])
        return Score(correct=True, valid=True, predicted=score.predicted) if close else score


def _words(text: str) -> Counter[str]:
    return Counter(normalise(text).split())


def _difference(answer: str, fields: Fields) -> str:
    right = fields["answers"][0]
    if normalise(right) in normalise(answer):
        return f"'{answer}' says more than the right words '{right}'"
    if normalise(answer) and normalise(answer) in normalise(right):
        return f"'{answer}' says less than the right words '{right}'"
    if normalise(answer) not in normalise(fields["context"]):
        return f"'{answer}' is not copied from the paragraph; right is '{right}'"
    return f"'{answer}' is another part of the paragraph; right is '{right}'"


def _question_feature(question: str) -> str:
    asks = _ASKS.search(question.lower())
    if not asks:
        return "question without a question word"
    word = {"whom": "who", "whose": "who", "how much": "how many"}.get(asks.group(1), asks.group(1))
    return f"{word} question"


def _answer_feature(answer: str) -> str:
    if _DATE.search(answer):
        return "date as answer"
    if _NUMBER.search(answer.lower()):
        return "number as answer"
    words = answer.split()
    if len(words) > 5:
        return "answer of more than five words"
    if any(word[:1].isupper() for word in words):
        return "name as answer"
    return "word or phrase as answer"
