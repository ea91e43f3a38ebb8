"""What a stage asks of an LLM and what it gets back. The client behind it is handed in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.tasks.task import Message

T = TypeVar("T")


@dataclass(frozen=True)
class LlmRequest(Generic[T]):
    """One question to an LLM whose answer is JSON.

    `key` names it in logs (analyse/it1/val-017). `parse` turns the JSON value into what the stage wants and raises ValueError
    with a one-line reason that the model is told when it is asked again. `salt` tells requests apart that read the same, e.g.
    attempts: equal requests with equal salt are paid once. `max_tokens` 0 is the settings' own.
    """

    key: str
    messages: Sequence[Message]
    schema: dict[str, Any]
    parse: Callable[[Any], T]
    temperature: float
    salt: str = ""
    max_tokens: int = 0


@dataclass(frozen=True)
class LlmReply(Generic[T]):
    """The answer: `value` is None exactly when `error` says why. `request_hash` is the ledger key of the call that gave it."""

    value: T | None
    request_hash: str
    error: str = ""


class Llm(Protocol):
    """An LLM that is asked many things at once."""

    @property
    def usage(self) -> Usage:
        """What was asked so far, without what was spent before."""
        ...

    def ask_all(self, label: str, requests: Sequence[LlmRequest[T]]) -> list[LlmReply[T]]:
        """One reply for each request, in order, while progress is shown under `label`.

        A request that fails does not stop the others, and a cap that is reached gives `error="budget: ..."` to those not paid.
        Raises EndpointError when the endpoint is gone or refuses the key or the model.
        """
        ...
