"""Quality control through its executor input: every rule lets in what it should and stops what it must."""

from pathlib import Path

import pytest
import yaml

from pada_agent.components.backends.record_files import read_json, read_records, write_json, write_records
from pada_agent.components.control_quality.__main__ import run
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Batch, Fields, Provenance, Sample, Strategy, SyntheticRow, TrainRow
from pada_agent.components.core.separation.leakage import FINGERPRINTS_FILE

HAVING = "SELECT city FROM customers GROUP BY city HAVING COUNT(*) > "
STRATEGY = Strategy(id="s1", pattern_id="p1", pattern_name="Groups", text="Filter groups.", features=["HAVING"])
NINES = {"adherence": 9, "utility": 9, "relevance": 9, "feedback": "none"}


def row(number: int, sql: str, question: str, attempt: int = 0, batch: str = "b1") -> SyntheticRow:
    provenance = Provenance(
        branch="pattern",
        pattern_id="p1",
        strategy_id="s1",
        parent_ids=["t"],
        iteration=1,
        batch_id=batch,
        attempt=attempt,
        request_hash="h",
    )
    return SyntheticRow(
        id=f"{batch}-a{attempt}-{number}", fields={"question": question, "sql": sql, "family": ""}, provenance=provenance
    )


def batch(rows: list[SyntheticRow], **changes: object) -> Batch:
    values = {"id": "b1", "branch": "pattern", "strategy_id": "s1", "seed_ids": ["t"], "wanted": 3, "focus": "HAVING"}
    return Batch.model_validate({**values, "samples": [Sample(row=r) for r in rows], **changes})


@pytest.fixture
def check(stage, sql_settings, data, tmp_path):
    """check(batches, settings=..., accepted=...) -> (checked batches, output parameters, usage)."""

    def start(batches: list[Batch], settings=sql_settings, accepted: list[SyntheticRow] = ()):
        source, earlier = tmp_path / "batches", tmp_path / "synthetic"
        for folder in (source, earlier):
            folder.mkdir(exist_ok=True)
        (source / "strategies.yaml").write_text(yaml.safe_dump([STRATEGY.model_dump()]))
        write_records(source / "training_errors.jsonl", [])
        write_json(source / "spent.json", {})
        write_records(source / "batches.jsonl", batches)
        write_json(source / "usage.json", {"generate_data": {"calls": 4}})
        write_records(earlier / "synthetic.jsonl", accepted)
        inputs = {
            "train_data": data["train_data"],
            "batches": source,
            "synthetic_data": earlier,
        }
        outputs, parameters = stage(run, settings, inputs)
        folder = outputs["checked_batches"]
        return read_records(folder / "batches.jsonl", Batch), parameters, read_json(folder / "usage.json")

    return start


def reasons(checked: Batch) -> list[str]:
    return [s.reason for s in checked.samples]


def kinds(checked: Batch) -> list[str | None]:
    return [s.kind for s in checked.samples]


def test_without_the_fingerprints_of_held_out_rows_nothing_is_judged(check, data, llm_stub):
    (data["train_data"] / FINGERPRINTS_FILE).unlink()
    with pytest.raises(InputError, match=r"'train_data': .* has no fingerprints.json, .*; give the train_data of this release's"):
        check([batch([row(2, HAVING + "2", "Cities with more than 2 customers")])])
    assert llm_stub.asks == []


def test_good_rows_are_judged_as_a_batch_and_accepted(check, llm_stub):
    llm_stub.on("Filter groups.", reply=NINES)
    rows = [row(n, HAVING + str(n), f"Cities with more than {n} customers") for n in (2, 3, 4)]
    (checked,), parameters, usage = check([batch(rows)])
    assert [s.status for s in checked.samples] == ["accepted"] * 3
    assert checked.status == "done"
    assert checked.samples[0].row.scores == {"adherence": 9, "utility": 9, "relevance": 9}
    assert parameters == {"accepted": 3, "open_batches": 0}
    assert usage["generate_data"]["calls"] == 4 and usage["control_quality"]["calls"] == 1
    assert llm_stub.asks[0].body["model"] == "judge" and llm_stub.asks[0].temperature == 0


def test_wrong_answers_and_rows_off_the_pattern_go_back_unjudged(check, llm_stub):
    rows = [
        row(1, "SELECT nope FROM customers GROUP BY city HAVING COUNT(*) > 1", "Nope by city, please"),
        row(2, "SELECT COUNT(*) FROM customers", "How many customers are there?"),
    ]
    (checked,), parameters, _ = check([batch(rows)])
    assert reasons(checked)[0].startswith("wrong answer: the query fails: no such column: nope")
    assert reasons(checked)[1] == "off the pattern: the answer does not use HAVING"
    assert kinds(checked) == ["wrong answer", "off the pattern"]
    assert (checked.status, parameters["open_batches"], llm_stub.paid) == ("open", 1, 0)
    assert "no such column" in checked.feedback and "HAVING" in checked.feedback


