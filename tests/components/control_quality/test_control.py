"""Quality control through its executor input: every rule lets in what it should and stops what it must."""

from pathlib import Path

import pytest
import yaml

from pada_agent.components.backends.record_files import read_json, read_records, write_json, write_records
from pada_agent.components.control_quality.__main__ import run
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Batch, Fields, HeldOutRow, Provenance, Sample, Strategy, SyntheticRow, TrainRow
from pada_agent.components.core.separation.leakage import FINGERPRINTS_FILE
from pada_agent.components.core.settings import BudgetSettings

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
    assert checked.feedback == "", "the writer is shown these rows with their reasons"


def test_a_focus_of_two_features_needs_both(check, llm_stub):
    rows = [
        row(1, HAVING + "1", "Which cities have more than one customer?"),
        row(2, "SELECT city FROM customers GROUP BY city HAVING AVG(points) > 400", "Cities with over 400 points on average?"),
    ]
    llm_stub.on("judge", reply=NINES)
    (checked,), _, _ = check([batch(rows, focus="AVG with HAVING", wanted=2)])
    assert reasons(checked) == ["off the pattern: the answer does not use AVG with HAVING", ""]


def test_copies_of_training_earlier_and_sibling_rows_are_not_new(check, data, llm_stub):
    train: Fields = next(
        r.fields for r in read_records(data["train_data"] / "train.jsonl", TrainRow) if "HAVING" in r.fields["sql"]
    )
    earlier = row(1, HAVING + "5", "Towns in which more than 5 clients have a home", batch="b0")
    llm_stub.on("Filter groups.", reply=NINES)
    rows = [
        row(1, train["sql"], train["question"].upper()),
        row(2, HAVING + "5", "towns in which more than 5 clients have a home!"),
        row(3, HAVING + "6", "Name cities that are home to over six clients"),
        row(4, HAVING + "6", "Name cities that are home to over six clients?"),
    ]
    (checked,), _, _ = check([batch(rows)], accepted=[earlier])
    assert [r.startswith("not new") for r in reasons(checked)] == [True, True, False, True]
    assert kinds(checked) == ["not new", "not new", None, "not new"]
    assert "b0-a0-1" in reasons(checked)[1]


def test_of_three_questions_with_one_query_one_is_new(check, data, llm_stub):
    train = next(r.fields for r in read_records(data["train_data"] / "train.jsonl", TrainRow) if "GROUP BY" in r.fields["sql"])
    llm_stub.on("Filter groups.", reply=NINES)
    rows = [
        row(1, HAVING + "6", "Name cities that are home to over six clients"),
        row(2, "SELECT c.city AS town FROM customers c GROUP BY c.city HAVING COUNT(*) > 6", "Where do seven or more live?"),
        row(3, "select city from customers group by city having 6 < count(*)", "Give me towns whose customers outnumber six"),
        row(4, HAVING + "7", "Name cities that are home to over seven clients"),
        row(5, train["sql"].lower(), "In other words, please: the groups of a kind with their sizes?"),
    ]
    (checked,), _, _ = check([batch(rows, focus="", wanted=5)])
    assert kinds(checked) == [None, "not new", "not new", None, "not new"]
    assert reasons(checked)[1] == "not new: the same answer as b1-a0-1 in other words"


def test_feedback_tells_of_replies_that_were_no_rows_and_nothing_of_held_out_ones(check, data, llm_stub):
    held_out = next(r["fields"] for r in read_json_lines(data["heldout_data"] / "test.jsonl") if "HAVING" in r["fields"]["sql"])
    rows = [
        row(1, "SELECT nope", held_out["question"]),
        row(2, "SELECT nope FROM customers GROUP BY city HAVING COUNT(*) > 1", "Nope by city, please now?"),
    ]
    (checked,), _, _ = check([batch(rows, refused=["sql: is empty"])])
    assert kinds(checked) == ["leak", "wrong answer"] and "test row" in reasons(checked)[0]
    assert checked.feedback == "sql: is empty."


def with_control(settings, **changes):
    return settings.model_copy(update={"control": settings.control.model_copy(update=changes)})


MIXED = {
    "adherence": [9, 10, 9],
    "utility": [9, 2, 9],
    "relevance": [9, 10, 9],
    "feedback": [{"example": 2, "change": "Ask for what the query counts."}],
}


