"""`pada watch` on a folder: what is said of a run's events, when it is over, and with which exit code."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from small_state import finished, keep, without_new_data

from pada_agent.components.backends.store.events import Event, tell
from pada_agent.components.core.errors import PassingError
from pada_agent.pipelines import follow

TODAY = datetime.now(UTC) - timedelta(seconds=60)


@pytest.fixture
def run(tmp_path):
    """Tell events of a run, a millisecond apart: `run("started prepare", "failed train-1 no rows")`."""
    count = iter(range(10_000))

    def call(*said, run="r1", **more):
        for text in said:
            kind, task, message = [*text.split(" ", 2), ""][:3]
            about = {"message": message, **more, "time": TODAY + timedelta(milliseconds=next(count))}
            tell(str(tmp_path / "work" / "events"), run, Event(task=task, kind=kind, **about))

    call.folder = tmp_path / "work" / "events"
    return call


@pytest.fixture
def watch(pada, tmp_path, monkeypatch):
    monkeypatch.setattr(follow, "POLL_SECONDS", 0.01)

    def call(*more, place="--work-uri"):
        code, out, said = pada("watch", place, tmp_path / "work", *more)
        return code, [re.sub(r"^[\d:-]+( [\d:]+)? ", "", line) for line in out.splitlines()], said

    return call


def test_a_run_in_words_then_the_table_and_the_report(run, watch):
    keep(finished(), run.folder / "r1")
    run("started prepare")
    run("ended prepare", seconds=41.2, numbers={"rows": 44})
    run("started train-1")
    run("progress train-1", what="training steps", done=120, total=300, seconds_left=245)
    run("ended train-1", seconds=90, numbers={"last loss": 0.412})
    run("started result", "ended result")
    code, lines, said = watch()
    assert (code, said) == (0, "")
    assert lines[:7] == [
        "run r1",
        "prepare: started",
        "prepare: 41 s  44 rows",
        "iteration 1, train: started",
        "iteration 1, train: 1 min 30 s  last loss 0.412",  # how far it was is of no use any more
        "result: started",
        "result: 0 s",
    ]
    assert lines[7].startswith("model ") and [line for line in lines[8:] if line.startswith("Iteration 1 (shipped) ")]
    assert lines[-1] == f"Report: {run.folder}/r1/report.html"


def test_the_time_of_day_and_the_date_of_another_day():
    assert re.fullmatch(r"\d\d:\d\d:\d\d", follow.clock(datetime.now(UTC)))
    assert re.fullmatch(r"2026-01-0\d \d\d:\d\d:\d\d", follow.clock(datetime(2026, 1, 5, 12, tzinfo=UTC)))


def test_what_is_known_now(run, watch):
    run("started train-1")
    run("progress train-1", what="training steps", done=20, total=300, seconds_left=600)
    run("progress train-1", what="training steps", done=120, total=300, seconds_left=245)
    code, lines, said = watch("--once")
    assert (code, said) == (1, "")
    expected = ["run r1", "iteration 1, train: started", "iteration 1, train: 120 of 300 training steps, 4 min left"]
    assert lines == [*expected, "The run goes on."]


def test_each_event_is_said_once_while_the_log_grows(run, watch, monkeypatch):
    parts = [["started prepare"], [], ["ended prepare", "started train-1"], ["ended train-1"], ["started result", "ended result"]]
    keep(finished(), run.folder / "r1")
    run(*parts.pop(0))
    monkeypatch.setattr(follow.time, "sleep", lambda seconds: run(*parts.pop(0)))
    code, lines, _ = watch()
    assert code == 0
    told = [line.partition(":")[0] for line in lines[1:7]]
    assert told == ["prepare", "prepare", *["iteration 1, train"] * 2, "result", "result"]


def test_a_task_that_is_started_again(run, watch):
    run("started train-2", "stopped train-2 terminated", "started train-2", "started train-2")
    run("started score-2", numbers={"attempt": 3})  # the two before could tell nothing
    run("ended score-2", "started score-2")  # of an edited run directory: nothing went wrong
    lines = watch("--once")[1]
    assert lines[1:] == [
        "iteration 2, train: started",
        "iteration 2, train stopped: terminated",
        "iteration 2, train: started again (attempt 2)",
        "iteration 2, train: started again (attempt 3)",
        "iteration 2, score: started again (attempt 3)",
        "iteration 2, score: 0 s",
        "iteration 2, score: started",
        "The run goes on.",
    ]


def test_an_event_that_comes_late_does_not_make_a_task_go_on(run):
    keep(finished(), run.folder / "r1")
    run("ended train-1", "ended result")
    said = []
    following = follow.Following(str(run.folder), "r1", said.append)
    assert following.look() and len(said) == 2
    early = {"time": TODAY - timedelta(seconds=9), "what": "steps", "done": 1, "total": 2}
    tell(str(run.folder), "r1", Event(task="train-1", kind="progress", **early))
    assert following.look() and len(said) == 2
    assert following.over and following.failures == []


def test_a_failed_run_ends_with_the_sentence_of_its_stage(run, watch):
    run("ended prepare", "started train-1", "failed train-1 InputError: slm.model: no such model; correct it")
    run("started result", "ended result")
    code, lines, said = watch()
    assert (code, said) == (1, "")
    assert lines[-1] == "failed: iteration 1, train: InputError: slm.model: no such model; correct it"


def test_a_task_that_was_lost(run, watch):
    run("started train-1")
    run("progress train-1", what="training steps", done=20, total=300)
    run("started result", "ended result")
    code, lines, _ = watch()
    assert code == 1
    assert re.fullmatch(
        r"failed: iteration 1, train: it told nothing after \S+ \(20 of 300 training steps\): its pod was lost or killed, for "
        "want of memory perhaps",
        lines[-1],
    )


def test_a_run_whose_next_task_never_started(run, watch):
    run("started prepare", "ended prepare", "started result", "ended result")
    code, lines, _ = watch()
    assert code == 1
    assert lines[-1].startswith("The run ended before it was over, and no task told why")


def test_who_failed_and_did_well_the_next_time_is_forgotten(run, watch):
    keep(finished(), run.folder / "r1")
    run("failed train-1 no room", "started train-1", "ended train-1", "started score-1", "ended result")  # score-1 could not tell
    assert watch()[0] == 0


def test_a_result_that_cannot_be_published_is_a_failure_of_a_run_that_is_over(run, watch):
    keep(finished(), run.folder / "r1")
    run("ended score-1", "failed result InputError: gs://out: no permission")
    code, lines, _ = watch()
    assert (code, lines[-1]) == (1, "failed: result: InputError: gs://out: no permission")


def test_a_run_that_was_taken_over_as_a_whole(run, watch):
    run("started result", "ended result")
    code, lines, _ = watch()
    assert code == 0
    assert "its results are where the run took them over from" in lines[-1]


def test_a_run_that_shows_nothing(run, watch):
    keep(without_new_data(), run.folder / "r1")
    run("ended merge-1", "ended result")
    code, lines, said = watch()
    assert code == 1
    assert lines[-1].startswith("Report: ")
    assert said.startswith("pada: no synthetic row was let in, so this run shows nothing")


def test_the_latest_run_and_one_that_is_asked_for(run, watch):
    run("failed prepare ours", "ended result", run="ours")
    run("failed prepare theirs", "ended result", run="theirs")
    code, lines, _ = watch()
    assert (code, lines[0]) == (1, "run theirs, the latest of 2 there; --run ID for another")
    assert lines[-1] == "failed: prepare: theirs" and "ours" not in "".join(lines[1:-1])
    assert watch("--run", "ours")[1] == ["prepare failed: ours", "result: 0 s", "failed: prepare: ours"]


def test_a_run_that_is_asked_for_may_not_have_begun(run, watch, monkeypatch):
    monkeypatch.setattr(follow.time, "sleep", lambda seconds: run("failed prepare no rows", "ended result", run="later"))
    assert watch("--run", "later")[1][-1] == "failed: prepare: no rows"


@pytest.mark.parametrize("last", ["failed train-1 no room", "stopped train-1 interrupted; start it again to go on"])
def test_a_run_directory_is_over_when_a_task_failed_or_was_stopped(run, watch, last):
    run("started train-1", last, run="here")
    code, lines, _ = watch(place="--run-dir")
    kind, _, message = last.split(" ", 2)
    assert code == 1
    assert lines == [
        "iteration 1, train: started",
        f"iteration 1, train {kind}: {message}",
        f"failed: iteration 1, train: {message}",
    ]


def test_a_run_directory_is_over_with_its_last_state(run, watch, tmp_path):
    keep(finished().model_copy(update={"models": finished().models[:3]}), run.folder / "here")
    run("ended score-1", run="here")
    code, lines, _ = watch("--once")
    assert (code, lines[-1]) == (1, "The run goes on.")  # with the step-matched model
    keep(finished(), run.folder / "here")
    run("started score-step-matched", run="here")
    assert watch("--once")[1][-1] == "The run goes on."
    run("ended score-step-matched", run="here")
    code, lines, _ = watch()
    assert (code, lines[-1]) == (0, f"Report: {tmp_path / 'work'}/report.html")  # that of the directory
    run("ended merge-1", run="here")  # after an edit; update_state keeps the state of the run before until one differs from it
    assert watch("--once")[1][-1] == "The run goes on."
    run("failed analyze-1 no answer", run="here")
    code, lines, _ = watch()
    assert (code, lines[-1]) == (1, "failed: iteration 1, analyze: no answer")


@pytest.mark.parametrize(
    "change, task",
    [
        ({}, "score-step-matched"),
        ({"models": finished().models[:3]}, "score-1"),
        ({"models": finished().models[:2], "iterations": [finished().iterations[0].model_copy(update={"model": ""})]}, "merge-1"),
        ({"models": finished().models[:2], "iterations": []}, "start"),
    ],
)
def test_a_run_directory_may_end_with_each_task_that_leaves_a_state(run, watch, change, task):
    facts = finished().run.model_copy(update={"step_matched": task == "score-step-matched"})
    keep(finished().model_copy(update={**change, "run": facts, "incumbent": "vanilla"}), run.folder / "here")
    run("ended analyze-1", run="here")
    assert watch("--once")[1][-1] == "The run goes on."
    run(f"ended {task}", run="here")
    assert watch("--once")[1][-1].startswith("Report: ")


def test_there_is_nothing_to_watch(watch, tmp_path):
    code, lines, said = watch()
    assert (code, lines) == (1, [])
    assert said == (
        f"pada: {tmp_path}/work/events: no run has told anything there; a run does when its first task starts: try again then, "
        "or correct --work-uri (--run-dir for one on this machine)"
    )


def test_interrupted(run, watch, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(follow.time, "sleep", interrupt)
    run("started prepare")
    code, _, said = watch()
    assert (code, said) == (1, "pada: stopped watching: interrupted; the run itself goes on")


def test_a_long_silence_is_said_once(run, watch, monkeypatch):
    now = iter(range(0, 100_000, 500))
    rounds = [[], [], [], [], ["failed prepare no rows", "ended result"]]
    monkeypatch.setattr(follow.time, "monotonic", lambda: float(next(now)))
    monkeypatch.setattr(follow.time, "sleep", lambda seconds: run(*rounds.pop(0)))
    run("started prepare")
    lines = watch()[1]
    assert [line for line in lines if line.startswith("Nothing new")] == [
        "Nothing new for 25 min: it waits for a machine, or a task was lost."
    ]


@pytest.fixture
def away(monkeypatch):
    """`away(3)`: the store does not answer the next three questions."""
    left = [0]
    told = follow.told

    def call(*arguments):
        if left[0]:
            left[0] -= 1
            raise PassingError("gs://b/w: cannot be reached")
        return told(*arguments)

    monkeypatch.setattr(follow, "told", call)
    return lambda times: left.__setitem__(0, times)


def test_a_store_that_is_away_for_a_moment_is_asked_again(run, watch, monkeypatch, away):
    run("started prepare")
    monkeypatch.setattr(follow.time, "sleep", lambda seconds: run("failed prepare no rows", "ended result"))
    away(3)
    code, lines, error = watch()
    assert (code, error) == (1, "")
    assert lines[:3] == ["run r1", "gs://b/w: cannot be reached; asking again", "prepare: started"]
    assert lines[-1] == "failed: prepare: no rows"


@pytest.mark.parametrize("more", [["--once"], []])
def test_a_store_that_stays_away_ends_watching(run, watch, monkeypatch, away, more):
    run("started prepare")
    monkeypatch.setattr(follow, "SILENCE_SECONDS", 0.0)
    away(1_000_000)
    assert watch(*more) == (1, ["run r1"], "pada: gs://b/w: cannot be reached")
