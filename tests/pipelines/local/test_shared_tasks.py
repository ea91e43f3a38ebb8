"""Two runs that share tasks: what is equal is done once, what differs is not taken over, and nothing half-done is."""

import shutil
import threading
import time

import pytest
from fake_stages import Killed

from pada_agent.pipelines.local import run as local
from pada_agent.pipelines.local.run import Parts

EQUAL = ["prepare", "train-vanilla", "evaluate-untuned", "evaluate-vanilla"]


@pytest.fixture
def run(fakes, tmp_path, settings, monkeypatch):
    """Start a run in a folder of the given name; returns the tasks that its stages did."""
    monkeypatch.setattr("os.fsync", lambda fd: None)
    monkeypatch.setattr("gc.collect", lambda: 0)

    def start(name, settings=settings, **changes):
        fakes.calls.clear()
        parts = Parts(stage=fakes.table().__getitem__, publish=lambda state, folder: None, shared=tmp_path / "shared")
        local.run(settings.model_copy(update=changes), tmp_path / name, parts=parts)
        return list(fakes.calls)

    return start


def changed(settings, section, **values):
    return {section: getattr(settings, section).model_copy(update=values)}


def test_what_is_equal_is_done_once_and_what_llms_answer_is_each_runs_own(run, settings, tmp_path):
    first = run("one")
    second = run("two", **changed(settings, "generate", temperature=1.0))
    assert second == [task for task in first if not task.startswith(("prepare", "train", "evaluate"))]
    weights = [next((tmp_path / name).glob("*-train-vanilla/adapter/weights.txt")) for name in ("one", "two")]
    assert weights[0].read_text() == weights[1].read_text()
    assert weights[0].samefile(weights[1])


def test_another_seed_trains_its_own(run):
    run("one")
    assert "train-vanilla" in run("two", seed=7)


def test_step_matched_vanilla_is_shared_by_methods_of_as_many_steps(run, settings, fakes, tmp_path):
    run("one")
    assert "train-step-matched" not in run("two", **changed(settings, "generate", temperature=1.0))
    (tmp_path / "train.jsonl").write_text("other rows")
    assert "train-step-matched" in run("three", **changed(settings, "generate", temperature=1.0))


def test_a_task_that_was_killed_is_not_shared_and_what_ended_before_the_kill_is(run, fakes):
    fakes.die_in = "evaluate-vanilla"
    with pytest.raises(Killed):
        run("one")
    fakes.die_in = ""
    assert [task for task in run("two") if task in EQUAL] == ["evaluate-vanilla"]
    assert not set(run("one")) & set(EQUAL)


def test_a_task_finished_before_there_was_anything_to_share_is_given_to_others(run, tmp_path):
    run("one")
    for kept in (tmp_path / "shared").glob("*"):
        kept.rename(tmp_path / kept.name)
    assert not set(run("one")) & set(EQUAL)
    assert not set(run("two")) & set(EQUAL)


def test_a_shared_task_that_lost_something_is_done_again_and_shared_again(run, tmp_path):
    run("one")
    for adapter in (tmp_path / "shared").glob("*/adapter"):
        shutil.rmtree(adapter)
    assert "train-vanilla" in run("two")
    assert "train-vanilla" not in run("three")


def test_of_two_runs_at_once_one_works_and_the_other_waits(fakes, settings, tmp_path):
    stages = fakes.table()

    def slow(executor):
        time.sleep(0.5)  # as long as the other takes to come here too
        stages["prepare_data"](executor)

    def start(name):
        parts = Parts(stage={**stages, "prepare_data": slow}.__getitem__, shared=tmp_path / "shared")
        local.run(settings, tmp_path / name, "evaluate", parts)

    threads = [threading.Thread(target=start, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(fakes.calls) == sorted(EQUAL)
    assert len(list(tmp_path.glob("*/04-evaluate-vanilla/executor_output.json"))) == 2
