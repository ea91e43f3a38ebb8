"""What a stage asks of an LLM and what it gets back. The client behind it is handed in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.tasks.task import Message
from pada_agent.components.core.validation import validation_message

T = TypeVar("T")
R = TypeVar("R", bound="Reply")


class Reply(BaseModel):
    """Base of what an LLM is to answer: its fields go out as a JSON schema, and what comes back is validated by them.

    The schema asks for every field, in their order. Reading is more lenient: what has a default may be missing, what has
    another name is ignored, and a bound that is only in the schema (`json_schema_extra`) is the server's business.
    """

    model_config = ConfigDict(frozen=True, str_strip_whitespace=True)

    @classmethod
    def schema_asked(cls) -> dict[str, Any]:
        """The JSON schema, without $ref: not every server's grammar follows one."""
        return {**_flat_schema(cls), "required": list(cls.model_fields), "additionalProperties": False}

    @classmethod
    def read(cls, value: Any) -> Self:
        """The reply in a JSON value. Raises ValueError with one line that the LLM is told."""
        if not isinstance(value, dict):
            raise ValueError("the reply must be a JSON object")
        try:
            return cls.model_validate(value)
        except ValidationError as e:
            raise ValueError(validation_message(e)) from e


@dataclass(frozen=True)
class LlmRequest(Generic[T]):
    """One question to an LLM whose answer is JSON; without a `schema` any text, as the model ends it or `max_tokens` cuts it.

    `key` names it in logs (analyse/it1/val-017). `parse` turns the JSON value into what the stage wants and raises ValueError
    with a one-line reason that the model is told when it is asked again. `salt` tells apart requests that read the same, e.g.
    attempts: equal requests with equal salt are paid once. `max_tokens` 0 is the settings' own.
    """

    key: str
    messages: Sequence[Message]
    schema: dict[str, Any]
    parse: Callable[[Any], T]
    temperature: float
    salt: str = ""
    max_tokens: int = 0

    @staticmethod
    def of(reply: type[R], key: str, messages: Sequence[Message], temperature: float, salt: str = "") -> "LlmRequest[R]":
        """Asks for a `reply`."""
        return LlmRequest(key, messages, reply.schema_asked(), reply.read, temperature, salt)

    @staticmethod
    def text(key: str, messages: Sequence[Message], max_tokens: int, salt: str = "") -> "LlmRequest[str]":
        """Asks for the likeliest text of at most `max_tokens` tokens."""
        return LlmRequest(key, messages, {}, str, 0.0, salt, max_tokens)


@dataclass(frozen=True)
class LlmReply(Generic[T]):
    """The answer: `value` is None exactly when `error` says why. `request_hash` is the ledger key of the call that gave it.

    `unasked` says that a cap stopped the request: that is not a failure of the LLM.
    """

    value: T | None
    request_hash: str
    error: str = ""
    unasked: bool = False


class Llm(Protocol):
    """An LLM that is asked many things at once."""

    @property
    def usage(self) -> Usage:
        """What was asked so far; what was spent earlier is not in it."""
        ...

    def ask_all(self, what: str, requests: Sequence[LlmRequest[T]]) -> list[LlmReply[T]]:
        """One reply for each request, in order, while progress is shown, as '3 of 40' and then `what`.

        A request that fails does not stop the others, and a cap that is reached leaves the rest `unasked`.
        Raises EndpointError when the endpoint is gone or refuses the key or the model.
        """
        ...


class _Plain(GenerateJsonSchema):
    """Without what is written for programmers: titles, defaults, docstrings. Descriptions of fields stay."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])

    def model_schema(self, schema: Any) -> dict[str, Any]:
        return {k: v for k, v in super().model_schema(schema).items() if k not in {"title", "description"}}


@lru_cache(maxsize=64)
def _flat_schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(schema_generator=_Plain)
    definitions = schema.pop("$defs", {})

    def flat(part: Any) -> Any:
        if isinstance(part, list):
            return [flat(p) for p in part]
        if not isinstance(part, dict):
            return part
        if isinstance(name := part.get("$ref"), str):
            return flat({**definitions[name.removeprefix("#/$defs/")], **{k: v for k, v in part.items() if k != "$ref"}})
        return {k: flat(v) for k, v in part.items()}

    plain: dict[str, Any] = flat(schema)
    return plain
