"""The estimate against what the quickstart and the text-to-SQL example did ask of their LLMs.

What each left in its report.json, the sums over a stage, is in quickstart_usage.json and text_to_sql_usage.json:

    import json
    stages = json.load(open("runs/quickstart/report.json"))["usage"]["stages"]
    kept = {k: {n: v[n] for n in ("calls", "input_tokens", "output_tokens")} for k, v in stages.items()}
    print(json.dumps(kept, indent=1))
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from whole_run import TEXT_TO_SQL

from pada_agent.components.core.cost.budget import Usage
from pada_agent.pipelines.config import read_config
from pada_agent.pipelines.cost_table import estimated, together

CONFIGS = {"quickstart": TEXT_TO_SQL.parents[1] / "quickstart" / "config.yaml", "text_to_sql": TEXT_TO_SQL / "config.yaml"}
SOME_ROWS = """
import json, pathlib, sys
from pada_agent.components.core.cost.estimate import estimate
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.pipelines.config import read_config
settings = read_config(pathlib.Path(sys.argv[1]))
task = load_task(settings.task.name, settings.task.options)
lines = pathlib.Path(settings.task.train).read_text().splitlines()[:40]
print(estimate(settings, task, [task.read(json.loads(line)) for line in lines], 40, 8))
"""
PRICES = {"usd_per_million_input": 0.25, "usd_per_million_output": 2.0}


@pytest.fixture(params=CONFIGS, scope="module")
def run(request):
    """What is expected of a config's run, by stage, and what one took."""
    settings = read_config(CONFIGS[request.param])
    priced = {role: getattr(settings, role).model_copy(update=PRICES) for role in ("teacher", "judge")}
    taken = json.loads(Path(__file__).with_name(f"{request.param}_usage.json").read_text())
    stages = estimated(settings.model_copy(update=priced))[0]
    return stages, {stage: Usage(**counts) for stage, counts in taken.items()}


def test_a_run_costs_what_was_expected(run):
    stages, taken = run
    whole, actual = together(stages).expected, sum(taken.values(), Usage())
    for name in ("calls", "input_tokens", "output_tokens", "tokens"):
        assert getattr(whole, name) == pytest.approx(getattr(actual, name), rel=0.25), name
    usd = (actual.input_tokens * 0.25 + actual.output_tokens * 2.0) / 1e6
    assert whole.usd == pytest.approx(usd, rel=0.25)


def test_so_does_each_of_its_stages(run):
    stages, taken = run
    for stage in stages:
        actual = taken.get(stage.stage, Usage())
        assert stage.expected.calls == pytest.approx(actual.calls, rel=0.25), stage.stage
        assert stage.expected.tokens == pytest.approx(actual.tokens, rel=0.25), stage.stage
        assert stage.low.calls <= actual.calls <= stage.high.calls, stage.stage


def test_each_process_expects_the_same():
    """It stands in the state, and a run that goes on elsewhere must reach the same one."""
    environments = [{**os.environ, "PYTHONHASHSEED": seed} for seed in "01234567"]
    command = [sys.executable, "-c", SOME_ROWS, str(TEXT_TO_SQL / "config.yaml")]
    said = [subprocess.run(command, env=e, check=True, capture_output=True, text=True).stdout for e in environments]
    assert "analyze_patterns" in said[0] and len(set(said)) == 1
