"""HellaSwag: which of four endings continues a text.

    {"ind": 18176, "ctx": "Skateboarding: A police officer is shown performing spins ... Another man",
     "endings": ["is shown performing tricks ...", "walks up and gives him a high five.", ...], "label": "1"}

The model answers with a letter. Published figures rank the endings by likelihood instead: the two are not comparable.
"""

import re
from typing import Annotated

from pydantic import Field

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields
from pada_agent.components.core.tasks.multiple_choice import MultipleChoice, MultipleChoiceSample, letter_of


class HellaSwagSample(MultipleChoiceSample):
    """What a teacher writes."""

    question: str = Field(
        min_length=40,
        description="'Topic: ' and one to three sentences of a video description or a how-to article, up to the ending",
    )
    correct: str = Field(min_length=8, description="the one sensible ending")
    wrong: list[Annotated[str, Field(min_length=8)]] = Field(
        min_length=3,
        max_length=3,
        description="three endings of the same length and style that common sense rules out",
    )


def clean(text: str) -> str:
    """Text without the marks of the crawl it comes from, as the evaluation harnesses show it."""
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return re.sub(r" {2,}", " ", text).strip()


class HellaSwag(MultipleChoice):
    """Options: none."""

    name = "hellaswag"
    rephrased = "the beginning of a text that others go on with"
    description = (
        "The user gives the beginning of a short text, what happens in a video or a how-to article, and four lettered "
        "endings; the answer is the letter of the one ending that continues it sensibly. Wrong endings read well and "
        "stay on the topic, but common sense about people, things and the order of events rules them out."
    )
    Sample = HellaSwagSample

    def read(self, raw: Fields) -> Fields:
        """As Task.read. Raises InputError for a label that is not an ending, or is empty (the unlabelled test split)."""
        endings, context = raw.get("endings"), raw.get("ctx")
        if not isinstance(endings, list) or len(endings) != 4 or not all(isinstance(e, str) for e in endings):
            raise InputError("endings: must be a list of four texts")
        if isinstance(raw.get("ctx_a"), str) and raw.get("activity_label"):
            context = f"{raw['activity_label']}: {raw['ctx_a']} {str(raw.get('ctx_b') or '').capitalize()}"
        if not isinstance(context, str):
            raise InputError("ctx: is missing")
        if raw.get("label") in (None, ""):
            raise InputError("label: is missing; rows of the public test split have none")
        answer = letter_of(range(4), raw["label"])
        return super().read({"question": clean(context), "options": [clean(e) for e in endings], "answer": answer})

    def group(self, raw: Fields) -> str:
        """The video or article that the row was cut from."""
        return str(raw.get("source_id") or "")

    def stem(self, fields: Fields) -> str:
        return f"Which ending continues the text best?\n\n{fields['question']} ..."

    def question(self, fields: Fields) -> str:
        return f"Which ending continues the text? {super().question(fields)}"

    def private_texts(self, fields: Fields) -> list[str]:
        return [fields["question"], *fields["options"]]

    def features(self, fields: Fields) -> set[str]:
        how_to = re.match(r"[^.?!]{0,60}: How (?:to|do|can)\b", fields["question"])
        return {"how-to article" if how_to else "video description"}
