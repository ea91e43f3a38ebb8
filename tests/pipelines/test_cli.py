"""The command line as a person meets it: one line for a mistake, a way to go on after a stop."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from finished_runs import state as finished
from shape_files import write

from pada_agent.components.backends.record_files import write_json
from pada_agent.components.core.addresses import addresses
from pada_agent.components.core.records import Pattern
from pada_agent.components.core.settings import TaskSettings, TrainSettings
from pada_agent.components.core.state import IterationRecord
from pada_agent.pipelines import doctor
from pada_agent.pipelines.cli import default_run_dir
from pada_agent.pipelines.local import run as local
from pada_agent.pipelines.local.engine import Done

GOOD = {
    "task": {"name": "gsm8k", "train": "train.jsonl", "validation": "validation.jsonl", "test": "test.jsonl"},
    "slm": {"model": "org/slm"},
    "teacher": {"model": "big", "base_url": "http://127.0.0.1:1/v1"},
    "judge": {"model": "other", "base_url": "http://127.0.0.1:1/v1"},
}


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(GOOD))
    return file


@pytest.mark.parametrize("command", ["run", "estimate", "doctor", "study --out x"])
def test_a_wrong_config_is_one_line_and_exit_1(command, config, pada):
    config.write_text(yaml.safe_dump({**GOOD, "trian": {}}))
    name, *more = command.split()
    code, _, said = pada(name, "--config", config, *more)
    assert code == 1
    assert said == f"pada: {config}, line 14: unknown key 'trian' (did you mean 'train'?)"


def test_a_missing_config(pada, tmp_path):
    code, _, said = pada("run", "--config", tmp_path / "none.yaml")
    assert code == 1
    assert "none.yaml: cannot be read" in said


def test_run_hands_everything_on(config, pada, monkeypatch, tmp_path):
    seen = []

    def run(settings, folder, until, parts):
        seen.append((settings.seed, folder, until))
        done = Done(tmp_path / "d" / "07-analyze-1", {}, {})
        return local.Outcome(tmp_path / "d", {"analyze-1": done}, None, "analyze-1")

    monkeypatch.setattr(local, "run", run)
    code, out, _ = pada("run", "--config", config, "--run-dir", tmp_path / "d", "--until", "analyze", "--seed", 4)
    assert code == 0
    assert seen == [(4, str(tmp_path / "d"), "analyze")]
    assert str(tmp_path / "d" / "07-analyze-1" / "plan" / "strategies.yaml") in out


def test_the_default_run_directory_is_named_after_the_config():
    assert default_run_dir(Path("pipelines/quickstart/config.yaml"), None) == Path("runs/quickstart")
    assert default_run_dir(Path("experiments/squad.yaml"), 3) == Path("runs/squad-seed3")


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_run_says_how_to_go_on(number, code, config, tmp_path):
    program = f"""
import sys, time
from pada_agent.pipelines import cli
from pada_agent.pipelines.local import run as local
def run(*given):
    print("running", flush=True)
    time.sleep(60)
local.run = run
sys.argv = ["pada", "run", "--config", {str(config)!r}, "--run-dir", {str(tmp_path / "a run")!r}]
cli.main()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "running\n"
        time.sleep(0.1)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == code
    assert said.count("\n") == 1
    assert f"To resume: pada run --config {config} --run-dir '{tmp_path / 'a run'}'" in said


def test_doctor_finds_this_machine_well(pada):
    code, out, _ = pada("doctor")
    assert code == 0
    assert {"python", "torch", "cores", "disk", "sqlite", "sandbox"} <= {line.split()[1] for line in out.splitlines()}


def test_doctor_names_what_a_run_lacks(config, pada, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "ENDPOINT_SECONDS", 2.0)
    (tmp_path / "train.jsonl").touch()
    code, out, _ = pada("doctor", "--config", config)
    assert code == 1
    found = {line.split()[1]: line for line in out.splitlines()}
    assert found["task.train"].startswith("ok")
    assert found["task.test"].startswith("MISSING") and str(tmp_path / "test.jsonl") in found["task.test"]
    assert found["slm"].startswith("MISSING") and "org/slm" in found["slm"]
    assert found["teacher"].startswith("MISSING") and "127.0.0.1:1" in found["teacher"]


def test_doctor_reads_the_first_rows_and_says_what_they_are(settings, tmp_path):
    write("sharegpt.json", tmp_path)
    (tmp_path / "bad.csv").write_text("question,answer\n" + "a,\n" * 25)
    options = {"scorer": "exact", "description": "d"}
    task = {
        "name": "custom",
        "options": options,
        "train": str(tmp_path / "sharegpt.json"),
        "validation": str(tmp_path / "bad.csv"),
    }
    own = settings.model_copy(update={"task": TaskSettings(**task, test="owner/name#test")})
    good, training, bad = doctor._rows(own, [a for a in addresses(own) if a.is_path and a.kind == "rows"])
    said = "all 60 are read, as ShareGPT: the last turn of the assistant in 'conversations' is the answer"
    assert str(good) == f"ok       {'train rows':<21} {said}"
    few = "19 steps   ->   few to learn from; train.accumulate: 1 makes 75 smaller ones"
    assert str(training) == f"note     {'training':<21} {few}" and not training.needed
    assert (
        not bad.well
        and "25 rows cannot be used:\n  " in str(bad)
        and "bad.csv:2: answer: is empty" in str(bad)
        and "and 5 more" in str(bad)
    )


def test_doctor_has_nothing_to_say_of_enough_steps_or_of_small_ones(settings):
    assert not list(doctor._training(settings.train.model_copy(update={"accumulate": 1}), 60))
    assert list(doctor._training(TrainSettings(), 310)) and not list(doctor._training(TrainSettings(), 320))


