"""The exit task after runs that ended well, in a plateau, in a failure, and before anything."""

import json
import re
from html import unescape

import pytest
from result_task import RUN, Run, artifact, of_run

from pada_agent.components.backends.store import objects
from pada_agent.components.backends.store.export import publish
from pada_agent.components.core.report.page import render
from pada_agent.components.core.state import Decision
from tests.components.core.conftest import a_finished_state, rows_of
from tests.components.core.report.test_page import Page

TAG = re.compile(r"<[^<>]+>")
BEGUN = ("prepare", "train-vanilla", "evaluate-untuned", "evaluate-vanilla", "start", "analyze-1", "merge-1", "train-1")
NO_MEMORY = "ModelError: out of memory with 64 rows at once; lower evaluate.batch"
EARLIER = "0c6a9d53-0f6b-4b3c-9c33-3e2a4cf7be82"


@pytest.fixture
def state():
    return of_run(a_finished_state())


@pytest.fixture
def begun(state):
    """The same run after its first iteration was scored."""
    models = [m for m in state.models if m.name not in ("iteration-2", "step-matched")]
    return state.model_copy(update={"models": models, "iterations": state.iterations[:1], "decision": Decision()})


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path, str(tmp_path / "work" / "events"))


def text_of(page):
    """What a reader sees, from the first line on."""
    Page(page)  # every tag is closed
    return " ".join(unescape(TAG.sub(" ", page.partition("<body>")[2])).split())


def adapter(folder, text="weights"):
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_text(text)
    return folder


def exported(run, state, text="weights", **change):
    """An adapter at an export_uri, as update_state puts it there."""
    model = state.model(state.incumbent)
    uri = str(run.root / "shipped")
    publish(adapter(run.root / f"trained-{text}", text), uri, model.name, {"adapter_uri": model.adapter_uri, **change})
    return uri


def test_a_run_that_ended_well(run, state, capsys):
    run.did(*BEGUN, "evaluate-1", "score-1", "score-step-matched")
    run.keep(state)
    result = run.publish(capsys)
    assert result.page == render(state, rows_of(state)), "the report, and nothing above it"
    over = json.loads(result.places["metrics"].read_text())
    assert over == result.metrics
    assert list(over) == [
        *(f"test accuracy: {name}" for name in ("untuned", "vanilla", "step-matched", "shipped")),
        *(f"gain over step-matched{end}" for end in ("", ": from", ": to")),
        *("iterations", "synthetic rows", "LLM cost in USD"),
    ]
    accuracies = {m.name: m.metrics["test"].accuracy for m in state.models}
    assert over["test accuracy: shipped"] == accuracies["iteration-1"]
    assert over["gain over step-matched"] == pytest.approx(accuracies["iteration-1"] - accuracies["step-matched"], abs=1e-4)
    assert over["gain over step-matched: from"] < over["gain over step-matched"] < over["gain over step-matched: to"]
    assert (over["iterations"], over["synthetic rows"]) == (2, 4)
    assert result.artifacts["report"]["metadata"] == {"run": RUN, "ended": "well"}
    last = result.log.splitlines()[-1].replace("\u00a0", " ")
    assert f"shipped {100 * accuracies['iteration-1']:.1f} % (iteration-1)" in last
    assert "gain over step-matched +" in last and "2 iterations, 4 synthetic rows" in last


def test_the_adapter_is_where_training_left_it_without_a_copy(run, state, capsys):
    run.keep(state)
    result = run.publish(capsys)
    found = result.artifacts["adapter"]
    assert found["uri"] == artifact("train-1", "adapter") == state.model("iteration-1").adapter_uri
    assert not list(result.places["adapter"].iterdir()), "else the launcher would upload it into the adapter"
    assert (found["metadata"]["shipped"], found["metadata"]["final"]) == ("iteration-1", True)
    assert "note" not in found["metadata"]


