"""Everything at once on text-to-SQL: the real small model, real embeddings, real training, and a stub for the LLMs.

One run goes through; another is killed while it asks for data and again while it trains. Both must end in the same state.
"""

import json
import time

import pytest
import yaml
from llm_stub import serving
from whole_run import EMBEDDING, ROWS, SLM, WRITING, begin, check_separation, finish, kill_when, small_run, state_of, teach

from pada_agent.components.backends.models.sources import find_model
from pada_agent.components.core.errors import ModelError

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
        teach(server)
        yield server


@pytest.fixture
def config(tmp_path, stub):
    values = small_run(
        stub.url,
        SLM,
        slm={"max_length": 256},
        embedding={"model": EMBEDDING},
        evaluate={"max_new_tokens": 16},
        analyze={"sample": 8, "k_max": 3},
        generate={"batch": 3},
        step_matched=True,
    )
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


@pytest.fixture
def start(config):
    """Starts a run that does not outlive the test."""
    running = []

    def start_one(run_dir):
        running.append(begin(config, run_dir))
        return running[-1]

    yield start_one
    for process in running:
        process.kill()
        process.communicate()


def finish_quietly(process):
    out, err = finish(process)
    assert "Warning" not in err, "a user cannot act on what libraries tell each other"
    return out, err


def test_a_run_killed_twice_ends_like_one_that_was_not(start, stub, tmp_path):
    out, _ = finish_quietly(start(tmp_path / "whole"))
    asks = list(stub.asks)
    assert "Step-matched vanilla" in out and "Iteration 1" in out
    assert (tmp_path / "whole" / "report.html").stat().st_size > 5000
    facts = json.loads((tmp_path / "whole" / "report.json").read_text())
    assert facts["iterations"][0]["accepted"] >= 4
    assert [m["test"]["n"] for m in facts["models"]] == [ROWS["test"]] * 4
    check_separation(asks)

    broken = tmp_path / "broken"
    kill_when(start(broken), lambda: sum(WRITING in ask.text for ask in stub.asks[len(asks) :]) >= 2)
    kill_when(start(broken), lambda: list(broken.glob("checkpoints/train-1-*/run.json")))
    out, err = finish_quietly(start(broken))
    assert "vanilla, train: done before" in out
    assert "resuming from checkpoint" in err

    assert state_of(broken) == state_of(tmp_path / "whole")
    again = [ask.text for ask in stub.asks[len(asks) :]]
    assert set(again) == {ask.text for ask in asks}
    assert len(again) <= len(asks) + 1  # the one on its way when the process died

    started = time.monotonic()
    out, _ = finish_quietly(start(broken))
    assert len(stub.asks) == len(asks) + len(again)
    assert out.count("done before") == len(list(broken.glob("*/executor_output.json")))
    assert time.monotonic() - started < 20