@pytest.mark.parametrize(
    ("changes", "accepted"),
    [
        ({}, [True, False, True]),  # (10 + 2 + 10) / 3 = 7.3: a question and an answer that do not fit each other
        ({"lowest": 1}, [True, True, True]),
        ({"threshold": 8, "lowest": 1}, [True, False, True]),
        ({"verdict": "batch"}, [True, True, True]),  # 8.4
        ({"verdict": "batch", "threshold": 9}, [False, False, False]),
    ],
)
def test_a_sample_is_let_in_by_its_own_scores_or_the_batch_as_one(check, llm_stub, sql_settings, changes, accepted):
    llm_stub.on("Filter groups.", reply=MIXED)
    rows = [row(n, HAVING + str(n), f"Cities with more than {n} customers") for n in (2, 3, 4)]
    (checked,), _, _ = check([batch(rows)], with_control(sql_settings, **changes))
    assert [s.status == "accepted" for s in checked.samples] == accepted
    assert [s.row.scores["utility"] for s in checked.samples] == [9, 2, 9], "each has its own"
    assert checked.scores["utility"] == pytest.approx(20 / 3)
    assert checked.missing == accepted.count(False), "only these are written again"
    if not all(accepted):
        assert reasons(checked)[1].startswith("judge: Ask for what the query counts (")
    assert checked.feedback == "", "what is said of one row is told beside it"


def test_the_judge_sees_parents_results_and_what_the_solver_found(check, data, llm_stub, sql_settings):
    seeds = read_records(data["train_data"] / "train.jsonl", TrainRow)[:2]
    llm_stub.on("You judge", reply=NINES)
    llm_stub.on(
        "Answer what the user asks", reply=lambda ask: {"work": "", "answer": f"{HAVING}{ask.last.split('than ')[-1][0]}"}
    )
    rows = [row(n, HAVING + str(n), f"Cities with more than {n} customers") for n in (2, 3)]
    parents = {"parent_ids": [s.id for s in seeds]}
    rows = [r.model_copy(update={"provenance": r.provenance.model_copy(update=parents)}) for r in rows]
    check([batch(rows, wanted=2)], with_control(sql_settings, solve="once"))
    (judged,) = [ask for ask in llm_stub.asks if ask.text.startswith("You judge")]
    for seed in seeds:
        assert judged.last.count(f"- Question: {seed.fields['question']}\n  Answer: {seed.fields['sql']}") == 1
    assert judged.last.count("Running the answer gave: ") == 2 and " rows: '" in judged.last
    assert judged.last.count("Solved blind: 1 of 1 who were not shown the answer came to it") == 2
    assert "2 examples were asked for" in judged.last and "all alike" not in judged.text, "too few to be of one kind"


def test_where_the_checks_decide_no_judge_is_asked(check, llm_stub, sql_settings):
    llm_stub.on("Answer what the user asks", reply={"work": "", "answer": HAVING + "2"})
    rows = [row(n, HAVING + str(n), f"Cities with more than {n} customers") for n in (2, 3)]
    decided = with_control(sql_settings, solve="once", verdict="checks", judge_checks=4)
    (checked,), parameters, _ = check([batch(rows, wanted=2)], decided)
    assert kinds(checked) == [None, "doubtful answer"] and parameters["accepted"] == 1 and checked.status == "open"
    assert not any("You judge" in ask.text for ask in llm_stub.asks), "neither of batches nor to be measured"


@pytest.mark.parametrize(("solve", "asked"), [("off", []), ("once", ["teacher", "teacher"])])
def test_a_judge_that_is_not_asked_is_not_opened_and_may_be_the_teacher(check, llm_stub, sql_settings, solve, asked):
    llm_stub.on("Answer what the user asks", reply={"work": "", "answer": HAVING + "2"})
    decided = with_control(sql_settings, solve=solve, solver="teacher", verdict="checks")
    # A server of that kind is up only for whom is asked.
    judge = decided.teacher.model_copy(update={"base_url": "embedded"})
    teacher = judge if solve == "off" else decided.teacher
    rows = [row(n, HAVING + str(n), f"Cities with more than {n} customers") for n in (2, 3)]
    (checked,), _, usage = check([batch(rows, wanted=2)], decided.model_copy(update={"judge": judge, "teacher": teacher}))
    assert kinds(checked) == ([None, None] if solve == "off" else [None, "doubtful answer"])
    assert [ask.body["model"] for ask in llm_stub.asks] == asked and usage["control_quality"]["calls"] == len(asked)


