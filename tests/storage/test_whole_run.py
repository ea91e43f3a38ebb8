"""The whole local engine with its run directory in a store: real stages, a tiny model, a stub for the LLMs, and a kill."""

import os
import subprocess
import sys
import time

import pytest
import yaml
from llm_stub import serving
from whole_run import TASK, WRITING, spread, state_of, teach

from pada_agent.components.backends.store import objects


@pytest.fixture(scope="module")
def stub():
    causes = ("Leaves out the filter on groups.", "Does not join the second table.", "Orders by the wrong column.")

    def analysis(ask):
        return {"missing": "A clause.", "root_cause": causes[spread(ask.last, 3)], "scenario": "Questions that count."}

    with serving() as server:
        teach(server, analysis, items)
        yield server


def items(ask):
    first = spread(ask.last, 4000)
    return {"items": [item(first + i) for i in range(ask.schema["properties"]["items"]["minItems"])]}


def item(number):
    most, shipping = number // 80 + 1, number % 80
    return {
        "tables": "orders(shipping, customer_id); customers(id, country)",
        "sql": "SELECT customers.city, COUNT(*) FROM customers JOIN orders ON orders.customer_id = customers.id "
        f"WHERE orders.shipping >= {shipping / 10} GROUP BY customers.city HAVING COUNT(*) >= 1 LIMIT {most}",
        "question": f"The {most} cities with the most orders that cost {shipping / 10} or more to ship",
    }


@pytest.fixture(scope="module")
def config(tmp_path_factory, stub, tiny_slm):
    llm = {"base_url": stub.url, "concurrency": 1, "timeout_seconds": 20}
    values = {
        "task": TASK,
        "slm": {"model": str(tiny_slm), "max_length": 1024},
        "embedding": {"model": str(tiny_slm)},
        "teacher": {**llm, "model": "teacher"},
        "judge": {**llm, "model": "judge"},
        "train": {"epochs": 3, "learning_rate": 1e-3, "accumulate": 1, "checkpoints": 5},
        "evaluate": {"max_new_tokens": 8},
        "analyze": {"sample": 8, "k_max": 3},
        "generate": {"batch": 3},
        "loop": {"iterations": 1},
        "step_matched": False,
    }
    file = tmp_path_factory.mktemp("config") / "config.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def begin(config, run_dir, machine):
    """Start `pada run` as a person would, on a machine that keeps its working copies in `machine`."""
    command = [sys.executable, "-m", "pada_agent.pipelines.cli", "run", "--config", str(config), "--run-dir", str(run_dir)]
    environment = {**os.environ, "OPENAI_API_KEY": "test-key", "OMP_NUM_THREADS": "1", "PADA_RUNS": str(machine)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finish(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-3000:]
    return out, err


def kill_when(process, happened):
    """Kill it as a dying machine would: no signal handler runs."""
    for _ in range(6000):
        if happened():
            process.kill()
            process.communicate()
            return
        assert process.poll() is None, process.communicate()[1][-3000:]
        time.sleep(0.02)
    process.kill()
    pytest.fail("it did not happen")


@pytest.fixture(scope="module")
def unbroken(config, stub, tmp_path_factory):
    """The state of a run in a plain folder that nobody stopped, and what the LLMs were asked."""
    folder = tmp_path_factory.mktemp("unbroken")
    finish(begin(config, folder / "run", folder))
    return state_of(folder / "run"), [ask.text for ask in stub.asks]


def has_checkpoint(uri, task):
    notes = [name for name in objects.names(uri) if f"checkpoints/{task}-" in name and name.endswith("run.json")]
    return any(b"checkpoint-" in (objects.read(f"{uri}/{name}") or b"") for name in notes)


def test_a_run_that_moves_from_machine_to_machine_ends_like_one_that_did_not(unbroken, config, stub, store, tmp_path):
    state, asked = unbroken
    uri, before = f"{store.uri}/runs/a", len(stub.asks)

    def asks():
        return [ask.text for ask in stub.asks[before:]]

    kill_when(begin(config, uri, tmp_path / "a"), lambda: sum(WRITING in text for text in asks()) >= 2)
    kill_when(begin(config, uri, tmp_path / "b"), lambda: has_checkpoint(uri, "train-1"))
    out, err = finish(begin(config, uri, tmp_path / "c"))
    assert "train-vanilla: done before" in out and "control-1-1: done before" in out
    assert "resuming from checkpoint" in err
    assert set(asks()) == set(asked)
    assert len(asks()) <= len(asked) + 1  # the one on its way when the first process died

    paid = len(asks())
    out, _ = finish(begin(config, uri, tmp_path / "d"))
    assert len(asks()) == paid
    assert f"All of it is at {uri}" in out
    (copy,) = (tmp_path / "d").iterdir()
    assert out.count("done before") == len(list(copy.glob("*/executor_output.json")))
    assert state_of(copy) == state
    assert objects.read(f"{uri}/report.html") == (copy / "report.html").read_bytes()
    assert not [name for name in objects.names(uri) if name.startswith(("checkpoints", "lease"))]
