"""How an endpoint wants to be asked for JSON; found out by asking, then remembered.

Many servers that speak the OpenAI API know only a part of it. The forms of asking, best first:

    json_schema           the server holds the model to the schema
    json_schema, bare     the same without bounds such as maxLength, which OpenAI's strict mode may refuse
    json_object, schema   llama-cpp-python's way to give a grammar: {"type": "json_object", "schema": {...}}
    json_object           any JSON; the schema is in the prompt
    plain                 no response_format at all; the schema is in the prompt
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from pada_agent.components.backends.llm.exchange import Exchange, with_hint
from pada_agent.components.backends.llm.reply import one_line
from pada_agent.components.backends.progress import notice
from pada_agent.components.core.tasks.task import Message

FORMS = ("json_schema", "json_schema, bare", "json_object, schema", "json_object", "plain")
# What servers add to greedy answers unless told not to: llama.cpp its default, vLLM what the model's generation_config.json says.
UNPUNISHED = {"repeat_penalty": 1.0, "repetition_penalty": 1.0}
OPTIONAL = ("seed", "temperature", "reasoning_effort", *UNPUNISHED)  # left out where they are refused
MOST_LISTED = 100
LONGEST_IN_GRAMMAR = 1000  # characters
_BOUNDS = {"minLength", "maxLength", "pattern", "format", "minItems", "maxItems", "minimum", "maximum", "default"}
_NAMES_FORMAT = re.compile(r"response_format|json_schema|json_object|grammar|guided|structured|schema", re.IGNORECASE)
_NAMES_CONTEXT = re.compile(r"context.{0,12}(length|window|size)|too long|too many tokens|maximum context", re.IGNORECASE)


class Dialect:
    """What is known of one endpoint: the form it takes, and parameters it refuses."""

    def __init__(self) -> None:
        self.form = 0  # the one that new requests start with
        self.dropped: set[str] = set()  # of OPTIONAL
        self.room = "max_tokens"
        self._proven: set[int] = set()
        self._of_schema: dict[str, int] = {}

    def start(self, schema: dict[str, Any]) -> int:
        """The form to ask with first."""
        return max(self.form, self._of_schema.get(_text(schema), 0))

    def answered(self, schema: dict[str, Any], form: int, fitting: bool) -> None:
        """The endpoint took `form`; `fitting` says whether the reply had the schema's shape.

        A form whose very first reply does not fit was taken and ignored: the next requests start one lower.
        """
        if not schema:  # asked for text
            return
        if fitting:
            self._proven.add(form)
        if self.form not in self._proven:
            ignored = not fitting and form not in self._proven and form < len(FORMS) - 1
            self.form = max(self.form, form + ignored)
        elif form > self.form:
            self._of_schema[_text(schema)] = form

    def refused(self, exchange: Exchange[Any], sent: dict[str, Any], status: int, text: str) -> str:
        """What the endpoint does not take, '' if it refuses for something else; the exchange's next try goes without it.

        `sent` is the body that was refused: others may have found out the same meanwhile.
        """
        if status not in {400, 422, 500, 501}:
            return ""
        if "max_tokens" in sent and "max_completion_tokens" in text:
            self.room = "max_completion_tokens"
            return "max_tokens"
        for name in OPTIONAL:
            if name in sent and re.search(rf"\b{name}\b", text) and "response_format" not in text:
                if name == "reasoning_effort" and name not in self.dropped:  # which somebody has set
                    notice(f"{name}: the endpoint does not take {sent[name]!r} and is asked without it: {one_line(text)}")
                if name == "temperature" and not exchange.schema and name not in self.dropped:
                    notice(f"temperature: the endpoint takes none, so that its answers are not greedy: {one_line(text)}")
                self.dropped.add(name)
                return name
        if not exchange.schema:  # there is no response_format to do without
            return ""
        form = exchange.form
        doubtful = status in {400, 422} and form not in self._proven and not _NAMES_CONTEXT.search(text)
        if form < len(FORMS) - 1 and (_NAMES_FORMAT.search(text) or doubtful):
            skip = FORMS[form + 1] == "json_schema, bare" and _bare(exchange.schema) == exchange.schema
            exchange.form = form + 1 + skip
            return "response_format"
        return ""

    def body(self, exchange: Exchange[Any], seed: int) -> dict[str, Any]:
        """The request body, all but the model."""
        schema, name = _for_grammars(exchange.schema), FORMS[exchange.form] if exchange.schema else ""
        told = bool(schema) and exchange.form >= FORMS.index("json_object")
        body: dict[str, Any] = {
            "messages": _with_schema(exchange.messages, schema) if told else exchange.messages,
            "temperature": exchange.request.temperature,
            "seed": seed,
            self.room: exchange.max_tokens,
        }
        if name.startswith("json_schema"):
            asked = _bare(schema) if name.endswith("bare") else schema
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "reply", "strict": True, "schema": asked},
            }
        elif name == "json_object, schema":
            body["response_format"] = {"type": "json_object", "schema": _enumerated(schema)}
            # Its default of 1.1 punishes what was written before: three equal scores, the keywords of a second SQL query.
            body["repeat_penalty"] = 1.0
        elif name == "json_object":
            body["response_format"] = {"type": "json_object"}
        elif not schema:
            body |= UNPUNISHED
        body |= exchange.extras
        return {k: v for k, v in body.items() if k not in self.dropped}


def _with_schema(messages: Sequence[Message], schema: dict[str, Any]) -> list[Message]:
    told = f"Answer with one JSON value and nothing else. It must match this JSON schema:\n{_text(schema)}"
    first, *after = messages
    # In the system message if there is one: there it is part of the prefix that servers keep from call to call.
    return [*with_hint([first], told), *after] if first["role"] == "system" else with_hint(messages, told)


def _for_grammars(schema: Any) -> Any:
    """Without long bounds: servers that turn a schema into a grammar write out every repetition. The reader keeps them."""
    if isinstance(schema, list):
        return [_for_grammars(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    bound = schema.get("maxLength")
    too_long = isinstance(bound, int) and bound > LONGEST_IN_GRAMMAR
    return {k: _for_grammars(v) for k, v in schema.items() if not (k == "maxLength" and too_long)}


def _bare(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {k: _bare(v) for k, v in schema.items() if k not in _BOUNDS or isinstance(v, dict)}
    return [_bare(v) for v in schema] if isinstance(schema, list) else schema


def _enumerated(schema: Any) -> Any:
    """llama-cpp-python's grammars know no minimum and maximum: a short range of whole numbers becomes a list of them."""
    if isinstance(schema, dict):
        if schema.get("type") == "integer" and 0 <= schema.get("maximum", -1) - schema.get("minimum", 0) < MOST_LISTED:
            return {"enum": list(range(schema.get("minimum", 0), schema["maximum"] + 1))}
        return {k: _enumerated(v) for k, v in schema.items()}
    return [_enumerated(v) for v in schema] if isinstance(schema, list) else schema


def _text(schema: Any) -> str:
    return json.dumps(schema, ensure_ascii=False)
