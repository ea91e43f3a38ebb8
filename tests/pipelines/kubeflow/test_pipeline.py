"""The committed packages, followed task by task with small stages: which tasks run, in which order, on which data."""

from functools import cache
from importlib import import_module

import pytest
from package_runner import PackageRun, TaskFailed

from pada_agent.components.core.form import FIELDS, parameters_of
from pada_agent.components.core.settings import LoopSettings, Settings
from pada_agent.components.stages import STAGES
from pada_agent.pipelines.kubeflow.package import TARGETS, documents_of, package_file, read_package, stage_of, tasks_of

START = ["prepare", "train-vanilla", "evaluate-untuned", "evaluate-vanilla", "start"]
STEP_MATCHED = ["train-step-matched", "evaluate-step-matched", "score-step-matched"]
RESULT = ["result"]  # runs however the others end


def iteration(k):
    links = [f"{verb}-{k}-{link}" for link in (1, 2, 3, 4) for verb in ("generate", "control")]
    return [f"analyze-{k}", *links, f"merge-{k}", f"train-{k}", f"evaluate-{k}", f"score-{k}"]


@cache
def spec_of(target):
    return documents_of(package_file(target).read_text())[0]


@pytest.fixture(params=TARGETS)
def follow(request, fakes, tmp_path, settings, monkeypatch):
    """Follow the committed package of a target; returns its tasks."""
    monkeypatch.setattr("os.fsync", lambda fd: None)  # a thousand tasks, and no power is cut here
    spec = spec_of(request.param)
    given = settings.model_copy(update={"loop": LoopSettings(iterations=3)})

    def start(container):
        fakes.table()[container.stage](container.executor)
        return 0

    def run(settings=given, without=(), **more):
        parameters = {name: value for name, value in parameters_of(settings).items() if name not in without}
        return PackageRun(spec, tmp_path / "run", more.pop("start", start)).run(
            work_uri=str(tmp_path / "work"), data_version="1", **{**parameters, **more}
        )

    return run


def inputs_of(fakes, name):
    (found,) = [i for i in fakes.inputs if i["name"] == name]
    return found


def artifact_of(fakes, name, artifact):
    return inputs_of(fakes, name)["artifacts"][artifact]["artifacts"][0]["uri"].rsplit("/", 2)[-2:]


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_the_number_of_iterations_is_decided_at_run_time(follow, fakes, stop_after):
    fakes.go_on = lambda k: k != stop_after
    ran = follow()
    expected = START + [task for k in range(1, stop_after + 1) for task in iteration(k)]
    assert sorted(fakes.calls) == sorted(expected + STEP_MATCHED + RESULT)
    assert list(ran) == fakes.calls
    assert fakes.calls[-1:] == RESULT


def test_at_the_limit_nothing_follows(follow, fakes):
    follow()
    assert sorted(fakes.calls) == sorted(START + iteration(1) + iteration(2) + iteration(3) + STEP_MATCHED + RESULT)
    assert len(fakes.calls) == 48


def test_the_fields_that_must_be_given_start_a_run(follow, fakes):
    """By hand in the UI: no settings, and every other field as it stands in the form."""
    optional = [name for name, field in FIELDS.items() if field.default is not None]
    follow(without=["settings", *optional])
    assert len(fakes.calls) == 48, "the default is three iterations"
    given = inputs_of(fakes, "prepare")["parameterValues"]
    assert (given["iterations"], given["max_iterations"]) == (3.0, 3.0)
    settings = Settings.model_validate(given["settings"])
    assert (settings.task.name, settings.slm.model, settings.teacher.base_url) == ("gsm8k", "some/slm", "")


def test_without_new_data_no_gpu_is_asked_for(follow, fakes):
    fakes.learnt = lambda k: k < 2
    follow()
    assert sorted(fakes.calls) == sorted(START + iteration(1) + iteration(2)[:10] + STEP_MATCHED + RESULT)
    assert artifact_of(fakes, "score-step-matched", "previous_state")[0].endswith("-merge-2")


def test_without_any_new_data_nothing_is_trained_again(follow, fakes):
    fakes.learnt = lambda k: False
    follow()
    assert sorted(fakes.calls) == sorted(START + iteration(1)[:10] + RESULT)


def test_the_step_matched_model_is_left_out_where_the_settings_say_so(follow, fakes, settings):
    follow(settings.model_copy(update={"step_matched": False}))
    assert sorted(fakes.calls) == sorted(START + iteration(1) + iteration(2) + RESULT)


