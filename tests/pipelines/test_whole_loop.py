"""Everything at once on the quickstart's task: the real small model, real embeddings, real training, and a stub for the LLMs.

One run goes through; another is killed while it asks for data and again while it trains. Both must end in the same state.
"""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml
from llm_stub import serving
from whole_run import QUICKSTART, ROWS, TASK, WRITING, spread, state_of, teach

from pada_agent.components.backends.models.sources import find_model
from pada_agent.components.core.errors import ModelError

SLM, EMBEDDING = "HuggingFaceTB/SmolLM2-135M-Instruct", "sentence-transformers/all-mpnet-base-v2"
COUNTRIES = ("Norway", "France", "Portugal", "Germany")

pytestmark = pytest.mark.model


@pytest.fixture(scope="module", autouse=True)
def models():
    try:
        find_model(SLM), find_model(EMBEDDING)
    except ModelError as e:
        pytest.skip(f"needs the quickstart's models: {e}")


@pytest.fixture
def stub():
    with serving() as server:
        teach(server, analysis, items)
        yield server


def analysis(ask):
    causes = ("Leaves out the filter on groups.", "Does not join the second table.", "Orders by the wrong column.")
    number = spread(ask.last, len(causes))
    return {"missing": "A clause.", "root_cause": causes[number], "scenario": f"Questions of kind {number}."}


def items(ask):
    first = spread(ask.last, 4000)
    return {"items": [item(first + i) for i in range(ask.schema["properties"]["items"]["minItems"])]}


def item(number):
    country, shipping, most = COUNTRIES[number % 4], number // 4 % 20, number // 80 + 1
    return {
        "tables": "orders(shipping, customer_id); customers(id, country)",
        "sql": "SELECT customers.city, COUNT(*) FROM customers JOIN orders ON orders.customer_id = customers.id "
        f"WHERE customers.country = '{country}' AND orders.shipping >= {shipping / 10} GROUP BY customers.city "
        f"HAVING COUNT(*) >= 1 ORDER BY COUNT(*) DESC LIMIT {most}",
        "question": f"The {most} cities of {country} with the most orders that cost {shipping / 10} or more to ship",
    }


@pytest.fixture
def config(tmp_path, stub):
    llm = {"base_url": stub.url, "concurrency": 1, "timeout_seconds": 20}
    values = {
        "task": TASK,
        "slm": {"model": SLM, "max_length": 256},
        "teacher": {**llm, "model": "teacher"},
        "judge": {**llm, "model": "judge"},
        "train": {"epochs": 1, "learning_rate": 1e-3, "accumulate": 1, "checkpoints": 5},
        "evaluate": {"max_new_tokens": 16},
        "analyze": {"sample": 8, "k_max": 3},
        "generate": {"batch": 3},
        "loop": {"iterations": 1},
    }
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


@pytest.fixture
def start(config):
    """Starts `pada run` as a person would, as a process of its own."""
    running = []

    def begin(run_dir):
        command = [sys.executable, "-m", "pada_agent.pipelines.cli", "run", "--config", str(config), "--run-dir", str(run_dir)]
        # One thread: two that wait for each other are ten times slower where other tests want the same cores.
        environment = {**os.environ, "OPENAI_API_KEY": "test-key", "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def finish(process):
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err[-3000:]
    assert "Warning" not in err, "a user cannot act on what libraries tell each other"
    return out, err


def wait_until(happened, process):
    for _ in range(4000):
        if happened():
            return
        assert process.poll() is None, process.communicate()[1][-3000:]
        time.sleep(0.05)
    pytest.fail("it did not happen")


def questions(*splits):
    return [json.loads(line)["question"] for split in splits for line in (QUICKSTART / f"{split}.jsonl").open()]


def test_a_run_killed_twice_ends_like_one_that_was_not(start, stub, tmp_path):
    out, _ = finish(start(tmp_path / "whole"))
    asks = list(stub.asks)
    assert "Step-matched vanilla" in out and "Iteration 1" in out
    assert (tmp_path / "whole" / "report.html").stat().st_size > 5000
    facts = json.loads((tmp_path / "whole" / "report.json").read_text())
    assert facts["iterations"][0]["accepted"] >= 4
    assert [m["test"]["n"] for m in facts["models"]] == [ROWS["test"]] * 4
    check_separation(asks)

    broken = tmp_path / "broken"
    process = start(broken)
    wait_until(lambda: sum(WRITING in ask.text for ask in stub.asks[len(asks) :]) >= 2, process)
    kill(process)
    process = start(broken)
    wait_until(lambda: list(broken.glob("checkpoints/train-1-*/run.json")), process)
    kill(process)
    out, err = finish(start(broken))
    assert "train-vanilla: done before" in out
    assert "resuming from checkpoint" in err

    assert state_of(broken) == state_of(tmp_path / "whole")
    again = [ask.text for ask in stub.asks[len(asks) :]]
    assert set(again) == {ask.text for ask in asks}
    assert len(again) <= len(asks) + 1  # the one on its way when the process died

    started = time.monotonic()
    out, _ = finish(start(broken))
    assert len(stub.asks) == len(asks) + len(again)
    assert out.count("done before") == len(list(broken.glob("*/executor_output.json")))
    assert time.monotonic() - started < 20


def kill(process):
    """As the machine would: no signal handler runs."""
    process.send_signal(signal.SIGKILL)
    process.communicate()


def check_separation(asks):
    """No agent ever sees a test row, and only the analysis sees validation rows."""
    analysed = "You are a teacher who reads the mistakes"
    for ask in asks:
        hidden = questions("selection", "test") + ([] if analysed in ask.text else questions("validation"))
        assert not [q for q in hidden if q in ask.text], ask.text
