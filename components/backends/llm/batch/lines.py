"""The lines of a batch's files. What is sent, and what comes back in any order, in the output file or the error file:

    {"custom_id": "9f3c...", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-5-mini", "messages": [...]}}

    {"id": "batch_req_1", "custom_id": "9f3c...", "response": {"status_code": 200, "body": {"choices": [...]}}, "error": null}
    {"id": "batch_req_2", "custom_id": "77ab...", "response": {"status_code": 400, "body": {"error": {...}}}, "error": null}
    {"id": "batch_req_3", "custom_id": "c01d...", "response": null, "error": {"code": "batch_expired", "message": "..."}}

The custom_id is the key of the ledger: 64 characters, the most that any provider is known to take.
"""

import json
from collections.abc import Iterator
from typing import Any, Literal

from pada_agent.components.backends.llm.answer import Answer
from pada_agent.components.backends.llm.endpoint import Endpoint, Trouble
from pada_agent.components.core.errors import EndpointError

MOST_LINES = 50_000
MOST_BYTES = 200_000_000
URL: Literal["/v1/chat/completions"] = "/v1/chat/completions"  # whatever base_url ends in: it names the call, not an address


def request_line(key: str, body: dict[str, Any]) -> bytes:
    """One request of a batch."""
    return json.dumps({"custom_id": key, "method": "POST", "url": URL, "body": body}).encode() + b"\n"


def how_many(lines: list[bytes], most_lines: int) -> int:
    """How many of these lines, from the first, one file may hold."""
    size = 0
    for number, line in enumerate(lines[:most_lines]):
        size += len(line)
        if size > MOST_BYTES and number:
            return number
    return min(len(lines), most_lines)


def read_results(endpoint: Endpoint, text: bytes) -> Iterator[tuple[str, Answer | Trouble | EndpointError]]:
    """The key of each line, and the completion in it, or the trouble, or the error that ends the run. No line of another kind."""
    for line in text.splitlines():
        try:
            value = json.loads(line)
            yield str(value["custom_id"]), _outcome(endpoint, value)
        except (ValueError, LookupError, TypeError, AttributeError):
            continue  # its request counts as one without a line


def _outcome(endpoint: Endpoint, value: dict[str, Any]) -> Answer | Trouble | EndpointError:
    response, error = value.get("response"), value.get("error")
    if not response:
        code, said = (error or {}).get("code") or "", (error or {}).get("message") or ""
        kind = "not reached in its batch" if code in {"batch_expired", "batch_cancelled"} else "server error"
        return Trouble(kind, f"{code}: {said}")
    status, body = int(response["status_code"]), json.dumps(response.get("body"))
    if status != 200:
        return endpoint.refusal(status, body, {})
    try:
        return endpoint.read(body, {})
    except (Trouble, EndpointError) as e:
        return e
