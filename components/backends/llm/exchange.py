"""One request and its re-asking, without any network: what is to be sent next, and what a reply makes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pada_agent.components.backends.llm.ledger.calls import Call, call_key
from pada_agent.components.backends.llm.reply import CUT_OFF, MISPLACED, Reading, read_reply
from pada_agent.components.backends.llm.thoughts import without_thoughts
from pada_agent.components.core.llm_interface import LlmReply, LlmRequest
from pada_agent.components.core.tasks.task import Message

T = TypeVar("T")
REASKS = 2
QUOTED = 2000  # characters of an unusable reply that the model is shown again
HINTS = {
    "cut off": "Be brief: your last answer was too long and was cut off.",
    "filtered": "Answer in plain, factual words; your last answer was stopped by a content filter.",
    "empty": "Your last answer was empty. Answer with JSON.",
}


@dataclass
class Exchange(Generic[T]):
    """Sends nothing itself. Every step follows from the replies alone, so that a replay takes the same steps."""

    request: LlmRequest[T]
    model: str
    usual_room: int  # the settings' max_tokens
    extras: Mapping[str, Any] = field(default_factory=dict)  # what the settings add to the body
    reply: LlmReply[T] | None = None
    troubles: list[str] = field(default_factory=list)  # kinds, in the order met
    form: int = 0  # of asking for JSON, see dialect.py
    refused: bool = False
    messages: list[Message] = field(init=False)
    key: str = field(init=False)
    first_key: str = field(init=False)
    _room: int = field(init=False)
    _reasked: int = 0

    def __post_init__(self) -> None:
        self._room = self.request.max_tokens
        self._ask(self.request.messages)
        self.first_key = self.key

    @property
    def schema(self) -> dict[str, Any]:
        return self.request.schema

    @property
    def max_tokens(self) -> int:
        """Room for the next reply, tokens."""
        return self._room or self.usual_room

    def hear(self, call: Call) -> Reading[T]:
        """Take a reply: either the exchange is over and has its `reply`, or there is more to ask."""
        if not self.schema:
            return self._hear_text(call)
        reading = read_reply(call.text, call.finish, self.schema, self.request.parse, call.reasoning)
        if reading.kind:
            self.troubles.append(reading.kind)
        if not reading.error:
            self.reply = LlmReply(reading.value, self.key)
        elif self._reasked == REASKS or (reading.kind in {"cut off", "filtered"} and self.troubles.count(reading.kind) > 1):
            times = f"{self._reasked + 1} replies could not be used" if self._reasked else "a reply could not be used"
            room = f" at {self.max_tokens} tokens (max_tokens)" if call.finish in CUT_OFF else ""
            self.fail(f"{times}; the last: {reading.error}{room}")
        else:
            self._ask_again(call.reasoning or call.text, reading)
        return reading

    def replays(self, call: Call) -> bool:
        """Whether a reply of an earlier start is heard again. A text that was none is asked for anew, of a mended server."""
        return bool(self.schema) or not self._wrong(call)

    def _hear_text(self, call: Call) -> Reading[T]:
        if wrong := self._wrong(call):
            self.fail(wrong)
            return Reading(kind="cut off", error=wrong)
        reading = Reading(self.request.parse(call.text), fits=True)
        self.reply = LlmReply(reading.value, self.key)
        return reading

    def _wrong(self, call: Call) -> str:
        """Why a text is no answer. Whatever came is one, also if it is empty or as long as it may be."""
        if call.reasoning and not call.text.strip():
            return MISPLACED
        # Half of it, since the number is a guess where a server does not count.
        if call.finish in CUT_OFF and call.output_tokens < self.max_tokens // 2:
            return (
                f"the server cut the answer after {call.output_tokens} of {self.max_tokens} tokens: its context is full; give it "
                "a longer one, or lower evaluate.max_new_tokens"
            )
        return ""

    def fail(self, error: str, unasked: bool = False) -> None:
        """End without a value."""
        self.reply = LlmReply(None, self.key, error, unasked)

    def leave(self, error: str) -> None:
        """End because a cap does not allow asking (further)."""
        self.fail(error, unasked=True)

    def refuse(self, error: str) -> None:
        """End because the endpoint does not take this request."""
        self.refused = True
        self.troubles.append("refused by the endpoint")
        self.fail(error)

    def _ask_again(self, text: str, reading: Reading[T]) -> None:
        self._reasked += 1
        if reading.kind == "cut off":
            self._room = 2 * self.max_tokens
        if reading.kind in HINTS:
            self._ask(with_hint(self.messages, HINTS[reading.kind]))
        else:
            again = (
                "This cannot be used" if self._reasked == 1 else "That is still not what was asked for"
            )  # else an equal request
            wrong = f"{again}: {reading.error}. Send the whole answer again, put right, as JSON and nothing else."
            quoted = {"role": "assistant", "content": (without_thoughts(text) or text)[:QUOTED]}
            self._ask([*self.request.messages, quoted, {"role": "user", "content": wrong}])

    def _ask(self, messages: Sequence[Message]) -> None:
        self.messages = list(messages)
        self.key = call_key(
            self.model, messages, self.schema, self.request.temperature, self.request.salt, self._room, self.extras
        )


def with_hint(messages: Sequence[Message], hint: str) -> list[Message]:
    """The messages with a hint at their end. No new message: many chat templates refuse two of one role in a row."""
    *before, last = messages
    return [*before, {**last, "content": f"{last['content']}\n\n{hint}"}]
