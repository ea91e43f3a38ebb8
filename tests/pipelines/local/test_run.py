"""The engine with small stages: order, resume, edits, changed settings, the lock."""

import io
import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_stages import Killed
from rich.console import Console

from pada_agent.components.backends.store.events import told
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import Settings
from pada_agent.components.stages import STAGES
from pada_agent.pipelines.local import run as local
from pada_agent.pipelines.local.embedded_servers import EmbeddedServers
from pada_agent.pipelines.local.log import RunLog
from pada_agent.pipelines.local.run import Parts

START = ["prepare", "train-vanilla", "evaluate-untuned", "evaluate-vanilla", "start"]
FIRST = ["analyze-1", "generate-1-1", "control-1-1", "merge-1", "train-1", "evaluate-1", "score-1"]
SECOND = [name.replace("-1", "-2", 1) for name in FIRST]
CONTROL = ["train-step-matched", "evaluate-step-matched", "score-step-matched"]


@pytest.fixture
def run(fakes, tmp_path, settings, monkeypatch):
    """Start the run, with the fake stages and its report; returns the outcome."""
    # A thousand tasks: no power is cut here, and no models wait to be freed.
    monkeypatch.setattr("os.fsync", lambda fd: None)
    monkeypatch.setattr("gc.collect", lambda: 0)

    def start(until="", settings=settings, run_dir="run", **parts):
        def publish(state, run_dir):
            (run_dir / "report.json").write_text((state / "state.json").read_text())

        return local.run(settings, tmp_path / run_dir, until, Parts(stage=fakes.table().__getitem__, publish=publish, **parts))

    return start


def state_of(outcome):
    return json.loads((outcome.state / "state.json").read_text())


def test_the_order_of_the_tasks(run, fakes, tmp_path):
    outcome = run()
    assert fakes.calls == START + FIRST + SECOND + CONTROL
    assert state_of(outcome) == ["start", "merge-1", "score-1", "merge-2", "score-2", "score-step-matched"]
    assert json.loads((tmp_path / "run" / "report.json").read_text()) == state_of(outcome)


def inputs_of(fakes, name):
    (found,) = [i for i in fakes.inputs if i["name"] == name]
    return found


def test_every_iteration_trains_the_base_model_on_all_synthetic_data_so_far(run, fakes):
    run()
    second = inputs_of(fakes, "train-2")
    assert set(second["artifacts"]) == {"train_data", "synthetic_data"}
    assert "merge-2" in second["artifacts"]["synthetic_data"]["artifacts"][0]["uri"]


def test_agents_never_get_held_out_rows_or_report_predictions(run, fakes):
    run()
    for given in fakes.inputs:
        if given["name"].startswith(("analyze", "generate", "control")):
            assert not {"heldout_data", "report_predictions"} & set(given["artifacts"]), given["name"]


def test_the_step_matched_control_gets_the_steps_of_the_last_iteration_and_no_synthetic_data(run, fakes):
    run()
    control = inputs_of(fakes, "train-step-matched")
    assert control["parameterValues"]["max_steps"] == 60
    assert "synthetic_data" not in control["artifacts"]


def test_a_chain_goes_on_while_batches_are_open_and_ends_at_its_limit(run, fakes, settings):
    fakes.open_batches = lambda link: 2
    run(settings=settings.model_copy(update={"loop": settings.loop.model_copy(update={"iterations": 1})}))
    links = [name for name in fakes.calls if name.startswith("control-1")]
    assert links == [f"control-1-{n}" for n in range(1, 5)]  # 1 + 3 regenerations
    fed = inputs_of(fakes, "generate-1-2")["artifacts"]["checked_batches"]["artifacts"][0]["uri"]
    assert fed.endswith("control-1-1/checked_batches")


def test_the_gate_ends_the_loop(run, fakes):
    fakes.go_on = lambda iteration: iteration != 1
    run()
    assert "analyze-2" not in fakes.calls


def test_without_new_data_nothing_is_trained_again(run, fakes):
    fakes.learnt = lambda iteration: False
    outcome = run()
    assert fakes.calls == [*START, *FIRST[:4]]
    assert state_of(outcome)[-1] == "merge-1"


def test_what_was_taken_from_another_run_stays_taken_although_that_one_goes_on(run, fakes, settings, tmp_path):
    (tmp_path / "other").mkdir()
    taken = settings.analyze.model_copy(update={"patterns_from": str(tmp_path / "other")})
    taking = settings.model_copy(update={"analyze": taken})
    run(settings=taking)
    assert inputs_of(fakes, "analyze-2")["sections"].analyze.patterns_from == str(tmp_path / "other")
    fakes.calls.clear()
    (tmp_path / "other" / "latest_state").write_text("09-score-2/state")
    run(settings=taking)
    assert fakes.calls == []


def test_a_finished_run_repeats_nothing(run, fakes):
    first = state_of(run())
    fakes.calls.clear()
    assert state_of(run()) == first
    assert fakes.calls == []


