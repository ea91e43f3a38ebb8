"""Asks for texts that leave the analysis, and lets none of them quote held-out data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pada_agent.components.core.llm_interface import Llm, LlmRequest, Reply

R = TypeVar("R", bound=Reply)


@dataclass
class Screened(Generic[R]):
    """Replies that passed the screen, None where none did, and how often the screen struck."""

    values: list[R | None]
    struck: int = 0
    redrafted: int = 0


def ask_screened(
    llm: Llm, what: str, builders: Sequence[Callable[[str, int], LlmRequest[R]]], screen: Callable[[str], str], redrafts: int
) -> Screened[R]:
    """One reply for each builder of a request from feedback and the number of the attempt, all of whose fields are texts.

    What quotes held-out data is asked for again with the reason, at most `redrafts` times.
    """
    result = Screened[R]([None] * len(builders))
    open_requests = dict.fromkeys(range(len(builders)), "")
    for attempt in range(redrafts + 1):
        if not open_requests:
            break
        replies = llm.ask_all(what, [builders[i](feedback, attempt) for i, feedback in open_requests.items()])
        asked, open_requests = list(open_requests), {}
        for i, reply in zip(asked, replies, strict=True):
            if reply.value is None:
                continue
            reason = next(filter(None, map(screen, reply.value.model_dump().values())), "")
            if reason:
                result.struck += 1
                open_requests[i] = reason
            else:
                result.values[i] = reply.value
                result.redrafted += attempt > 0
    return result
