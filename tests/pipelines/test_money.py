"""A whole run of two iterations, real stages, a tiny model, a stub for the LLMs: what it says it spent is what was paid."""

import json
import re

import pytest
import yaml
from llm_stub import serving
from whole_run import WRITING, small_run, state_of, teach

from pada_agent.pipelines.config import read_config
from pada_agent.pipelines.cost_table import show_estimate
from pada_agent.pipelines.local import run as local
from pada_agent.pipelines.local.log import RunLog
from pada_agent.pipelines.local.outcome import show

IN, OUT = 100, 20  # tokens that the stub tells of each reply
PRICES = {"usd_per_million_input": 3.0, "usd_per_million_output": 15.0}


@pytest.fixture
def stub():
    with serving() as server:
        teach(server, {"difference": "A clause.", "root_cause": "Leaves out the filter.", "scenario": "Counts."})  # all the same
        yield server


@pytest.fixture
def config(tmp_path, stub, tiny_slm):
    values = small_run(
        stub.url,
        tiny_slm,
        {"concurrency": 8, "timeout_seconds": 60, **PRICES},
        train={"checkpoints": 0},
        analyze={"sample": 8, "k_max": 3},
        generate={"batch": 3, "regenerations": 1, "refills": 0},
        loop={"iterations": 2},
    )
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


@pytest.fixture
def run(config, tmp_path, monkeypatch, capsys):
    """run(**budget) -> facts of the report, what was printed at the end."""
    monkeypatch.setenv("OPENAI_API_KEY", "test-key")

    def start(**budget):
        if budget:
            config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), "budget": budget}))
        log = RunLog()
        outcome = local.run(read_config(config), tmp_path / "run", parts=local.Parts(log=log))
        capsys.readouterr()
        show(outcome.state, outcome.run_dir, log.console)
        return json.loads((tmp_path / "run" / "report.json").read_text()), capsys.readouterr().out

    return start


def test_what_was_spent_is_what_was_paid_beside_what_was_expected(run, stub, config, tmp_path):
    facts, said = run()
    spent, expected = facts["usage"]["total"], facts["usage"]["expected"]["all"]
    assert len(facts["iterations"]) == 2
    assert (spent["calls"], spent["input_tokens"], spent["output_tokens"]) == (stub.paid, IN * stub.paid, OUT * stub.paid)
    assert spent["usd"] == pytest.approx(stub.paid * (IN * 3 + OUT * 15) / 1e6)
    by_stage = facts["usage"]["stages"]
    checks = [ask for ask in stub.asks if ask.body["model"] == "judge"]
    assert by_stage["control_quality"]["calls"] == len(checks)
    lines = []
    show_estimate(read_config(config), lines.append)
    together = next(line.split() for line in lines if line.startswith("together"))
    assert int(together[1]) == expected["calls"]
    assert re.search(rf"LLM calls: {stub.paid} \({expected['calls']} expected\)\. Tokens: {120 * stub.paid:,} \(", said)
    assert "Warning: The judge gives good and bad batches the same score (8.3 or 8.5)" in said
    assert "Warning: The judge gives good and bad" in facts["verdict"]["details"][-1]
    iterations = state_of(tmp_path / "run")["iterations"]
    known = {sample["row"]["id"] for i in iterations for batch in i["batches"] for sample in batch["samples"]}
    assert known and not [name for name in known if "check" in name]


def test_in_batches_a_whole_run_costs_half(batch_stub, config, run):
    teach(batch_stub)
    values = yaml.safe_load(config.read_text())
    for role in ("teacher", "judge"):
        values[role] |= {"base_url": batch_stub.url, "mode": "batch"}
    config.write_text(yaml.safe_dump({**values, "control": {"solver": "teacher"}, "loop": {"iterations": 1}}))
    facts, _ = run()
    spent = facts["usage"]["total"]
    assert spent["calls"] == batch_stub.paid == sum(len(batch.lines) for batch in batch_stub.batches) > len(batch_stub.batches)
    assert spent["usd"] == pytest.approx(batch_stub.paid * (IN * 3 + OUT * 15) / 1e6 / 2)
    assert facts["usage"]["stages"]["control_quality"]["calls"] > sum(ask.body["model"] == "judge" for ask in batch_stub.asks) > 0
    assert facts["iterations"][0]["accepted"]


def test_a_stage_s_cap_holds_over_the_whole_run(run, stub):
    facts, _ = run(stages={"generate_data": {"calls": 3}})
    assert sum(ask.text.startswith(WRITING) for ask in stub.asks) == 3
    assert facts["usage"]["stages"]["generate_data"]["calls"] == 3
    assert len(facts["iterations"]) == 2, "the first one leaves something, the second one ends"
    assert "budget.stages.generate_data.calls: 3" in facts["reason"]