def test_a_plateau_ships_its_start_and_gained_nothing(run, state, capsys):
    ended = Decision(go_on=False, reason="plateau: no better selection accuracy for 2 iterations")
    run.keep(state.model_copy(update={"incumbent": "vanilla", "decision": ended}))
    result = run.publish(capsys)
    assert "The loop ended: plateau" in text_of(result.page)
    assert result.metrics["test accuracy: shipped"] == result.metrics["test accuracy: vanilla"]
    assert not [name for name in result.metrics if "gain" in name]
    assert result.artifacts["adapter"]["uri"] == artifact("train-vanilla", "adapter")


def test_a_stage_that_failed_comes_first_and_then_what_was_reached(run, begun, capsys):
    run.tell("train-1", "started")
    run.tell("train-1", "failed", message="StoreError: the store was away")  # and was started again
    run.did(*BEGUN, "evaluate-1", "score-1", "train-2")
    run.tell("evaluate-2", "started")
    run.tell("evaluate-2", "failed", message=NO_MEMORY)
    run.keep(begun)
    result = run.publish(capsys)
    said = text_of(result.page)
    assert said.startswith(f"The run failed in evaluate-2. {NO_MEMORY} What had ended and what was paid is kept")
    assert "What it had reached by then: untuned evaluated, vanilla evaluated, iteration-1 evaluated" in said
    assert "failed Iteration 1 answers" in said, "the report so far, called failed and not running"
    assert "store was away" not in said
    assert result.metrics["failed: evaluate-2"] == 1 and result.metrics["iterations"] == 1
    assert all(type(value) in (int, float) for value in result.metrics.values()), "else a later launcher fails the task"
    assert result.artifacts["report"]["metadata"]["failed"] == f"evaluate-2: {NO_MEMORY}"
    assert f" s  failed evaluate-2: {NO_MEMORY}, test accuracy untuned" in result.log.splitlines()[-1]
    assert result.artifacts["adapter"]["metadata"]["final"] is False


def test_a_pod_that_was_killed_told_nothing_and_is_named_all_the_same(run, begun, capsys):
    run.did(*BEGUN, "evaluate-1", "score-1")
    run.tell("evaluate-2", "started")
    run.tell("train-2", "progress", what="training steps", done=120, total=1300)
    run.tell("evaluate-2", "stopped", message="terminated; start it again to go on")
    run.keep(begun)
    result = run.publish(capsys)
    said = text_of(result.page)
    assert "The run was lost in train-2." in said
    assert "(120 of 1,300 training steps) and never ended: its pod was lost or killed" in said
    assert said.index("train-2.") < said.index("evaluate-2 stopped: terminated; start it again to go on")
    assert (result.metrics["lost: train-2"], result.metrics["stopped: evaluate-2"]) == (1, 1)


def test_a_failure_before_anything(run, capsys):
    run.tell("prepare", "started")
    run.tell("prepare", "failed", message="InputError: s3://b/train.jsonl: <b>no such bucket</b>")
    result = run.publish(capsys)
    said = text_of(result.page)
    assert "The run failed in prepare." in said and "no model was evaluated" in said
    assert "<b>no such bucket</b>" in said, "as text"
    assert result.metrics == {"failed: prepare": 1}
    assert result.artifacts["adapter"]["metadata"] == {"shipped": "", "note": "this run came to no model to ship"}
    assert not list(result.places["adapter"].iterdir())
    assert result.log.splitlines()[-1].endswith(" s  failed prepare: InputError: s3://b/train.jsonl: <b>no such bucket</b>")


def test_a_task_that_never_started(run, begun, capsys):
    run.did(*BEGUN, "evaluate-1", "score-1")
    run.keep(begun)
    said = text_of(run.publish(capsys).page)
    assert "The run ended before it was over. No task told why: the last one that ended is score-1; what follows it never" in said


def test_the_step_matched_model_that_was_to_come_is_missed(run, state, capsys):
    run.did(*BEGUN)
    models = [m for m in state.models if m.kind != "step_matched"]
    facts = state.run.model_copy(update={"step_matched": True})
    run.keep(state.model_copy(update={"models": models, "run": facts}))
    assert "ended before it was over" in text_of(run.publish(capsys).page)


