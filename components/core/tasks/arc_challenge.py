"""ARC-Challenge: science questions from school exams, with three to five options.

    {"id": "Mercury_7103565", "question": "High-pressure systems stop air from rising ... What will most likely result ...?",
     "choices": {"text": ["fog", "rain", "drought", "tornado"], "label": ["A", "B", "C", "D"]}, "answerKey": "C"}

Labels of a few rows are 1 to 4; the model sees A to D in all of them.
"""

from typing import Annotated

from pydantic import Field

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields
from pada_agent.components.core.tasks.multiple_choice import MultipleChoice, MultipleChoiceSample, letter_of, question_kind


class ArcChallengeSample(MultipleChoiceSample):
    """What a teacher writes."""

    question: str = Field(min_length=15, description="a science question for grades 3 to 9, without its options")
    correct: str = Field(min_length=1, description="the one right answer")
    wrong: list[Annotated[str, Field(min_length=1)]] = Field(
        min_length=2,
        max_length=4,
        description="three answers that are plausible but clearly wrong, of the same kind and length as the right one",
    )


class ArcChallenge(MultipleChoice):
    """Options: none."""

    name = "arc_challenge"
    description = (
        "The user asks a science question as in school exams of grades 3 to 9 and gives three to five lettered options; "
        "the answer is the letter of the one best option. A good question needs knowledge or a step of reasoning, and "
        "exactly one of its options is right."
    )
    Sample = ArcChallengeSample

    def read(self, raw: Fields) -> Fields:
        """As Task.read. Raises InputError for an answer key that is no label."""
        choices = raw.get("choices")
        if not isinstance(choices, dict) or not all(isinstance(choices.get(k), list) for k in ("text", "label")):
            raise InputError("choices: must be an object with the lists text and label")
        texts, labels = choices["text"], choices["label"]
        if len(texts) != len(labels) or not 3 <= len(texts) <= 5:
            raise InputError(f"choices: {len(texts)} texts and {len(labels)} labels; three to five of each are needed")
        if "answerKey" not in raw:
            raise InputError("answerKey: is missing")
        return super().read({**raw, "options": texts, "answer": letter_of(labels, raw["answerKey"])})

    def stem(self, fields: Fields) -> str:
        return str(fields["question"])

    def features(self, fields: Fields) -> set[str]:
        return question_kind(fields["question"])
