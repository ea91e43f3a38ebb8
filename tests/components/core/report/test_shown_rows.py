"""Which rows a reader gets to see: a fair draw, and what synthetic rows were written from."""

import pytest

from pada_agent.components.core.records import Batch, Prediction, Provenance, Sample, Score, SyntheticRow, TrainRow
from pada_agent.components.core.report.shown_rows import PLACES, draw, draw_rows, draw_samples, with_answers, with_parents
from pada_agent.components.core.tasks.registry import load_task

TASK = load_task("gsm8k", {}, None)


def prediction(split: str, number: int, right: bool, output: str = "#### 1") -> Prediction:
    row = {"id": f"{split}-{number}", "split": split, "prompt": "", "output": output, "reference": ""}
    fields = {"question": f"Question {number}?", "answer": "Long.\n#### 2"}
    return Prediction.model_validate(
        {**row, "fields": fields, "score": Score(correct=right, valid=True, detail="1 instead of 2")}
    )


def test_each_stratum_gets_its_share_and_leaves_what_it_does_not_need() -> None:
    strata = [[f"a{i}" for i in range(5)], [f"b{i}" for i in range(100)], [f"c{i}" for i in range(100)]]
    drawn = draw(strata, 45, seed=0)
    assert [sum(i.startswith(letter) for i in drawn) for letter in "abc"] == [5, 20, 20]
    assert draw(strata, 1000, 0) == {i for s in strata for i in s}
    assert draw(strata, 45, 1) != drawn == draw([list(reversed(s)) for s in strata], 45, 0), "by seed, whatever the order"
    assert draw(strata, 15, 0) < drawn, "a smaller draw is part of a larger one"
    assert draw([], 5, 0) == set() == draw([["a"]], 0, 0)


def test_rows_are_drawn_from_validation_and_training_alone() -> None:
    sizes = {"validation": 2000, "train": 40, "selection": 5, "test": 5}
    rows = draw_rows({s: [prediction(s, i, i % 20 > 0) for i in range(n)] for s, n in sizes.items()}, TASK, seed=0)
    wrong = sum(int(r.id.split("-")[1]) % 20 == 0 for r in rows if r.split == "validation")
    assert (wrong, sum(r.split == "validation" for r in rows)) == (100, PLACES), "all failures of this split have a place"
    assert sum(r.split == "train" for r in rows) == 40 and len(rows) == PLACES + 40
    assert str(rows[0].title).startswith("Question") and str(rows[0].reference) == "Long.\n#### 2"


def test_answers_are_added_model_by_model() -> None:
    rows = draw_rows({"validation": [prediction("validation", 1, False)]}, TASK, seed=0)
    rows = with_answers(rows, "vanilla", {"validation": [prediction("validation", n, False) for n in (1, 2)]})
    rows = with_answers(rows, "iteration-1", {"validation": [prediction("validation", 1, True, "#### 2" + "x" * 1000)]})
    (row,) = rows
    assert [(m, a.correct) for m, a in row.answers.items()] == [("vanilla", False), ("iteration-1", True)]
    assert str(row.answers["vanilla"].detail) == "1 instead of 2" and row.answers["iteration-1"].output.length == 1006


@pytest.mark.parametrize("samples", [6, 2 * PLACES])
def test_the_rows_that_samples_were_written_from_are_kept(samples: int) -> None:
    """Those of the samples that are shown: the report then shows each sample with its parents."""
    written = []
    for n in range(samples):
        source = Provenance(branch="pattern", parent_ids=[f"train-{n}"], iteration=1, batch_id="b", attempt=0, request_hash="")
        row = SyntheticRow(id=f"s{n}", fields={}, provenance=source)
        written.append(Sample(row=row, status="accepted" if n % 4 else "rejected"))
    batches = [Batch(id="b", branch="pattern", seed_ids=["train-0"], wanted=9, samples=written)]
    train = [TrainRow(id=f"train-{n}", fields={"question": f"{n}?", "answer": "#### 1"}) for n in range(700)]
    drawn = draw_rows({"train": [prediction("train", 0, True)]}, TASK, seed=0)
    rows = with_parents(drawn, train, batches, TASK, seed=0)
    shown = draw_samples(batches, PLACES, seed=0)
    assert len(shown) == min(samples, PLACES)
    assert {r.id for r in rows} == {"train-0"} | {s.row.provenance.parent_ids[0] for _, s in shown}
    assert [r.id for r in rows if r.drawn] == ["train-0"]
    if samples > PLACES:
        assert sum(s.status == "rejected" for _, s in shown) == PLACES // 2
