"""A sample of a log of Inspect, as its `EvalSample` is in JSON.

{"id": "q2", "epoch": 1, "input": "A box holds ...", "choices": null, "target": "24", "metadata": {"source": "made"},
 "output": {"completion": "It is 10", ...}, "scores": {"match": {"value": "I", "answer": "10", "explanation": "It is 10"}}}
"""

from collections.abc import Iterator
from typing import Any

from pada_agent.components.core.foreign.answered import Answered, chat_text, share, texts
from pada_agent.components.core.records import Fields

_VALUES = {"c": 1.0, "i": 0.0, "p": 0.5, "n": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}


def of_inspect(raw: Fields, where: str) -> Answered | None:
    """One sample; None for one that broke off before there was an answer."""
    answer = raw.get("output") or {}
    output = str(answer.get("completion") or chat_text([c.get("message") for c in answer.get("choices") or []]))
    scores: dict[str, Any] = raw.get("scores") or {}
    if raw.get("error") and not scores:
        return None
    asked = raw.get("input")
    first: dict[str, Any] = next(iter(scores.values()), {})
    users = [m for m in asked if m.get("role") == "user"] if isinstance(asked, list) else []
    question = chat_text(users[-1] if users else asked)
    epoch, why = int(raw.get("epoch") or 1), str(first.get("explanation") or "")
    no_answer = first.get("value") == "N"
    return Answered(
        where=where,
        output=output,
        sources=_sources(raw, question),
        id=str(raw.get("id", "")),
        run=f"epoch {epoch}" if epoch > 1 else "",
        prompt=chat_text(asked),
        question=question,
        reference=next(texts(raw.get("target")), ""),
        extracted="" if no_answer else None if first.get("answer") is None else str(first["answer"]),
        detail="" if why.strip() == output.strip() else why,
        metrics=dict(_metrics(scores)),
    )


def _sources(raw: Fields, question: str) -> list[Fields]:
    """The metadata first, which may be the whole row; what Inspect calls by its own names, by those that tasks use."""
    targets = list(texts(raw.get("target")))
    target, metadata = next(iter(targets), ""), raw.get("metadata") or {}
    named: Fields = {"question": question, "prompt": question, "input": question}
    named |= {"answer": target, "target": target, "answers": targets, "answerKey": target}
    if not (options := raw.get("choices")):
        return [named | metadata]
    letters = [chr(ord("A") + i) for i in range(len(options))]
    published = {"choices": {"text": options, "label": letters}}  # ARC's form
    return [named | {"choices": options, "options": options} | metadata, named | published | metadata]


def _metrics(scores: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for scorer, score in scores.items():
        value = score.get("value")
        for name, one in value.items() if isinstance(value, dict) else [("", value)]:
            number = _VALUES.get(one.casefold()) if isinstance(one, str) else share(one)
            if number is not None:
                yield (f"{scorer}/{name}" if name else scorer), number