def test_doctor_says_how_many_patterns_another_run_left(tmp_path, settings):
    left = IterationRecord(number=1, patterns=[Pattern(id="p", name="n", description="d", size=1, row_ids=[])])
    write_json(tmp_path / "one" / "state.json", finished("", iterations=[left]))
    write_json(tmp_path / "none" / "state.json", finished(""))
    for name, said in (
        ("one", f"ok       analyze.patterns_from {tmp_path}/one: 1 patterns, task text_to_sql"),
        ("none", "0 patterns, task text_to_sql   ->   name a run that has found some"),
        ("away", "state.json is missing"),
    ):
        taken = settings.analyze.model_copy(update={"patterns_from": str(tmp_path / name)})
        named = addresses(settings.model_copy(update={"analyze": taken}))
        (check,) = doctor._lies_there(next(a for a in named if a.kind == "run"))
        assert said in str(check)


def test_doctor_asks_the_endpoint_with_the_key(llm_stub, settings, monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret-key")
    llm = settings.teacher.model_copy(update={"base_url": llm_stub.url, "model": "stub", "api_key_env": "MY_KEY"})
    llm_stub.on("ready", reply={"word": "ready"})
    assert str(doctor.endpoint("teacher", llm)).startswith("ok ")
    assert llm_stub.paid == 1


def test_doctor_leaves_a_model_room_to_think(llm_stub, settings):
    llm = settings.teacher.model_copy(update={"base_url": llm_stub.url, "model": "stub"})
    llm_stub.on(lambda a: a.body["max_tokens"] < 500, text="<think>They want", finish="length")
    llm_stub.on("ready", text='<think>They want</think>{"word": "ready"}')
    assert str(doctor.endpoint("teacher", llm)).startswith("ok ")
    assert llm_stub.paid == 1


def test_doctor_says_that_a_key_is_wrong(llm_stub, settings, monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret-key")
    llm = settings.teacher.model_copy(update={"base_url": llm_stub.url, "model": "stub", "api_key_env": "MY_KEY"})
    llm_stub.on("ready", status=401, error="wrong key")
    line = str(doctor.endpoint("teacher", llm))
    assert line.startswith("MISSING")
    assert "MY_KEY" in line
    assert "secret-key" not in line


def test_doctor_looks_for_batches_and_makes_none(batch_stub, settings):
    values = {"base_url": batch_stub.url, "model": "stub", "mode": "batch"}
    llm = settings.teacher.model_copy(update=values)
    batch_stub.on("ready", reply={"word": "ready"})
    assert str(doctor.endpoint("teacher", llm)).startswith("ok ")
    assert (batch_stub.calls, batch_stub.paid) == (["GET /batches"], 1)
    batch_stub.absent.add("/batches")
    line = str(doctor.endpoint("teacher", llm))
    assert line.startswith("MISSING") and "set mode: chat" in line and batch_stub.paid == 1


def test_a_sandbox_that_leaves_the_network_open_is_noted(monkeypatch):
    monkeypatch.setattr(
        "pada_agent.components.backends.sandbox.run.run_code", lambda program, seconds: type("Result", (), {"passed": True})
    )
    monkeypatch.setattr("pada_agent.components.backends.sandbox.run.sandbox_canary", lambda: None)
    (check,) = doctor._sandbox(needed=True)
    assert str(check).startswith("note")
    assert "network" in check.found


def test_report_writes_the_page_again(pada, tmp_path):
    code, _, said = pada("report", "--run-dir", tmp_path / "none")
    assert code == 1
    assert "no state" in said


def test_estimate_counts_rows_and_sums_up(config, pada, tmp_path):
    for split, rows in (("train", 40), ("validation", 30)):
        (tmp_path / f"{split}.jsonl").write_text('{"question": "?", "answer": "#### 1"}\n' * rows)
    prices = {"usd_per_million_input": 1.0, "usd_per_million_output": 2.0}
    config.write_text(yaml.safe_dump({**GOOD, "teacher": {**GOOD["teacher"], **prices}}))
    code, out, _ = pada("estimate", "--config", config)
    assert code == 0
    assert "40 training rows, 15 validation rows" in out, "half of them become the selection rows"
    table = {line.split()[0]: line for line in out.splitlines()}
    expected, least, most = (int(table["together"].split()[i].strip("()").replace(",", "")) for i in (1, 2, 4))
    assert 0 < least < expected < most
    assert float(table["generate_data"].split()[-1].strip(")")) > 0
    assert table["control_quality"].endswith("0.00 (0.00 to 0.00)")  # the judge has no price, and that is said
    assert "No price is set for other" in out
    assert "No price is set for big" not in out


def test_estimate_says_which_cap_will_end_the_run(config, pada, tmp_path):
    for split in ("train", "validation"):
        (tmp_path / f"{split}.jsonl").write_text('{"question": "?", "answer": "#### 1"}\n' * 40)
    budget = {"calls": 5, "tokens": 10_000_000, "stages": {"control_quality": {"calls": 6}, "generate_data": {"calls": 1000}}}
    config.write_text(yaml.safe_dump({**GOOD, "budget": budget}))
    code, out, _ = pada("estimate", "--config", config)
    assert code == 0
    assert [line.partition(" will end it early")[0] for line in out.splitlines() if "end it early" in line] == [
        "budget.calls: 5",
        "budget.stages.control_quality.calls: 6",
    ]


def test_estimate_refuses_rows_that_are_none(config, pada, tmp_path):
    (tmp_path / "train.jsonl").write_text('{"question": "?"}\n')
    code, _, said = pada("estimate", "--config", config)
    assert code == 1 and "train.jsonl:1: answer:" in said
