"""Names and events in the words that one machine and a cluster share."""

import pytest

from pada_agent.components.backends.store.events import Event
from pada_agent.pipelines.loop import task_names
from pada_agent.pipelines.words import line, spoken


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ("train-2", "iteration 2, train"),
        ("generate-12-1", "iteration 12, generate 1"),
        ("evaluate-untuned", "untuned, evaluate"),
        ("score-step-matched", "step-matched, score"),
        ("prepare", "prepare"),
        ("start", "start"),
    ],
)
def test_a_task_is_said_by_what_it_is_about(task, text):
    assert spoken(task) == text


def test_no_two_tasks_are_said_alike_and_none_as_it_is_written():
    names = task_names(3, 4, scored=True)
    said = [spoken(name) for name in names]
    assert len(set(said)) == len(names)
    assert [name for name, text in zip(names, said, strict=True) if name == text] == ["prepare", "start"]


@pytest.mark.parametrize("name", ["evaluate-slm-2", "train-lora", "importer-2", "iteration-1", "train-2-1-1", "train-someone"])
def test_names_of_other_pipelines_stay_as_they_are(name):
    assert spoken(name) == name


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"kind": "started"}, ": started"),
        ({"kind": "started", "numbers": {"attempt": 2}}, ": started, attempt 2"),
        (
            {"kind": "progress", "what": "training steps", "done": 120, "total": 1300, "seconds_left": 245},
            ": 120 of 1,300 training steps, 4 min left",
        ),
        ({"kind": "progress", "what": "answers", "done": 7, "total": 8, "seconds_left": 12.4}, ": 7 of 8 answers, 12 s left"),
        ({"kind": "progress", "what": "failures analysed", "total": 40}, ": 0 of 40 failures analysed"),
        (
            {"kind": "ended", "seconds": 7320.0, "numbers": {"steps": 300, "last loss": 0.412}},
            ": 2 h 2 min  300 steps, last loss 0.412",
        ),
        ({"kind": "ended", "seconds": 41.2}, ": 41 s"),
        ({"kind": "failed", "message": "InputError: no rows"}, " failed: InputError: no rows"),
        ({"kind": "stopped", "message": "terminated; start it again"}, " stopped: terminated; start it again"),
    ],
)
def test_an_event_is_a_line(event, text):
    told = Event(task="train-2", **event)
    assert line(told) == line(Event.model_validate_json(told.model_dump_json())) == f"iteration 2, train{text}"