def test_the_teacher_solves_under_the_same_cap_and_its_calls_are_counted(check, llm_stub, sql_settings):
    llm_stub.on("Answer what the user asks", reply={"work": "", "answer": HAVING + "2"})
    llm_stub.on("You judge", reply=NINES)
    solved = with_control(sql_settings, solve="once", solver="teacher")
    batches = [batch([row(2, HAVING + "2", "Cities with more than 2 customers")], wanted=1)]
    (checked,), _, usage = check(batches, solved)
    assert checked.status == "done" and [ask.body["model"] for ask in llm_stub.asks] == ["teacher", "judge"]
    assert usage["control_quality"]["calls"] == 2
    capped = solved.model_copy(update={"budget": BudgetSettings(stages={"control_quality": {"calls": 1}})})
    (checked,), parameters, usage = check(batches, capped)
    assert kinds(checked) == ["not judged"] and usage["control_quality"]["unasked"] == 1
    assert (checked.status, parameters["open_batches"]) == ("open", 0), "nothing is written that could not be checked"


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
    assert reasons(checked) == ["judge: adherence 9, utility 6, relevance 5"] * 3
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


def with_method(settings, name, **control):
    generate = settings.generate.model_copy(update={"method": name})
    return with_control(settings, **control).model_copy(update={"generate": generate})


def test_without_quality_control_only_leaks_and_repeated_rows_are_refused(check, data, llm_stub, sql_settings):
    held_out = read_records(data["heldout_data"] / "test.jsonl", HeldOutRow)
    leak = next(r.fields for r in held_out if len(r.fields["question"].split()) >= 8)
    rows = [
        row(1, "SELECT nope FROM customers", "Whatever nope is, tell me all about it"),
        row(2, "SELECT COUNT(*) FROM customers", "How many customers does the shop have in all?"),
        row(3, HAVING + "2", leak["question"]),
        row(4, "SELECT COUNT(*) FROM customers", "How many customers does the shop have in all?"),
    ]
    without = with_control(sql_settings, verdict="none", solve="once", judge_checks=4)
    same = without.model_copy(update={"judge": without.teacher})
    (checked,), parameters, usage = check([batch(rows, wanted=4)], same)
    assert kinds(checked) == [None, None, "leak", "not new"]
    assert parameters == {"accepted": 2, "open_batches": 1} and checked.status == "open"
    assert not llm_stub.asks and usage["control_quality"]["calls"] == 0, "nobody solves, judges or is measured"


@pytest.mark.parametrize(("method", "refused"), [("pada", 2), ("llm2llm", 2), ("auggpt", 1), ("duplicate", 0)])
def test_what_is_new_depends_on_what_a_method_repeats_on_purpose(check, data, llm_stub, sql_settings, method, refused):
    train = read_records(data["train_data"] / "train.jsonl", TrainRow)
    copied = next(r.fields for r in train if "GROUP BY" in r.fields["sql"])
    llm_stub.on("You judge", reply={"utility": 9, "relevance": 9, "feedback": "none"})
    rows = [
        row(1, copied["sql"], copied["question"]),
        row(2, copied["sql"], "Be so kind as to give me what the wise owl would have asked for"),
    ]
    own = batch(rows, branch="row", strategy_id="", focus="", wanted=2)
    (checked,), _, _ = check([own], with_method(sql_settings, method))
    assert kinds(checked).count("not new") == refused
    assert (method == "duplicate") == (not any("You judge" in ask.text for ask in llm_stub.asks) and refused == 0)


def test_a_copy_of_held_out_text_is_no_duplicate_that_is_let_in(check, data, llm_stub, sql_settings):
    held_out = read_records(data["heldout_data"] / "test.jsonl", HeldOutRow)
    leak = next(r.fields for r in held_out if len(r.fields["question"].split()) >= 8)
    own = batch([row(1, leak["sql"], leak["question"])], branch="row", strategy_id="", focus="", wanted=1)
    (checked,), _, _ = check([own], with_method(sql_settings, "duplicate"))
    assert kinds(checked) == ["leak"] and not llm_stub.asks


def test_llm2llm_takes_no_question_of_a_known_row_in_which_a_word_was_changed(check, data, llm_stub, sql_settings):
    llm_stub.on("You judge", reply={"utility": 9, "relevance": 9, "feedback": "none"})
    long = " ".join(f"w{chr(97 + n)}{chr(98 + n)}x" for n in range(24))
    known = row(1, "SELECT 1 FROM customers", long, batch="b0")
    one, two = long.replace("wabx", "Ferrara"), long.replace("wabx", "Ferrara").replace("wbcx", "Turin").replace("wdex", "Graz")
    rows = [row(1, "SELECT 3 FROM customers", one), row(2, "SELECT 4 FROM customers", two)]
    for method, expected in (("llm2llm", ["not new", None]), ("learning_from_error", [None, None])):
        own = batch(rows, branch="error", strategy_id="", focus="", wanted=2)
        (checked,), _, _ = check([own], with_method(sql_settings, method, verdict="checks"), accepted=[known])
        assert kinds(checked) == expected, method
