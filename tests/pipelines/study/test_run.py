"""The study over seeds, on made-up answers: what is compared with what, and how it is said."""

import json

import pytest

from pada_agent.components.backends.record_files import write_json, write_records
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Prediction, Score
from pada_agent.pipelines.local.engine import Done
from pada_agent.pipelines.local.run import Outcome
from pada_agent.pipelines.study.run import MODELS, SeedResult, compare, conduct, parse_seeds

ROWS = 10
RUN = {
    "task": "gsm8k",
    "slm": "slm",
    "teacher": "big",
    "judge": "other",
    "seed": 0,
    "iterations": 2,
    "patience": 2,
    "alpha": 0.05,
}
DECIDED = {"go_on": False, "reason": "plateau"}
BEGUN = {"version": 1, "run": {**RUN, "confidence": 0.95, "threshold": 7, "share": 0.5, "scope": "total"}}


def outcome(folder, right, shipped="iteration-2", rows=range(ROWS)):
    """A run in which each model answers its first `right[task]` rows."""
    tasks = {}
    for task, count in right.items():
        path = folder / task
        write_records(
            path / "report_predictions" / "test.jsonl",
            [
                Prediction(
                    id=f"row-{i}", split="test", prompt="", output="", reference="", score=Score(correct=i < count, valid=True)
                )
                for i in rows
            ],
        )
        tasks[task] = Done(path, {"report_predictions": path / "report_predictions"}, {})
    write_json(
        folder / "state" / "state.json", {**BEGUN, "incumbent": shipped, "decision": {"go_on": False, "reason": "plateau"}}
    )
    return Outcome(folder, tasks, folder / "state", "")


def runs(tmp_path, by_seed, **more):
    seen = []

    def start(settings, run_dir):
        seen.append((settings.seed, settings.step_matched, run_dir.name))
        return outcome(tmp_path / f"answers-{settings.seed}", by_seed[settings.seed], **more)

    return start, seen


FULL = {
    "evaluate-untuned": 0,
    "evaluate-vanilla": 5,
    "evaluate-1": 6,
    "evaluate-2": 9,
    "evaluate-step-matched": 6,
}


def test_means_spreads_and_differences(tmp_path, settings):
    start, seen = runs(tmp_path, {0: FULL, 1: {**FULL, "evaluate-2": 7}}, shipped="iteration-1")
    text = conduct(settings.model_copy(update={"step_matched": False}), [0, 1], tmp_path / "out", start)
    assert seen == [(0, True, "seed-0"), (1, True, "seed-1")]
    facts = json.loads((tmp_path / "out" / "study.json").read_text())
    assert facts["accuracy"]["PaDA, last iteration"] == [0.9, 0.7]
    assert facts["accuracy"]["PaDA, shipped"] == [0.6, 0.6]
    last = facts["differences"]["PaDA, last iteration minus step-matched vanilla"]
    assert last["mean"] == pytest.approx(0.2)
    assert last["low"] < 0.2 < last["high"]
    assert facts["differences"]["PaDA, shipped minus step-matched vanilla"]["mean"] == 0
    assert "| PaDA, last iteration | 80.0 % | 14.1 | 90.0 % | 70.0 % |" in text
    assert (tmp_path / "out" / "study.md").read_text() == text


def test_a_seed_without_an_iteration_counts_as_vanilla_and_is_named(tmp_path, settings):
    short = {"evaluate-untuned": 0, "evaluate-vanilla": 5}
    start, _ = runs(tmp_path, {3: short}, shipped="vanilla")
    text = conduct(settings, [3], tmp_path / "out", start)
    assert "seed 3: no iteration was trained (plateau)" in text
    assert "| PaDA, last iteration | 50.0 % | - | 50.0 % |" in text


def test_seeds_side_by_side_give_the_same_table(tmp_path, settings, monkeypatch):
    start, _ = runs(tmp_path, {0: FULL, 1: FULL})
    ahead = []

    def note(runs, jobs, *_):
        ahead.append((jobs, [folder.name for _, folder in runs]))

    monkeypatch.setattr("pada_agent.pipelines.study.run.run_side_by_side", note)
    alone = conduct(settings, [0, 1], tmp_path / "one", start)
    assert conduct(settings, [0, 1], tmp_path / "two", start, jobs=2) == alone
    assert ahead == [(2, ["seed-0", "seed-1"])]


def test_only_rows_that_every_seed_was_tested_on_are_compared():
    def seed(number, rows):
        return SeedResult(number, {m: dict.fromkeys(rows, True) for m in MODELS}, dict.fromkeys(rows, ""))

    assert compare([seed(0, ["a", "b"]), seed(1, ["b", "c"])], 0.95).rows_compared == 1
    with pytest.raises(InputError, match="test_size"):
        compare([seed(0, ["a"]), seed(1, ["c"])], 0.95)


@pytest.mark.parametrize("text", ["", "a,b", "1,1", "-1", "1,,2"])
def test_seeds_that_are_none(text):
    with pytest.raises(InputError, match="--seeds"):
        parse_seeds(text)


def test_seeds():
    assert parse_seeds("0, 2,5") == [0, 2, 5]


def test_the_groups_widen_the_interval():
    rows = [f"row-{i}" for i in range(40)]
    better = {row: i < 20 for i, row in enumerate(rows)}
    answers = {m: dict.fromkeys(rows, False) for m in MODELS} | {MODELS[3]: better, MODELS[4]: better}

    def width(groups):
        found = compare([SeedResult(0, answers, groups)], 0.95).differences[f"{MODELS[3]} minus step-matched vanilla"]
        return found.high - found.low

    assert width({row: str(i // 20) for i, row in enumerate(rows)}) > width(dict.fromkeys(rows, "")) + 0.2
