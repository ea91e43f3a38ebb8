"""A real `pada run` of a tiny model and `pada watch` beside it: it says what the run does, once, and ends when the run does."""

import subprocess
import sys
import time

import pytest
import yaml
from llm_stub import serving
from whole_run import begin, finish, small_run, teach

from pada_agent.components.backends.store.events import runs

WATCH = "import sys; from pada_agent.pipelines import cli, follow; follow.POLL_SECONDS = 0.2; sys.argv = sys.argv[1:]; cli.main()"


@pytest.fixture
def config(tmp_path, tiny_slm):
    with serving() as stub:
        teach(stub)
        values = small_run(
            stub.url,
            tiny_slm,
            {"concurrency": 8},
            train={"checkpoints": 0},
            analyze={"sample": 8, "k_max": 3},
            generate={"batch": 3},
        )
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
        yield tmp_path / "config.yaml"


def watch(run_dir):
    command = [sys.executable, "-c", WATCH, "pada", "watch", "--run-dir", str(run_dir)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_run_is_watched_from_beside_it(config, tmp_path):
    run = begin(config, tmp_path / "run")
    deadline = time.monotonic() + 120
    while not runs(str(tmp_path / "run" / "events")):
        assert run.poll() is None and time.monotonic() < deadline, run.communicate()
        time.sleep(0.1)
    watching = watch(tmp_path / "run")
    out, _ = finish(run)
    said, error = watching.communicate(timeout=60)
    assert (watching.returncode, error) == (0, "")
    lines = [line.partition(" ")[2] for line in said.splitlines()]
    tasks = (
        "prepare",
        "vanilla, train",
        "untuned, evaluate",
        "start",
        "iteration 1, analyze",
        "iteration 1, merge",
        "iteration 1, score",
    )
    for task in tasks:
        assert lines.count(f"{task}: started") == 1
        assert len([line for line in lines if line.startswith(f"{task}: ") and " s  " in line]) == 1, (task, said)
    assert said.splitlines()[-1] == out.splitlines()[-1] == f"Report: {tmp_path / 'run' / 'report.html'}"
    table = [line for line in out.splitlines() if line.startswith(("Untuned model ", "Vanilla fine-tuning "))]
    assert table and set(table) <= set(said.splitlines())


def test_a_run_that_fails_is_left_with_its_sentence(config, tmp_path):
    values = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**values, "slm": {**values["slm"], "model": str(tmp_path / "no-model")}}))
    run = begin(config, tmp_path / "run")
    _, error = run.communicate(timeout=200)
    said, _ = (watching := watch(tmp_path / "run")).communicate(timeout=60)
    assert (run.returncode, watching.returncode) == (1, 1)
    sentence = error.splitlines()[-1].removeprefix("pada: ")
    assert "no-model" in sentence
    assert said.splitlines()[-1].startswith("failed: ") and said.splitlines()[-1].endswith(sentence)
