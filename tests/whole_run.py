"""What tests of a whole run share: its settings, a teacher, processes that are killed, how two states are compared."""

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from llm_stub import SOLVER

from pada_agent.components.backends.models.sources import resolve_model
from pada_agent.components.core.errors import ModelError

TEXT_TO_SQL = Path(__file__).parents[1] / "pipelines" / "examples" / "text_to_sql"
SLM, EMBEDDING = "HuggingFaceTB/SmolLM2-135M-Instruct", "sentence-transformers/all-mpnet-base-v2"
ROWS = {"train": 12, "validation": 8, "selection": 6, "test": 6}
TASK = {
    "name": "text_to_sql",
    **{split: str(TEXT_TO_SQL / f"{split}.jsonl") for split in ROWS},
    **{f"{split}_size": size for split, size in ROWS.items()},
    "options": {"database": str(TEXT_TO_SQL / "shop.sql")},
}
ANALYSING, WRITING = "You are a teacher who reads the mistakes", "You write training examples"
CAUSES = ("Leaves out the filter on groups.", "Does not join the second table.", "Orders by the wrong column.")
COUNTRIES = ("Norway", "France", "Portugal", "Germany")
ACCOUNTING = {"train_seconds", "evaluate_seconds", "paid_calls", "replayed", "adapter_uri", "retries"}
STRATEGY = "Write questions that count groups and keep only the large ones."


def model_or_skip(name: str) -> Path:
    """Where a real model is; the test is skipped where it cannot be had."""
    try:
        return resolve_model(name)
    except ModelError as e:
        pytest.skip(f"no model: {e}")


def small_run(url: str, model: str | Path, llm: dict[str, Any] | None = None, **sections: Any) -> dict[str, Any]:
    """Values of the settings of a short run with the stub at `url` as teacher and judge; `llm` and `sections` go over them."""
    asked = {"base_url": url, "concurrency": 1, "timeout_seconds": 20, **(llm or {})}
    values: dict[str, Any] = {
        "task": TASK,
        "slm": {"model": str(model), "max_length": 1024},
        "embedding": {"model": str(model)},
        "teacher": {**asked, "model": "teacher"},
        "judge": {**asked, "model": "judge"},
        "train": {"epochs": 1, "learning_rate": 1e-3, "accumulate": 1},
        "evaluate": {"max_new_tokens": 4},
        "loop": {"iterations": 1},
        "step_matched": False,
    }
    for name, value in sections.items():
        values[name] = {**values.get(name, {}), **value} if isinstance(value, dict) else value
    return values


def analysis(ask: Any) -> dict[str, str]:
    """One of three causes, always the same of one row."""
    number = spread(ask.last, len(CAUSES))
    return {"difference": "A clause.", "root_cause": CAUSES[number], "scenario": f"Questions of kind {number}."}


def items(ask: Any) -> dict[str, Any]:
    """As many rows as are asked for, or as many of their parts: answers, or the questions to those."""
    first, asked = spread(ask.last, 4000), ask.schema["properties"]["items"]
    keys = asked["items"]["properties"]
    return {"items": [{k: v for k, v in item(first + i).items() if k in keys} for i in range(asked["minItems"])]}


def item(number: int) -> dict[str, str]:
    """A row of text-to-SQL, another one for each number."""
    country, shipping, most = COUNTRIES[number % 4], number // 4 % 20, number // 80 + 1
    return {
        "tables": "orders(shipping, customer_id); customers(id, country)",
        "sql": written_sql(country, shipping / 10, most),
        "question": f"The {most} cities of {country} with the most orders that cost {shipping / 10} or more to ship",
    }


def solution(ask: Any) -> dict[str, str]:
    """The query of `item` for the question that the user asks; of another question none that agrees."""
    asked = re.search(r"The (\d+) cities of (\w+) with the most orders that cost ([\d.]+) or more to ship", ask.last)
    if not asked:
        return {"work": "", "answer": "SELECT 'nobody knows'"}
    return {"work": "orders, customers", "answer": written_sql(asked[2], asked[3], asked[1])}


def written_sql(country: str, shipping: float | str, most: int | str) -> str:
    """The query of one written row."""
    return (
        "SELECT customers.city, COUNT(*) FROM customers JOIN orders ON orders.customer_id = customers.id "
        f"WHERE customers.country = '{country}' AND orders.shipping >= {shipping} GROUP BY customers.city "
        f"HAVING COUNT(*) >= 1 ORDER BY COUNT(*) DESC LIMIT {most}"
    )


def teach(server: Any, analysis: Any = analysis, items: Any = items) -> None:
    """Tell the stub what to answer to each agent."""
    server.on(ANALYSING, reply=analysis)
    server.on("You find what a group of mistakes", reply={"category_name": "grouping", "pattern": "Groups are not filtered."})
    server.on("You plan training data", reply={"strategy": STRATEGY})
    server.on(WRITING, reply=items)
    server.on(SOLVER, reply=solution)
    server.on("You judge training examples", reply={"adherence": 8, "utility": 8, "relevance": 9, "feedback": []})


def spread(text: str, choices: int) -> int:
    """A number below `choices` that depends on the text alone, so that a run that starts again is told the same."""
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % choices


def state_of(run_dir: Path) -> Any:
    """The final state without what counts seconds, payments and places."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: bare(v) for k, v in value.items() if k not in ACCOUNTING}
        return [bare(v) for v in value] if isinstance(value, list) else value

    return bare(json.loads((run_dir / (run_dir / "latest_state").read_text().strip() / "state.json").read_text()))


def check_separation(asks: Iterable[Any]) -> None:
    """No agent ever sees a test row, and only the analysis sees validation rows."""
    for ask in asks:
        hidden = questions("selection", "test") + ([] if ANALYSING in ask.text else questions("validation"))
        assert not [q for q in hidden if q in ask.text], ask.text


def questions(*splits: str) -> list[str]:
    """Of the whole data of the text-to-SQL example."""
    return [json.loads(line)["question"] for split in splits for line in (TEXT_TO_SQL / f"{split}.jsonl").open()]


def begin(config: Path, run_dir: Path | str, **environment: str) -> subprocess.Popen[str]:
    """Start `pada run` as a person would, as a process of its own."""
    command = [sys.executable, "-m", "pada_agent.pipelines.cli", "run", "--config", str(config), "--run-dir", str(run_dir)]
    # One thread: two that wait for each other are ten times slower where other tests want the same cores.
    whole = {**os.environ, "OPENAI_API_KEY": "test-key", "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=whole)


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What it said on its two outputs; it must have gone well."""
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err[-3000:]
    return out, err


def kill_when(process: subprocess.Popen[str], happened: Callable[[], Any]) -> None:
    """Kill it as a dying machine would: no signal handler runs."""
    deadline = time.monotonic() + 200
    while not happened():
        assert process.poll() is None, process.communicate()[1][-3000:]
        if time.monotonic() > deadline:
            process.kill()
            pytest.fail("it did not happen")
        time.sleep(0.02)
    process.kill()
    process.communicate()