def test_an_event_that_was_lost_makes_no_failure_of_a_run_that_is_over(run, state, capsys):
    run.tell("train-1", "started")
    run.did("score-step-matched")
    run.keep(state)
    result = run.publish(capsys)
    assert result.page == render(state, rows_of(state))
    assert result.artifacts["report"]["metadata"]["ended"] == "well" and "lost: train-1" not in result.metrics


@pytest.mark.parametrize("others", [True, False])
def test_a_run_that_told_nothing_has_no_other_runs_result(run, state, capsys, others):
    if others:
        elsewhere = Run(run.root, run.events_uri, EARLIER)
        elsewhere.did(*BEGUN)
        elsewhere.keep(state)
        later = Run(run.root, run.events_uri, "no-state")
        later.seconds = 100
        later.did("prepare")
    result = run.publish(capsys)
    said = text_of(result.page)
    assert f"Nothing was told of run {RUN}: either all its results were taken over from an earlier run" in said
    assert (f"those of run {EARLIER}, the newest one" in said) is others
    assert ("Iteration 1 answers" in said) is others
    assert result.metrics == {}
    assert result.artifacts["adapter"]["metadata"]["shipped"] == ""


def test_the_exported_adapter_is_copied_whole(run, state, capsys):
    run.keep(state)
    uri = exported(run, state)
    result = run.publish(capsys, export_uri=uri)
    found = result.artifacts["adapter"]
    assert (found["uri"], found["metadata"]["from"]) == (artifact("result", "adapter"), uri)
    assert sorted(p.name for p in result.places["adapter"].iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert (result.places["adapter"] / "adapter_model.safetensors").read_text() == "weights"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda run, state: exported(run, state, adapter_uri=artifact("train-1", "adapter", EARLIER)),
            "the adapter of another run",
        ),
        (lambda run, state: str(run.root / "nowhere"), "nothing lies there"),
        (lambda run, state: cut(exported(run, state)), "missing or not as published"),
    ],
)
def test_no_strangers_adapter_is_published_and_none_cut_short(run, state, capsys, damage, message):
    run.keep(state)
    result = run.publish(capsys, export_uri=damage(run, state))
    found = result.artifacts["adapter"]
    assert message in found["metadata"]["note"] and message in result.log
    assert found["uri"] == artifact("train-1", "adapter"), "this run's own, where training left it"


def cut(uri):
    name = next(name for name in objects.names(uri) if name.endswith(".safetensors"))
    objects.write(f"{uri}/{name}", b"wei")
    return uri


def test_the_adapter_of_a_task_that_was_taken_over_is_copied(run, state, capsys):
    elsewhere = str(adapter(run.root / "earlier" / "train-1" / "adapter"))
    models = [m.model_copy(update={"adapter_uri": elsewhere}) if m.name == "iteration-1" else m for m in state.models]
    run.keep(state.model_copy(update={"models": models}))
    found = run.publish(capsys)
    assert found.artifacts["adapter"]["uri"] == artifact("result", "adapter")
    assert (found.places["adapter"] / "adapter_model.safetensors").read_text() == "weights"


def test_an_adapter_that_is_gone_is_said_to_be(run, state, capsys):
    models = [m.model_copy(update={"adapter_uri": "/nowhere/adapter"}) if m.name == "iteration-1" else m for m in state.models]
    run.keep(state.model_copy(update={"models": models}))
    found = run.publish(capsys)
    assert "/nowhere/adapter: there is no such file" in found.artifacts["adapter"]["metadata"]["note"]
    assert not list(found.places["adapter"].iterdir())


def test_a_state_that_cannot_be_read_hides_no_failure(run, capsys):
    run.tell("score-1", "failed", message="InputError: no rows")
    objects.write(f"{run.events_uri}/{RUN}/state.json", b'{"version": 1, "mod')
    result = run.publish(capsys)
    assert "The run failed in score-1. InputError: no rows" in text_of(result.page)
    assert f"{run.events_uri}/{RUN}/state.json: not JSON" in result.log


def test_without_a_place_to_read_it_ends_in_one_line(run, capsys):
    with pytest.raises(SystemExit, match=r"InputError: work_uri: missing; give the folder that the other stages were given"):
        run.publish(capsys, work_uri="")
