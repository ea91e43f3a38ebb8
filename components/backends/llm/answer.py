"""What a reply of HTTP 200 holds: a completion, or an error that should have had a status of its own.

Routers such as OpenRouter answer 200 before the model has begun; what goes wrong afterwards comes in the body:

    {"error": {"code": 429, "message": "Provider returned error", "metadata": {...}}}
    {"choices": [{"finish_reason": "error", "error": {"code": 502, "message": "..."}, "message": {"content": "half a"}}]}
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNKNOWN = 500  # of an error that names no status: it may pass
_STATUS = {
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
    "unsupported_parameter": 400,
    "unsupported_value": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "insufficient_quota": 402,
    "insufficient_credits": 402,
    "permission_error": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "timeout": 408,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "too_many_requests": 429,
    "resource_exhausted": 429,
    "overloaded_error": 503,
    "service_unavailable": 503,
}


@dataclass(frozen=True)
class Answer:
    """A completion; token counts are None where the server does not say. `cached_tokens` are part of the input's.

    `reasoning` is what the server holds to be the model's thought and not its answer.
    """

    text: str
    finish: str
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int = 0
    reasoning: str = ""


class NoCompletion(Exception):
    """The body is none. `status` is the HTTP status that its error object names, 0 where there is no error object."""

    def __init__(self, status: int) -> None:
        super().__init__(f"no completion, status {status}")
        self.status = status


def read_answer(body: str) -> Answer:
    """The completion in the body of a reply of HTTP 200. Raises NoCompletion."""
    try:
        value = json.loads(body)
        _check_error(value)
        choice = value["choices"][0]
        _check_error(choice)
        message = choice["message"]
        content = message.get("content") or ""
        if isinstance(content, list):
            content = "".join(part.get("text", "") for part in content)
        finish = "content_filter" if message.get("refusal") and not content else choice.get("finish_reason") or ""
        usage = value.get("usage") or {}
        counted = usage.get("prompt_tokens")
        reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
        return Answer(str(content), str(finish), counted, usage.get("completion_tokens"), _cached(usage, counted), str(reasoning))
    except (ValueError, LookupError, TypeError, AttributeError) as e:
        raise NoCompletion(0) from e


def _check_error(part: Mapping[str, Any]) -> None:
    if error := part.get("error"):
        raise NoCompletion(_status(error) if isinstance(error, dict) else UNKNOWN)
    if part.get("finish_reason") == "error":
        raise NoCompletion(UNKNOWN)


def _status(error: Mapping[str, Any]) -> int:
    for name in ("code", "status", "type"):
        said = str(error.get(name)).lower()
        if said.isdecimal() and 400 <= int(said) <= 599:
            return int(said)
        if said in _STATUS:
            return _STATUS[said]
    return UNKNOWN


def _cached(usage: Mapping[str, Any], counted: int | None) -> int:
    """Input tokens that the server had cached, as OpenAI, DeepSeek, Anthropic and Moonshot name them."""
    names = ("prompt_cache_hit_tokens", "cache_read_input_tokens", "cached_tokens")
    said = [(usage.get("prompt_tokens_details") or {}).get("cached_tokens"), *map(usage.get, names)]
    return min(next((n for n in said if n), 0), counted or 0)
