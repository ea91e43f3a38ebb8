"""The whole local engine with its run directory in a store: real stages, a tiny model, a stub for the LLMs, and a kill."""

import pytest
import yaml
from llm_stub import serving
from whole_run import WRITING, begin, finish, kill_when, small_run, state_of, teach

from pada_agent.components.backends.store import objects


@pytest.fixture(scope="module")
def stub():
    with serving() as server:
        teach(server)
        yield server


@pytest.fixture(scope="module")
def config(tmp_path_factory, stub, tiny_slm):
    values = small_run(
        stub.url,
        tiny_slm,
        train={"epochs": 3},
        evaluate={"max_new_tokens": 8},
        analyze={"sample": 8, "k_max": 3},
        generate={"batch": 3},
    )
    file = tmp_path_factory.mktemp("config") / "config.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def begin_on(machine, config, run_dir):
    """Start a run on a machine that keeps its working copies in the folder `machine`."""
    return begin(config, run_dir, PADA_RUNS=str(machine))


@pytest.fixture(scope="module")
def unbroken(config, stub, tmp_path_factory):
    """The state of a run in a plain folder that nobody stopped, and what the LLMs were asked."""
    folder = tmp_path_factory.mktemp("unbroken")
    finish(begin_on(folder, config, folder / "run"))
    return state_of(folder / "run"), [ask.text for ask in stub.asks]


def has_checkpoint(uri, task):
    notes = [name for name in objects.names(uri) if f"checkpoints/{task}-" in name and name.endswith("run.json")]
    return any(b"checkpoint-" in (objects.read(f"{uri}/{name}") or b"") for name in notes)


def test_a_run_that_moves_from_machine_to_machine_ends_like_one_that_did_not(unbroken, config, stub, store, tmp_path):
    state, asked = unbroken
    uri, before = f"{store.uri}/runs/a", len(stub.asks)

    def asks():
        return [ask.text for ask in stub.asks[before:]]

    kill_when(begin_on(tmp_path / "a", config, uri), lambda: sum(WRITING in text for text in asks()) >= 2)
    kill_when(begin_on(tmp_path / "b", config, uri), lambda: has_checkpoint(uri, "train-1"))
    out, err = finish(begin_on(tmp_path / "c", config, uri))
    assert "vanilla, train: done before" in out and "iteration 1, control 1: done before" in out
    assert "resuming from checkpoint" in err
    assert set(asks()) == set(asked)
    assert len(asks()) <= len(asked) + 1  # the one on its way when the first process died

    paid = len(asks())
    out, _ = finish(begin_on(tmp_path / "d", config, uri))
    assert len(asks()) == paid
    assert f"All of it is at {uri}" in out
    (copy,) = (tmp_path / "d").iterdir()
    assert out.count("done before") == len(list(copy.glob("*/executor_output.json")))
    assert state_of(copy) == state
    assert objects.read(f"{uri}/report.html") == (copy / "report.html").read_bytes()
    assert not [name for name in objects.names(uri) if name.startswith(("checkpoints", "lease"))]