def test_copies_of_training_earlier_and_sibling_rows_are_not_new(check, data, llm_stub):
    train: Fields = next(
        r.fields for r in read_records(data["train_data"] / "train.jsonl", TrainRow) if "HAVING" in r.fields["sql"]
    )
    earlier = row(1, HAVING + "5", "Cities with over 5 customers", batch="b0")
    llm_stub.on("Filter groups.", reply=NINES)
    rows = [
        row(1, train["sql"], train["question"].upper()),
        row(2, HAVING + "5", "cities with over 5 customers!"),
        row(3, HAVING + "6", "Name cities that are home to over six clients"),
        row(4, HAVING + "6", "Name cities that are home to over six clients?"),
    ]
    (checked,), _, _ = check([batch(rows)], accepted=[earlier])
    assert [r.startswith("not new") for r in reasons(checked)] == [True, True, False, True]
    assert kinds(checked) == ["not new", "not new", None, "not new"]
    assert "b0-a0-1" in reasons(checked)[1]


def test_a_copy_of_a_held_out_row_is_a_leak(check, data, llm_stub):
    rows = [
        row(n, r["fields"]["sql"], r["fields"]["question"])
        for n, r in enumerate(read_json_lines(data["heldout_data"] / "test.jsonl"))
        if "HAVING" in r["fields"]["sql"]
    ]
    (checked,), parameters, _ = check([batch(rows, wanted=50)])
    assert parameters["accepted"] == 0 and llm_stub.paid == 0
    assert sum(r.startswith("leak: ") for r in reasons(checked)) == len(rows) == 20
    assert kinds(checked) == ["leak"] * 20


def read_json_lines(path: Path) -> list[Fields]:
    import json

    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_weak_batch_goes_back_with_the_judges_words_and_is_exhausted_at_the_end(check, llm_stub, sql_settings):
    refilled = sql_settings.model_copy(update={"generate": sql_settings.generate.model_copy(update={"refills": 1})})
    llm_stub.on("Filter groups.", reply={"adherence": 9, "utility": 6, "relevance": 5, "feedback": "Vary the tables."})
    rows = [row(n, HAVING + str(n), f"Cities with more than {n} customers") for n in (2, 3, 4)]
    (checked,), parameters, _ = check([batch(rows)])
    assert reasons(checked) == ["judge: 6.7 is below 7"] * 3
    assert kinds(checked) == ["judge"] * 3
    assert checked.status == "open" and "Vary the tables." in checked.feedback
    assert parameters == {"accepted": 0, "open_batches": 1}
    last = [r.model_copy(update={"provenance": r.provenance.model_copy(update={"attempt": 3})}) for r in rows]
    (checked,), parameters, _ = check([batch(last, attempt=3)], refilled)
    assert (checked.status, parameters["open_batches"]) == ("exhausted", 1), "one refill is left"


def test_the_error_branch_is_judged_without_adherence(check, llm_stub):
    llm_stub.on(
        lambda ask: "adherence" not in ask.text and "adherence" not in ask.schema["properties"],
        reply={"utility": 7, "relevance": 7, "feedback": ""},
    )
    rows = [row(1, "SELECT COUNT(*) FROM reviews WHERE rating > 3", "How many good reviews are there above three stars?")]
    (checked,), _, _ = check([batch(rows, branch="error", strategy_id="", focus="", wanted=1)])
    assert checked.status == "done" and set(checked.scores) == {"utility", "relevance"}


def test_a_judge_that_cannot_be_understood_accepts_nothing_and_is_counted(check, llm_stub):
    llm_stub.on("", text="I would rather not say.")
    rows = [row(2, HAVING + "2", "Cities with more than 2 customers")]
    (checked,), parameters, usage = check([batch(rows)])
    assert reasons(checked)[0].startswith("not judged: ")
    assert kinds(checked) == ["not judged"]
    assert parameters["accepted"] == 0 and usage["control_quality"]["failed"] == 1


def test_finished_batches_pass_through_and_cost_nothing(check, llm_stub):
    done = batch([row(2, HAVING + "2", "Cities with more than 2 customers")], status="done")
    (checked,), _, _ = check([done])
    assert checked == done and llm_stub.paid == 0


def test_a_judge_that_is_the_teacher_is_refused_before_any_call(check, sql_settings, llm_stub):
    same = sql_settings.model_copy(update={"judge": sql_settings.teacher})
    with pytest.raises(InputError, match="'teacher' is the teacher too"):
        check([batch([])], settings=same)
    assert llm_stub.paid == 0
