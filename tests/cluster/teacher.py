"""The teacher and judge of `make test-cluster`: tests/llm_stub.py as a pod, answering about sums. Standard library only.

    python teacher.py 8000        # beside llm_stub.py; every request is a line of JSON on stdout

The same question always gets the same answer, so that a run on a cluster and one on this machine can be compared.
"""

import hashlib
import json
import re
import sys
import threading
from typing import Any

from llm_stub import SOLVER, Ask, LlmStub, Rule

WRITING, JUDGING = "You write training examples", "You judge training examples"
SPLITS = {"train": range(100, 112), "validation": range(200, 208), "selection": range(300, 306), "test": range(400, 406)}
CAUSES = ("Does not multiply.", "Copies the first number.", "Stops before the answer.")
THINGS = ("apples", "boats", "coins", "desks")
WRITTEN = (
    "{b} trucks carry {a} bricks each. How many bricks is that altogether?",
    "A printer makes {a} pages an hour and runs for {b} hours. How many pages come out?",
    "Each of {b} schools orders {a} pencils from one shop, which must pack how many pencils?",
    "Nadia reads {a} words on every one of {b} evenings; what is her total?",
    "If one wall takes {a} tiles, find the tiles for {b} walls of that size.",
    "There were {b} concerts with {a} guests at each. Count all guests.",
    "The bakery sold {a} rolls a day during {b} days of fair weather. Rolls sold?",
)


def row(n: int) -> dict[str, str]:
    """A row of task gsm8k, another one for each number."""
    a, b, thing = n, n % 7 + 2, THINGS[n % 4]
    question = f"Ada keeps {a} {thing} in each of {b} rooms. How many {thing} is that?"
    return {"question": question, "answer": f"{a} * {b} = <<{a}*{b}={a * b}>>{a * b}\n#### {a * b}"}


def teach(stub: LlmStub, delay: float) -> None:
    """Tell the stub what to answer to each agent; `delay` is seconds before written rows, so that a writer can be stopped."""
    stub.on("You are a teacher who reads the mistakes", reply=_analysis)
    stub.on("You find what a group of mistakes", reply={"category_name": "products", "pattern": "Groups are not multiplied."})
    stub.on("You plan training data", reply={"strategy": "Write problems with equal groups and multiply them."})
    stub.on(WRITING, reply=_items, delay=delay)
    stub.on(SOLVER, reply=solution)
    stub.on(JUDGING, reply=_judgement)


def _analysis(ask: Ask) -> dict[str, str]:
    number = spread(ask.last, len(CAUSES))
    return {"difference": "A product.", "root_cause": CAUSES[number], "scenario": f"Groups of kind {number}."}


def _items(ask: Ask) -> dict[str, Any]:
    """As many problems as were asked for; the first of several has a wrong product, which no check may let in."""
    first, count = spread(ask.text, 40_000), ask.schema["properties"]["items"]["minItems"]
    return {"items": [_item(first + i, wrong=i == 0 and count > 1) for i in range(count)]}


def _item(number: int, wrong: bool) -> dict[str, Any]:
    a, b = 1000 + 17 * number, 3 + number % 11
    result = a * b + wrong
    question = WRITTEN[number % len(WRITTEN)].format(a=a, b=b)
    return {"question": question, "steps": [f"{a} * {b} = {result}"], "answer": str(result)}


def solution(ask: Ask) -> dict[str, str]:
    """Of a written problem, below those that are shown with it: its two numbers multiplied."""
    asked = ask.last.rpartition("Now answer this:")[2]
    a, b = (int(number) for number in re.findall(r"\d+", asked)[:2])
    return {"work": f"{a} * {b} = {a * b}", "answer": str(a * b)}


def _judgement(ask: Ask) -> dict[str, Any]:
    good = spread(ask.last, 4)
    return {"adherence": 9 if good else 2, "utility": 8, "relevance": 9, "feedback": "none" if good else "Vary the groups."}


def spread(text: str, choices: int) -> int:
    """A number below `choices` that depends on the text alone."""
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % choices


class Logged(LlmStub):
    """A stub that says what it is asked, so that the pod's log can be read instead of its memory."""

    def take(self, body: dict[str, Any], headers: dict[str, str]) -> tuple[Ask, Rule | None]:
        ask, rule = super().take(body, headers)
        known = str(rule.match) if rule else ""
        key = headers.get("authorization", "").removeprefix("Bearer ")
        line = {"asked": hashlib.sha256(ask.text.encode()).hexdigest()[:16], "as": known, "key": key}
        print(json.dumps(line if known else {**line, "unknown": ask.text[:300]}), flush=True)
        return ask, rule


def main() -> None:
    """Serve on the port that is the first argument; the second is the delay."""
    stub = Logged("0.0.0.0", int(sys.argv[1]))
    teach(stub, float(sys.argv[2]))
    print(json.dumps({"serving": stub.url}), flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