def test_every_task_tells_that_it_started_and_ended_and_that_decides_nothing(run, fakes, tmp_path):
    run()
    events = list(told(f"{tmp_path}/run/events", "here").values())
    assert [(e.task, e.kind) for e in events] == [(name, kind) for name in fakes.calls for kind in ("started", "ended")]
    fakes.calls.clear()
    run()
    assert list(told(f"{tmp_path}/run/events", "here").values()) == events, "what was done before is not told again"
    shutil.rmtree(tmp_path / "run" / "events")
    run()
    assert fakes.calls == []


def test_what_came_out_is_said_now_and_in_later_starts(run, fakes, tmp_path):
    fakes.numbers = {"rows": 7}
    for said in (" s  7 rows", "done before  7 rows"):
        log = io.StringIO()
        run(log=RunLog(Console(file=log, highlight=False, soft_wrap=True)))
        lines = log.getvalue().splitlines()
        assert all(line.endswith(said) for line in lines if not line.endswith(" ..."))
        assert next(line for line in lines if "generate" in line).startswith("07 iteration 1, generate 1")


def test_a_stage_that_fails_tells_why(run, fakes, tmp_path):
    fakes.refuse_in = "generate-1-1"
    with pytest.raises(InputError):
        run()
    last = list(told(f"{tmp_path}/run/events", "here").values())[-1]
    assert (last.task, last.kind, last.message) == ("generate-1-1", "failed", "InputError: generate-1-1 refuses")


@pytest.mark.parametrize("task", START + FIRST + SECOND + CONTROL)
def test_killed_inside_any_task_it_goes_on_there_and_ends_the_same(task, run, fakes, tmp_path):
    fakes.die_in = task
    with pytest.raises(Killed):
        run()
    before = fakes.calls[:-1]
    (half,) = (tmp_path / "run").glob(f"[0-9][0-9]-{task}")
    (half / "leftover").write_text("from the try that was killed")
    fakes.die_in = ""
    fakes.calls.clear()
    outcome = run()
    assert before + fakes.calls == START + FIRST + SECOND + CONTROL
    assert not (half / "leftover").exists()
    assert state_of(outcome)[-1] == "score-step-matched"


def test_checkpoints_outlive_a_kill_and_go_with_the_finished_task(run, fakes, tmp_path):
    seen = []
    train = fakes._train_lora

    def train_lora(ex, name):
        folder = Path(ex.parameter("checkpoint_uri"))
        seen.append([p.name for p in folder.glob("*")])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "step-10").write_text("")
        if len(seen) == 1:
            raise Killed
        train(ex, name)

    fakes._train_lora = train_lora
    with pytest.raises(Killed):
        run("train")
    run("train")
    assert seen == [[], ["step-10"]]
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_an_edited_plan_is_used_and_the_analysis_is_not_repeated(run, fakes, tmp_path):
    outcome = run("analyze")
    assert fakes.calls == [*START, "analyze-1"]
    assert outcome.stopped_at == "analyze-1"
    run("generate")
    fakes.calls.clear()
    (outcome.tasks["analyze-1"]["plan"] / "strategies.yaml").write_text("- a person's idea\n")
    run()
    assert fakes.calls == FIRST[1:] + SECOND + CONTROL
    assert "a person's idea" in next((tmp_path / "run").glob("*-train-1/adapter/weights.txt")).read_text()


def test_an_editors_leftover_is_no_edit(run, fakes):
    outcome = run()
    fakes.calls.clear()
    (outcome.tasks["analyze-1"]["plan"] / ".strategies.yaml.swp").write_text("")
    (outcome.tasks["analyze-1"]["plan"] / "strategies.yaml~").write_text("")
    run()
    assert fakes.calls == []


def test_a_lost_output_is_made_again(run, fakes):
    outcome = run()
    fakes.calls.clear()
    shutil.rmtree(outcome.tasks["train-vanilla"]["adapter"])
    run()
    assert fakes.calls == ["train-vanilla"]  # what came out is the same, so nothing after it runs again


def test_changed_data_is_prepared_again(run, fakes, tmp_path):
    run()
    fakes.calls.clear()
    (tmp_path / "train.jsonl").write_text("other rows")
    run()
    assert fakes.calls[0] == "prepare"
    assert "train-vanilla" in fakes.calls


def test_changed_settings_are_refused_by_name(run, settings):
    run("prepare")
    changed = settings.model_copy(update={"train": settings.train.model_copy(update={"epochs": 1.0}), "seed": 7})
    with pytest.raises(InputError, match=r"seed \(0 there, 7 now\); train\.epochs \(5\.0 there, 1\.0 now\).*in another folder"):
        run(settings=changed)


def test_another_address_of_the_same_model_changes_nothing(run, fakes, settings):
    run()
    fakes.calls.clear()
    reach = {"base_url": "http://127.0.0.1:2/v1", "concurrency": 1, "headers": {"X-T": "7"}, "mode": "batch"}
    moved = settings.teacher.model_copy(update=reach)
    run(settings=settings.model_copy(update={"teacher": moved}))
    assert fakes.calls == []


