"""Requests for a score of 1 to 10, and a client to ask the LLM stub with: for tests of the client."""

import json
from pathlib import Path
from typing import Any

from pada_agent.components.backends.llm.client import OpenAiLlm, open_llm
from pada_agent.components.core.llm_interface import LlmRequest
from pada_agent.components.core.settings import BudgetSettings, LlmSettings

NO_CAPS = BudgetSettings()
SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "integer"}, "why": {"type": "string", "maxLength": 20}},
    "required": ["score"],
    "additionalProperties": False,
}


def parse(value: Any) -> int:
    if not isinstance(value, dict) or not isinstance(value.get("score"), int) or not 1 <= value["score"] <= 10:
        raise ValueError('"score" must be 1 to 10')
    return int(value["score"])


def ask(
    text: str = "rate", temperature: float = 0.0, salt: str = "", max_tokens: int = 0, key: str = "", role: str = "user"
) -> LlmRequest[int]:
    messages = [{"role": "system", "content": "You rate."}, {"role": role, "content": text}]
    return LlmRequest(key or text, messages, SCHEMA, parse, temperature, salt, max_tokens)


def asks(count: int) -> list[LlmRequest[int]]:
    return [ask(f"rate {n}.") for n in range(count)]


def opened(
    stub: Any, ledger: Any = "", budget: BudgetSettings = NO_CAPS, stage: str = "", spent: Any = None, **settings: Any
) -> OpenAiLlm:
    values: Any = {"model": "stub", "base_url": stub.url, "give_up_seconds": 20, **settings}
    return open_llm(LlmSettings(**values), budget, str(ledger), stage, spent)


def lines_of(ledger: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ledger.read_text().splitlines()]
