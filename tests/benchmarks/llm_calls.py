"""The LLM client with many calls on their way, beside what an endpoint of fixed latency allows at most."""

import tempfile
from typing import Any

from apart import answer, clocked
from slow_endpoint import REPLY, serving

SECONDS = 0.2
SCHEMA = {
    "type": "object",
    "properties": {"root_cause": {"type": "string", "maxLength": 400}, "scenario": {"type": "string", "maxLength": 80}},
    "required": ["root_cause", "scenario"],
    "additionalProperties": False,
}
QUESTION = "The model was given this row and answered it wrong. Say why, and in which kind of rows it will happen again.\n"


def client(given: dict[str, Any]) -> dict[str, Any]:
    """`ask_all` with the ledger in a file, which waits for the disk before a reply is used."""
    from pada_agent.components.backends.llm.client import OpenAiLlm, open_llm
    from pada_agent.components.core.llm_interface import LlmRequest
    from pada_agent.components.core.settings import BudgetSettings, LlmSettings

    def request(name: str) -> Any:
        chat = [{"role": "system", "content": "You analyse failures."}, {"role": "user", "content": f"{QUESTION * 15}Row {name}"}]
        return LlmRequest(name, chat, SCHEMA, dict, 0.7)

    report: dict[str, Any] = {}
    with serving(SECONDS) as url, tempfile.TemporaryDirectory(dir=given.get("folder")) as work:
        settings = LlmSettings(model="slow", base_url=url, concurrency=given["concurrency"])
        llm = open_llm(settings, BudgetSettings(calls=10**6), f"{work}/ledger.jsonl")
        llm.ask_all("libraries are loaded", [request("first")])
        with clocked(OpenAiLlm, "ask_all", report):
            replies = llm.ask_all("calls", [request(f"row-{i}") for i in range(given["calls"])])
    assert all(reply.value == REPLY for reply in replies)
    a_second = len(replies) / report["seconds"]
    ideal = given["concurrency"] / SECONDS
    return report | {"calls_a_second": round(a_second, 1), "ideal": ideal, "share": round(a_second / ideal, 3)}


if __name__ == "__main__":
    answer({"client": client})
