"""What a cell says of its synthetic rows, and of guessing: from a state and predictions as stages leave them."""

import pytest
from small_state import finished

from pada_agent.components.backends.record_files import write_json
from pada_agent.components.core.records import Batch, Pattern, Prediction, Provenance, Sample, Score, Strategy, SyntheticRow
from pada_agent.components.core.state import IterationRecord
from pada_agent.pipelines.study.gather import _model, _of_the_loop, _samples, _task


def sample(number, batch, attempt=0, status="accepted", kind=None):
    origin = Provenance(branch="error", parent_ids=[], iteration=1, batch_id=batch, attempt=attempt, request_hash="")
    return Sample(row=SyntheticRow(id=f"s{number}", fields={}, provenance=origin), status=status, kind=kind)


def test_repaired_rows_are_those_sent_back_or_written_in_place_of_others():
    first = Batch(
        id="a",
        branch="error",
        seed_ids=[],
        wanted=4,
        unwritten={"no reply": 2},
        samples=[sample(1, "a"), sample(2, "a", 1), sample(3, "a", 0, "rejected", "leak"), sample(4, "a", 0, "rejected", "leak")],
    )
    refill = Batch(id="b", branch="error", seed_ids=[], wanted=1, refill_of="a", samples=[sample(5, "b"), sample(6, "b")])
    record = IterationRecord(number=1, wanted=4, batches=[first, refill])
    found = _samples(finished().model_copy(update={"iterations": [record]}))
    assert (found.wanted, found.written, found.accepted, found.repaired, found.unwritten) == (4, 6, 4, 3, 2)
    assert found.rejected == {"leak": 2}


def test_a_model_is_its_verdicts_its_steps_and_where_it_collapsed(settings):
    def answer(number, predicted, correct):
        score = Score(correct=correct, valid=bool(predicted), predicted=predicted)
        return Prediction(id=f"{number}", split="test", prompt="", output="", reference="", score=score, fields={})

    same = [answer(n, "A", n < 4) for n in range(20)]
    others = [answer(n, "AB"[n % 2] if n else "", n == 1) for n in range(20)]
    found = _model("2", {"validation": others, "test": same}, {"train-2": {"steps": 7}}, settings)
    assert (found.name, found.iteration, found.steps, found.collapsed) == ("iteration-2", 2, 7, ["test"])
    assert found.outcomes == {"validation": "x1" + "0" * 18, "test": "1111" + "0" * 16}
    assert found.invalid("validation") == 1 / 20 and found.invalid() == 0
    untuned = _model("untuned", {"test": same}, {}, settings)
    assert (untuned.name, untuned.iteration, untuned.steps) == ("untuned", 0, 0)


def test_patterns_keep_their_rows_and_the_strategy_against_them():
    def pattern(number):
        return Pattern(id=f"p{number}", name=f"Name {number}", description="why", size=2, row_ids=["row-1", f"row-{number}"])

    against = Strategy(id="s", pattern_id="p2", pattern_name="Name 2", text="Write them.")
    records = [
        IterationRecord(number=1, patterns=[pattern(2), pattern(3)], strategies=[against]),
        IterationRecord(number=2, patterns=[pattern(4)]),
    ]
    found = _of_the_loop(finished().model_copy(update={"iterations": records}))["patterns"]
    assert [(p.iteration, p.name, p.description, p.strategy, p.rows) for p in found] == [
        (1, "Name 2", "why", "Write them.", ["row-1", "row-2"]),
        (1, "Name 3", "why", "", ["row-1", "row-3"]),
        (2, "Name 4", "why", "", ["row-1", "row-4"]),
    ]


def test_chance_is_the_mean_over_rows_of_one_in_so_many_options(settings, tmp_path):
    def answer(options):
        row = {"question": "?", "options": options, "answer": "A"}
        return Prediction(
            id=str(len(options)),
            split="test",
            prompt="",
            output="",
            reference="",
            score=Score(correct=False, valid=True),
            fields=row,
        )

    write_json(tmp_path / "manifest.json", {"splits": {"train": {"removed": 3}, "test": {"removed": 0}}})
    prepared = {"train_data": tmp_path, "heldout_data": tmp_path}
    arc = settings.model_copy(update={"task": settings.task.model_copy(update={"name": "arc_challenge"})})
    answers = {"test": [answer(list("abcd")), answer(list("xyz")[:2])]}
    facts = _task(arc, prepared, answers)
    assert facts.chance == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert facts.removed == {"train": 3}
    assert (facts.kind, facts.slm) == ("arc_challenge", settings.slm.model)
    assert _task(settings, prepared, {"test": answers["test"][:1]}).chance == 0
