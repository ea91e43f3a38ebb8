"""Two runs that share tasks: what is equal is done once, what differs is not taken over, and nothing half-done is."""

import threading

import pytest
from fake_stages import Killed

from pada_agent.pipelines.local import run as local
from pada_agent.pipelines.local.run import Parts
from pada_agent.pipelines.local.run_directory import TaskFolder
from pada_agent.pipelines.local.shared_tasks import SharedTasks

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


def test_of_two_at_once_one_works_and_the_other_waits(tmp_path):
    shared, key, worked = SharedTasks(tmp_path / "shared"), "abc", []

    def work(name):
        task = TaskFolder(tmp_path / name)
        with shared.held(key):
            if not shared.take(key, task):
                task.begin("train_lora", key, "{}")
                ready.wait(5)
                task.output_file.write_text('{"artifacts": {}}')
                task.end("train_lora", key, 0, {})
                worked.append(name)
            shared.give(key, task)

    ready = threading.Event()
    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    ready.set()
    for thread in threads:
        thread.join()
    assert len(worked) == 1
    assert all(TaskFolder(tmp_path / name).finished(key) for name in ("one", "two"))
