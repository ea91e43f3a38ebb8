"""Asks for texts that leave the analysis, and lets none of them quote held-out data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pada_agent.components.core.llm_interface import Llm, LlmRequest

Texts = dict[str, str]
Builder = Callable[[str, int], LlmRequest[Texts]]  # feedback and attempt -> request


@dataclass
class Screened:
    """Replies that passed the screen, None where none did, and how often the screen struck."""

    values: list[Texts | None]
    struck: int = 0
    redrafted: int = 0


def ask_screened(llm: Llm, label: str, builders: Sequence[Builder], screen: Callable[[str], str], redrafts: int) -> Screened:
    """One reply for each builder. What quotes held-out data is asked for again with the reason, at most `redrafts` times."""
    result = Screened([None] * len(builders))
    open_requests = dict.fromkeys(range(len(builders)), "")
    for attempt in range(redrafts + 1):
        if not open_requests:
            break
        replies = llm.ask_all(label, [builders[i](feedback, attempt) for i, feedback in open_requests.items()])
        asked, open_requests = list(open_requests), {}
        for i, reply in zip(asked, replies, strict=True):
            if reply.value is None:
                continue
            reason = next(filter(None, map(screen, reply.value.values())), "")
            if reason:
                result.struck += 1
                open_requests[i] = reason
            else:
                result.values[i] = reply.value
                result.redrafted += attempt > 0
    return result


def text_schema(**lengths: int) -> dict[str, Any]:
    """JSON schema of an object of texts with at most so many characters: small teachers ramble until they are cut off."""
    properties = {name: {"type": "string", "minLength": 1, "maxLength": length} for name, length in lengths.items()}
    return {"type": "object", "properties": properties, "required": list(lengths), "additionalProperties": False}


def parse_texts(*names: str) -> Callable[[Any], Texts]:
    """Parser of such an object that keeps `names`. Raises ValueError for what is not there or empty."""

    def parse(value: Any) -> Texts:
        if not isinstance(value, dict):
            raise ValueError("the reply must be a JSON object")
        for name in names:
            if not isinstance(value.get(name), str) or not value[name].strip():
                raise ValueError(f'"{name}" must be a text that is not empty')
        return {name: _whole(value[name].strip()) for name in names}

    return parse


def _whole(text: str) -> str:
    """Without a last sentence that the schema's bound cut off."""
    end = max(text.rfind(mark) for mark in ".!?")
    return text if end < 0 or text[-1] in ".!?" else text[: end + 1]
