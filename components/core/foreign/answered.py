"""What all evaluators' files have in common: an output, the row it answers, and perhaps verdicts."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pada_agent.components.core.records import Fields


@dataclass(frozen=True)
class Answered:
    """One output of a model as an evaluator wrote it. The task has read nothing of it yet.

    `row` tells rows apart that have one id, `run` the outputs to one row or the verdicts on it: a filter, an epoch. `sources` are
    the row's fields, in each form that they may be meant in; `question` is what is known of it where
    `prompt` says more. `metrics` are from 0 to 1. `extracted` is what the evaluator
    read out of the output, None where it says nothing of that; `option` the number of the option that log-likelihoods chose.
    """

    where: str
    output: str
    sources: Sequence[Fields] = ()
    id: str = ""
    row: str = ""
    run: str = ""
    prompt: str = ""
    question: str = ""
    reference: str = ""
    extracted: str | None = None
    option: int | None = None
    detail: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


def share(value: Any) -> float | None:
    """A verdict or a graded metric as a number from 0 to 1, None for anything else: a perplexity, a pair of texts."""
    number = float(value) if isinstance(value, bool | int | float) else math.nan
    return number if 0 <= number <= 1 else None


def texts(value: Any) -> Iterator[str]:
    """The texts in nested lists, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def chat_text(content: Any) -> str:
    """All that a chat says, or the parts of one message: a text, a list of messages, of contents or of both."""
    if isinstance(content, dict):
        return chat_text(content.get("content", content.get("text", "")))
    if isinstance(content, list):
        return "\n".join(text for item in content if (text := chat_text(item)))
    return content if isinstance(content, str) else ""


def first_text(raw: Fields, names: Iterable[str]) -> str:
    """The first of these values that is a text or a whole number; '' if none is."""
    return next((str(raw[n]) for n in names if isinstance(raw.get(n), str | int) and raw[n] != ""), "")