def test_a_run_begun_before_there_was_a_setting_that_is_left_empty_goes_on(run, fakes, tmp_path):
    run()
    file = tmp_path / "run" / "settings.json"
    values = json.loads(file.read_text())
    for name in ("reasoning_effort", "extra_body", "headers", "usd_per_million_cached_input", "mode", "batch_discount"):
        del values["teacher"][name]
    file.write_text(json.dumps(values))
    fakes.calls.clear()
    run()
    assert fakes.calls == []


def test_a_run_directory_that_was_moved_is_whole(run, fakes, tmp_path):
    run("analyze")
    (tmp_path / "run").rename(tmp_path / "moved")
    fakes.calls.clear()
    run("analyze", run_dir="moved")
    assert fakes.calls == []


def test_a_second_process_is_refused(run, tmp_path):
    code = f"""
import fcntl, time
f = open({str(tmp_path / "run" / ".lock")!r}, "a")
fcntl.flock(f, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""
    (tmp_path / "run").mkdir()
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "held\n"
            with pytest.raises(InputError, match="another process"):
                run()
        finally:
            other.kill()
    assert run("prepare").stopped_at == "prepare"  # the lock went with the process


def test_until_takes_a_task_by_name_and_refuses_what_is_none(run, fakes):
    assert run("analyze-2").stopped_at == "analyze-2"
    assert fakes.calls[-1] == "analyze-2"
    with pytest.raises(InputError, match="--until shopping"):
        run("shopping")


def test_a_stage_that_forgets_to_finish_is_a_bug_not_a_success(run, fakes):
    stages = {**fakes.table(), "prepare_data": lambda ex: None}
    fakes.table = lambda: stages
    with pytest.raises(RuntimeError, match="prepare_data"):
        run()


class Servers:
    """Stands for llama.cpp: counts what is up."""

    def __init__(self):
        self.up, self.started, self.port = [], [], 9000

    @contextmanager
    def __call__(self, model, context):
        self.port += 1
        self.started.append((model, context))
        self.up.append(model)
        yield f"http://127.0.0.1:{self.port}/v1"
        self.up.remove(model)


def embedded(settings: Settings, teacher: str, judge: str) -> Settings:
    def llm(model, context):
        return settings.teacher.model_copy(update={"model": model, "base_url": "embedded", "embedded_context": context})

    return settings.model_copy(update={"teacher": llm(teacher, 4096), "judge": llm(judge, 2048)})


def test_the_embedded_server_runs_only_while_agents_work(run, fakes, settings):
    servers, up = Servers(), {}
    for stage in ("train_lora", "evaluate_slm", "analyze_patterns", "generate_data", "control_quality"):
        original = getattr(fakes, f"_{stage}")

        def wrapped(ex, name, original=original):
            up[name] = (list(servers.up), ex.parameter("settings").get("teacher", {}).get("base_url", ""))
            original(ex, name)

        setattr(fakes, f"_{stage}", wrapped)
    run(settings=embedded(settings, "small", "small"), server=servers)
    assert up["train-vanilla"] == up["evaluate-1"] == up["train-2"] == ([], "")
    assert up["analyze-1"] == up["generate-1-1"] == (["small"], "http://127.0.0.1:9001/v1")
    assert up["control-1-1"][0] == ["small"]
    assert servers.started == [("small", 4096), ("small", 4096)]  # once for each iteration, with the larger context
    assert servers.up == []


def test_a_judge_of_its_own_gets_its_own_server(run, settings):
    servers = Servers()
    run("generate", settings=embedded(settings, "small", "other"), server=servers)
    assert servers.started == [("small", 4096), ("other", 2048)]


@pytest.mark.parametrize(
    ("control", "asked"),
    [
        ({}, ("judge",)),
        ({"solver": "teacher"}, ("judge", "teacher")),
        ({"solver": "teacher", "solve": "off"}, ("judge",)),
        ({"verdict": "checks"}, ("judge",)),
        ({"verdict": "checks", "solver": "teacher"}, ("teacher",)),
        ({"verdict": "checks", "solve": "off"}, ()),
    ],
)
def test_the_servers_that_a_stage_reaches_are_those_it_asks(settings, control, asked):
    settings = settings.model_copy(update={"control": settings.control.model_copy(update=control)})
    stage = STAGES["control_quality"]
    sections = stage.sections(embedded(settings, "small", "other"))
    assert stage.asks(sections) == asked
    servers = Servers()
    with EmbeddedServers(embedded(settings, "small", "other"), servers) as reached:
        reached.reach(sections, stage.asks(sections))
    assert {model for model, _ in servers.started} == {{"judge": "other", "teacher": "small"}[role] for role in asked}


def test_resuming_starts_no_server_when_nothing_is_left_to_ask(run, settings):
    run(settings=embedded(settings, "small", "small"), server=Servers())
    servers = Servers()
    run(settings=embedded(settings, "small", "small"), server=servers)
    assert servers.started == []  # and the other port did not matter