@pytest.mark.parametrize(
    ("as_compiled", "taken_over"),
    [(False, 46), (True, 15)],  # as compiled, update_state runs each time: with it whatever follows from a state
)
def test_the_same_run_again_takes_over_what_the_first_one_did(fakes, settings, tmp_path, monkeypatch, as_compiled, taken_over):
    monkeypatch.setattr("os.fsync", lambda fd: None)
    package = read_package(package_file("kubernetes"), "kubernetes")
    spec = package.spec if as_compiled else package.write_with_exporting_tasks_cached(tmp_path / "package.yaml").spec
    given = parameters_of(settings.model_copy(update={"loop": LoopSettings(iterations=3)}))
    cache = {}

    def start(container):
        fakes.table()[container.stage](container.executor)
        return 0

    def follow(run_id, **more):
        run = PackageRun(spec, tmp_path / "run", start, run_id=run_id, cache=cache)
        parameters = {**given, "work_uri": str(tmp_path / "work"), "data_version": "1"}
        run.run(**{**parameters, **more})
        return run.taken_over

    assert follow("first") == []
    again = follow("second")
    assert len(again) == taken_over and not {"score-step-matched", "result"} & set(again)
    assert {"prepare", "train-vanilla", "evaluate-untuned", "evaluate-vanilla"} <= set(again)
    assert follow("third", data_version="2") == [], "what lies at an address is part of every task's inputs"


def test_each_iteration_learns_from_the_one_before(follow, fakes):
    follow()
    assert artifact_of(fakes, "analyze-1", "predictions")[0].endswith("-evaluate-vanilla")
    assert artifact_of(fakes, "analyze-2", "predictions")[0].endswith("-evaluate-1")
    assert artifact_of(fakes, "analyze-2", "state")[0].endswith("-score-1")
    assert artifact_of(fakes, "generate-2-2", "checked_batches")[0].endswith("-control-2-1")
    assert artifact_of(fakes, "merge-2", "checked_batches")[0].endswith("-control-2-4")
    assert "checked_batches" not in inputs_of(fakes, "generate-2-1")["artifacts"]
    assert "synthetic_data" not in inputs_of(fakes, "control-1-1")["artifacts"]
    assert artifact_of(fakes, "control-2-1", "synthetic_data")[0].endswith("-merge-1")


def test_the_step_matched_model_gets_the_steps_of_the_last_iteration_and_no_synthetic_data(follow, fakes):
    follow()
    control = inputs_of(fakes, "train-step-matched")
    assert control["parameterValues"]["max_steps"] == 60
    assert "synthetic_data" not in control["artifacts"]
    assert artifact_of(fakes, "score-step-matched", "adapter")[0].endswith("-train-step-matched")
    assert artifact_of(fakes, "score-step-matched", "previous_state")[0].endswith("-score-3")
    assert artifact_of(fakes, "start", "baseline_report_predictions")[0].endswith("-evaluate-untuned")


def test_agents_never_get_held_out_rows_or_report_predictions(follow, fakes):
    follow()
    for given in fakes.inputs:
        if given["name"].startswith(("analyze", "generate", "control")):
            assert not {"heldout_data", "report_predictions", "analyses"} & set(given["artifacts"]), given["name"]


def test_what_is_paid_and_trained_is_kept_below_the_runs_own_uri(follow, fakes, tmp_path):
    follow()
    given = {i["name"]: i["parameterValues"] for i in fakes.inputs}
    assert {values["work_uri"] for values in given.values()} == {str(tmp_path / "work")}
    trained = [values["name"] for name, values in given.items() if name.startswith("train-")]
    assert len(set(trained)) == len(trained) == 5, "the checkpoints of each training are below a name of its own"


@pytest.mark.parametrize("failing", ["prepare", "train-2"])
def test_a_stage_that_fails_fails_the_run_after_its_retries_and_result_still_runs(follow, fakes, failing):
    tries = []

    def start(container):
        tries.append(container.task)
        if container.task == failing:
            return 1
        fakes.table()[container.stage](container.executor)
        return 0

    with pytest.raises(TaskFailed, match=f"{failing}: exit code 1 after 4 tries"):
        follow(start=start)
    assert tries[-5:] == [failing] * 4 + RESULT


def test_without_a_failure_of_the_first_model_there_is_nothing_to_iterate_over(follow, fakes):
    fakes.go_on = lambda k: k != 0
    follow()
    assert sorted(fakes.calls) == sorted(START + RESULT)


def test_all_stages_are_in_the_loop():
    spec = spec_of("kubernetes")
    stages = {stage_of(executor["container"]) for executor in spec["deploymentSpec"]["executors"].values()}
    assert stages == {*STAGES} - {"score_answers"}, "which is in the package that scores"
    assert sum(1 for _ in tasks_of(spec)) == 48 + 16, "tasks and groups; step-matched is written once"
    assert spec["pipelineInfo"]["name"] == import_module("pada_agent.pipelines.kubeflow.pipeline").NAME
