"""Generation through its executor input: what the teacher is sent, what of its reply becomes a row, what the next link does."""

import json
from pathlib import Path

import pytest
import yaml

from pada_agent.components.backends.llm.client import open_llm
from pada_agent.components.backends.record_files import read_json, read_records, write_json, write_records
from pada_agent.components.backends.sandbox.run import run_code
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Batch, Prediction, Sample, Score, Strategy, TrainingError, TrainRow
from pada_agent.components.core.settings import BudgetSettings, GenerateSettings, LlmSettings
from pada_agent.components.core.tasks.answer_first import answer_first
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.generate_data.__main__ import run
from pada_agent.components.generate_data.batches import Sources
from pada_agent.components.generate_data.bounds import Forms
from pada_agent.components.generate_data.generate import Tools, generate
from pada_agent.components.generate_data.shown import NOT_NEW

STRATEGY = Strategy(
    id="it1-s1", pattern_id="it1-p1", pattern_name="Groups", text="Filter groups.", features=["HAVING"], seed_ids=[]
)
GOOD = {
    "tables": "customers(city)",
    "sql": "SELECT city FROM customers GROUP BY city HAVING COUNT(*) > 2",
    "question": "Cities with more than two customers",
}


def item(n: int) -> dict[str, str]:
    return {**GOOD, "sql": GOOD["sql"].replace("2", str(n)), "question": f"Which cities have more than {n} customers?"}


def asked_items(ask, numbers) -> dict[str, list[dict[str, str]]]:
    """So many of the items as the ask wants, with the keys that it wants."""
    wanted = ask.schema["properties"]["items"]
    return {"items": [{k: item(n)[k] for k in wanted["items"]["properties"]} for n in numbers][: wanted["minItems"]]}


def write_plan(folder: Path, strategies: list[Strategy], errors: list[Prediction]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "strategies.yaml").write_text(yaml.safe_dump([s.model_dump() for s in strategies]))
    write_records(folder / "training_errors.jsonl", errors)
    write_json(folder / "spent.json", {})
    return folder


def train_error(row: TrainRow) -> TrainingError:
    score = Score(correct=False, valid=True)
    return TrainingError(
        id=row.id, split="train", prompt="p", output="SELECT wrong", reference=row.fields["sql"], score=score, fields=row.fields
    )


def configure(settings, **generate):
    section = settings.generate.model_copy(update={"share": 0.05, "batch": 3, **generate})
    loop = settings.loop.model_copy(update={"iterations": 1})
    return settings.model_copy(update={"generate": section, "loop": loop})


def test_both_branches_write_their_share_and_show_what_they_must(stage, data, sql_settings, llm_stub, tmp_path):
    train = read_records(data["train_data"] / "train.jsonl", TrainRow)
    having = [r for r in train if "HAVING" in r.fields["sql"]]
    strategy = STRATEGY.model_copy(update={"seed_ids": [r.id for r in (*having, *train[:10])]})
    plan = write_plan(tmp_path / "plan", [strategy], [train_error(train[0])])
    llm_stub.on("Filter groups.", reply=lambda ask: {"items": [item(n) for n in (2, 3, 4)]})
    llm_stub.on("SELECT wrong", reply=lambda ask: {"items": [item(n) for n in (5, 6, 7)]})
    outputs, parameters = stage(run, configure(sql_settings), {"train_data": data["train_data"], "plan": plan})
    pattern, error = read_records(outputs["batches"] / "batches.jsonl", Batch)
    assert (pattern.branch, error.branch, parameters["open_batches"]) == ("pattern", "error", 2)
    assert [s.row.fields["question"] for s in pattern.samples] == [item(n)["question"] for n in (2, 3, 4)]
    assert pattern.focus == "HAVING"
    assert set(pattern.seed_ids) <= {r.id for r in having}, "seeds near the pattern come first"
    provenance = pattern.samples[0].row.provenance
    assert (provenance.pattern_id, provenance.strategy_id, provenance.parent_ids) == ("it1-p1", "it1-s1", pattern.seed_ids)
    assert provenance.request_hash
    sent = next(a for a in llm_stub.asks if "Filter groups." in a.text)
    assert all(train_row.fields["question"] in sent.text for train_row in train if train_row.id in pattern.seed_ids)
    assert sent.temperature == 0.7
    asked = sent.schema["properties"]["items"]
    assert asked["minItems"] == 3
    longest = max(len(r.fields["sql"]) for r in train)
    assert asked["items"]["properties"]["sql"]["maxLength"] == 2 * longest, "bounds come from the training rows"
    usage = read_json(outputs["batches"] / "usage.json")["generate_data"]
    assert (usage["calls"], usage["paid_calls"]) == (2, 2)


def test_a_strategy_about_two_features_together_shows_rows_that_have_both(stage, data, sql_settings, llm_stub, tmp_path):
    train = read_records(data["train_data"] / "train.jsonl", TrainRow)
    both = {r.id for r in train if "HAVING" in r.fields["sql"] and "AVG" in r.fields["sql"]}
    changes = {"seed_ids": [r.id for r in train], "features": ["AVG with HAVING"]}
    plan = write_plan(tmp_path / "plan", [STRATEGY.model_copy(update=changes)], [])
    llm_stub.on("Filter groups.", reply={"items": [item(2)]})
    outputs, _ = stage(run, configure(sql_settings, shots=1), {"train_data": data["train_data"], "plan": plan})
    batches = read_records(outputs["batches"] / "batches.jsonl", Batch)
    assert batches and all(b.focus == "AVG with HAVING" and set(b.seed_ids) <= both for b in batches)


def test_each_strategy_and_attempt_shows_other_values_of_the_database(stage, data, sql_settings, llm_stub, tmp_path):
    two = [STRATEGY, STRATEGY.model_copy(update={"id": "it1-s2", "text": "Filter groups again."})]
    llm_stub.on("Filter groups", reply={"items": [item(2)]})
    stage(
        run,
        configure(sql_settings, share=0.3),
        {"train_data": data["train_data"], "plan": write_plan(tmp_path / "plan", two, [])},
    )
    shown = {aim: {a.messages[0]["content"] for a in llm_stub.asks if f"{aim}\n" in a.text} for aim in ("groups.", "again.")}
    assert len(llm_stub.asks) > 2 and [len(texts) for texts in shown.values()] == [1, 1], "one beginning for all of a strategy"
    assert shown["groups."] != shown["again."]


def test_random_seeds_are_drawn_from_all_training_rows(stage, data, sql_settings, llm_stub, tmp_path):
    train = read_records(data["train_data"] / "train.jsonl", TrainRow)
    near = [r.id for r in train if "HAVING" in r.fields["sql"]]
    plan = write_plan(tmp_path / "plan", [STRATEGY.model_copy(update={"seed_ids": near})], [])
    llm_stub.on("Filter groups.", reply={"items": [item(2)]})
    settings = configure(sql_settings, seed_choice="random", share=0.3)
    outputs, _ = stage(run, settings, {"train_data": data["train_data"], "plan": plan})
    seeds = {i for b in read_records(outputs["batches"] / "batches.jsonl", Batch) for i in b.seed_ids}
    assert len(seeds - set(near)) > 10


def test_batches_of_one_strategy_take_turns_with_the_near_seeds(stage, data, sql_settings, llm_stub, tmp_path):
    train = read_records(data["train_data"] / "train.jsonl", TrainRow)
    having = {r.id for r in train if "HAVING" in r.fields["sql"]}
    strategy = STRATEGY.model_copy(update={"seed_ids": [*having, *(r.id for r in train if r.id not in having)]})
    plan = write_plan(tmp_path / "plan", [strategy], [])
    llm_stub.on("Filter groups.", reply=lambda ask: {"items": [item(n) for n in (2, 3, 4)]})
    settings = configure(sql_settings, share=0.075, shots=1, pattern_share=1.0)
    outputs, _ = stage(run, settings, {"train_data": data["train_data"], "plan": plan})
    shown = [b.seed_ids for b in read_records(outputs["batches"] / "batches.jsonl", Batch)]
    assert len(having) == len(shown) == 3 and {i for ids in shown for i in ids} == having
    again, _ = stage(run, settings, {"train_data": data["train_data"], "checked_batches": outputs["batches"]})
    retried = [b.seed_ids for b in read_records(again["batches"] / "batches.jsonl", Batch)]
    assert all(one != two for one, two in zip(shown, retried, strict=True)), "a next attempt starts from another seed"


def test_items_that_are_no_rows_are_counted_and_the_others_kept(stage, data, sql_settings, llm_stub, tmp_path):
    plan = write_plan(tmp_path / "plan", [STRATEGY], [])
    broken = [{**GOOD, "sql": "DELETE FROM customers"}, {"tables": "customers", "question": "no query in this one"}]
    llm_stub.on("Filter groups.", reply={"items": [GOOD, *broken]})
    outputs, _ = stage(run, configure(sql_settings, share=0.025), {"train_data": data["train_data"], "plan": plan})
    (batch,) = read_records(outputs["batches"] / "batches.jsonl", Batch)
    assert [s.row.fields["sql"] for s in batch.samples] == [GOOD["sql"]]
    assert len(batch.refused) == 2
    assert batch.unwritten == {"no row": 2}
    assert "sql" in batch.refused[1]


def test_the_next_link_writes_only_what_is_missing_and_tells_why(stage, data, sql_settings, llm_stub, tmp_path):
    plan = write_plan(tmp_path / "plan", [STRATEGY], [])
    llm_stub.on(lambda ask: "Mend" not in ask.text, reply={"items": [item(2), item(3), item(4)]})
    settings = configure(sql_settings, share=0.025, refills=1)
    first, _ = stage(run, settings, {"train_data": data["train_data"], "plan": plan})
    (batch,) = read_records(first["batches"] / "batches.jsonl", Batch)
    verdicts = [
        Sample(row=s.row, status="accepted" if i else "rejected", reason="" if i else "off") for i, s in enumerate(batch.samples)
    ]
    done = batch.model_copy(update={"id": "done", "status": "done", "samples": verdicts[1:], "wanted": 2})
    again = batch.model_copy(update={"samples": verdicts, "feedback": "use HAVING"})
    write_records(first["batches"] / "batches.jsonl", [done, again])
    llm_stub.on("use HAVING", reply={"items": [item(9)]})
    second, _ = stage(run, settings, {"train_data": data["train_data"], "checked_batches": first["batches"]})
    kept, retried = read_records(second["batches"] / "batches.jsonl", Batch)
    assert kept == done, "a finished batch passes through untouched"
    assert (retried.attempt, len(retried.samples)) == (1, 4)
    sent = llm_stub.asks[-1]
    assert sent.schema["properties"]["items"]["maxItems"] == 1
    wrote = batch.samples[0].row.fields["sql"]
    assert f'{wrote}","question"' in sent.text and "What is wrong: off" in sent.text, "the refused row is shown with its reason"
    assert "small and safe" in sent.text and "small and safe" not in llm_stub.asks[0].text, "less is asked after a refusal"
    assert item(3)["question"] in sent.text, "what is accepted is shown, so that it is not written again"
    assert read_json(second["batches"] / "usage.json")["generate_data"]["calls"] == 2


def test_an_exhausted_batch_is_refilled_with_other_seeds(stage, data, sql_settings, llm_stub, tmp_path):
    train = read_records(data["train_data"] / "train.jsonl", TrainRow)
    plan = write_plan(
        tmp_path / "plan", [STRATEGY.model_copy(update={"seed_ids": [r.id for r in train[:20]], "features": []})], []
    )
    llm_stub.on("Filter groups.", reply={"items": [item(2), item(3), item(4)]})
    settings = configure(sql_settings, share=0.025, refills=1)
    first, _ = stage(run, settings, {"train_data": data["train_data"], "plan": plan})
    (batch,) = read_records(first["batches"] / "batches.jsonl", Batch)
    write_records(first["batches"] / "batches.jsonl", [batch.model_copy(update={"status": "exhausted", "samples": []})])
    second, _ = stage(run, settings, {"train_data": data["train_data"], "checked_batches": first["batches"]})
    old, new = read_records(second["batches"] / "batches.jsonl", Batch)
    assert (old.status, new.refill_of, new.wanted, new.attempt) == ("exhausted", old.id, 3, 0)
    assert new.seed_ids != old.seed_ids


def test_a_plan_that_an_edit_broke_is_refused_with_the_entry(stage, data, sql_settings, tmp_path):
    plan = write_plan(tmp_path / "plan", [STRATEGY], [])
    entries = [{**STRATEGY.model_dump(), "tex": "x"}]
    (plan / "strategies.yaml").write_text(yaml.safe_dump(entries))
    with pytest.raises(InputError, match=r"strategies\.yaml: strategy 1: unknown key 'tex'"):
        stage(run, configure(sql_settings), {"train_data": data["train_data"], "plan": plan})


def test_a_plan_with_a_held_out_answer_is_refused(stage, data, sql_settings, tmp_path):
    train = read_records(data["train_data"] / "train.jsonl", TrainRow)
    held_out = Prediction.model_validate({**train_error(train[0]).model_dump(), "split": "validation"})
    plan = write_plan(tmp_path / "plan", [STRATEGY], [held_out])
    with pytest.raises(InputError, match=r"training_errors\.jsonl.*split"):
        stage(run, configure(sql_settings), {"train_data": data["train_data"], "plan": plan})


def test_a_cap_that_is_reached_leaves_open_batches_not_an_exception(stage, data, sql_settings, llm_stub, tmp_path):
    plan = write_plan(tmp_path / "plan", [STRATEGY], [])
    llm_stub.on("Filter groups.", reply={"items": [item(2), item(3), item(4)]})
    budget = sql_settings.budget.model_copy(update={"calls": 1})
    settings = configure(sql_settings, share=0.05).model_copy(update={"budget": budget})
    outputs, _ = stage(run, settings, {"train_data": data["train_data"], "plan": plan})
    batches = read_records(outputs["batches"] / "batches.jsonl", Batch)
    assert sorted(len(b.samples) for b in batches) == [0, 3]
    assert any("budget" in reason for b in batches for reason in b.refused)
    assert all(b.unwritten == {} for b in batches), "what a cap left unasked is no reply that failed to come"
    assert llm_stub.paid == 1


def test_no_prompt_holds_a_held_out_row(stage, data, sql_settings, llm_stub, tmp_path):
    train = read_records(data["train_data"] / "train.jsonl", TrainRow)
    plan = write_plan(tmp_path / "plan", [STRATEGY], [train_error(r) for r in train[:9]])
    llm_stub.on("", reply={"items": [item(2)]})
    stage(run, configure(sql_settings, share=0.3), {"train_data": data["train_data"], "plan": plan})
    held_out = [json.loads(line) for f in data["heldout_data"].glob("*.jsonl") for line in f.read_text().splitlines()]
    assert len(held_out) == 360
    for ask in llm_stub.asks:
        assert not [row["id"] for row in held_out if row["fields"]["question"] in ask.text]


@pytest.mark.parametrize(
    ("freedom", "told", "untold"),
    [("vary", "Leave everything else as it is", "combine"), ("compose", "kinds of your own", "Leave everything else")],
)
def test_freedom_decides_whether_rows_vary_the_examples(stage, data, sql_settings, llm_stub, tmp_path, freedom, told, untold):
    plan = write_plan(tmp_path / "plan", [STRATEGY], [])
    llm_stub.on("Filter groups.", reply={"items": [item(2), item(3), item(4)]})
    stage(run, configure(sql_settings, share=0.025, freedom=freedom), {"train_data": data["train_data"], "plan": plan})
    (ask,) = llm_stub.asks
    assert told in ask.text and untold not in ask.text


@pytest.mark.parametrize("freedom", ["vary", "compose"])
@pytest.mark.parametrize("order", ["question_first", "answer_first"])
def test_a_second_attempt_mends_what_was_refused_and_is_told_of_no_leak(
    stage, data, sql_settings, llm_stub, tmp_path, freedom, order
):
    plan = write_plan(tmp_path / "plan", [STRATEGY], [])
    llm_stub.on("You write training examples", reply=lambda ask: asked_items(ask, range(2, 9)))
    settings = configure(sql_settings, share=0.025, freedom=freedom, order=order)
    first, _ = stage(run, settings, {"train_data": data["train_data"], "plan": plan})
    (batch,) = read_records(first["batches"] / "batches.jsonl", Batch)
    asked_before = len(llm_stub.asks)
    known, leak, judged = batch.samples
    samples = [
        known.rejected("not new", "nearly the same as train-17"),
        leak.rejected("leak", "8 words in common with a test row"),
        judged.rejected("judge", "6.0 is below 7"),
    ]
    update = {"samples": samples, "feedback": "Use other tables."}
    write_records(first["batches"] / "batches.jsonl", [batch.model_copy(update=update)])
    stage(run, settings, {"train_data": data["train_data"], "checked_batches": first["batches"]})
    sent = llm_stub.asks[asked_before]
    assert "leak" not in sent.text and "test row" not in sent.text and "train-17" not in sent.text
    assert [f'{s.row.fields["sql"]}","question"' in sent.text for s in samples] == [True, False, True]
    assert f"What is wrong: {NOT_NEW}" in sent.text and "What is wrong: judge: 6.0 is below 7" in sent.text
    assert "last try: Use other tables." in sent.text
    assert "Leave everything else" not in sent.text and "variation" not in sent.text
    if order == "answer_first":
        assert "last try: Use other tables." in llm_stub.asks[-1].text, "the questions are mended too"


@pytest.mark.parametrize("freedom", ["vary", "compose"])
@pytest.mark.parametrize("order", ["question_first", "answer_first"])
def test_a_second_attempt_is_careful_after_replies_of_which_there_is_nothing_to_show(
    stage, data, sql_settings, llm_stub, tmp_path, freedom, order
):
    train = read_records(data["train_data"] / "train.jsonl", TrainRow)
    plan = write_plan(tmp_path / "plan", [STRATEGY], [train_error(train[0])])
    llm_stub.on("You write training examples", reply={"items": [{"sql": "SELECT nope FROM nowhere"}]})
    settings = configure(sql_settings, freedom=freedom, order=order)
    first, _ = stage(run, settings, {"train_data": data["train_data"], "plan": plan})
    batches = read_records(first["batches"] / "batches.jsonl", Batch)
    assert len(batches) == 2 and all(b.refused and not b.samples for b in batches)
    told = [b.model_copy(update={"feedback": "sql: no such table: nowhere."}) for b in batches]
    write_records(first["batches"] / "batches.jsonl", told)
    asked_before = len(llm_stub.asks)
    stage(run, settings, {"train_data": data["train_data"], "checked_batches": first["batches"]})
    for ask in llm_stub.asks[asked_before:]:
        assert "no such table: nowhere" in ask.text and "small and safe steps" in ask.text
        assert not any(free in ask.text for free in ("of your own", "shape", "variation", "Leave everything else"))
    (pattern,) = (ask for ask in llm_stub.asks[asked_before:] if "Filter groups." in ask.text)
    assert "Each must use HAVING" in pattern.text


def test_answers_come_first_and_only_those_that_stand_get_a_question(stage, data, sql_settings, llm_stub, tmp_path):
    train = read_records(data["train_data"] / "train.jsonl", TrainRow)
    plan = write_plan(tmp_path / "plan", [STRATEGY], [train_error(train[0])])
    known = next(r.fields["sql"] for r in train if "HAVING" in r.fields["sql"])
    queries = [
        "SELECT city FROM customers GROUP BY city HAVING COUNT(*) > 2",
        "SELECT town FROM customers GROUP BY town HAVING COUNT(*) > 2",
        "SELECT COUNT(*) FROM customers",
        known,
    ]
    answers = {"items": [{"tables": "customers(city)", "sql": sql} for sql in queries]}
    llm_stub.on(lambda ask: "answers alone" in ask.text and "Filter groups." in ask.text, reply=answers)
    llm_stub.on("answers alone", reply={"items": [{"tables": "customers(id)", "sql": "SELECT MAX(id) FROM customers"}]})
    llm_stub.on("HAVING COUNT(*) > 2", reply={"items": [{"question": "Which cities have more than two customers?"}]})
    llm_stub.on("MAX(id)", reply={"items": [{"question": "What is the highest number of a customer?"}]})
    settings = configure(sql_settings, share=0.04, batch=4, pattern_share=0.8, order="answer_first")
    outputs, _ = stage(run, settings, {"train_data": data["train_data"], "plan": plan})
    pattern, error = read_records(outputs["batches"] / "batches.jsonl", Batch)
    assert [s.row.fields for s in pattern.samples] == [
        {"question": "Which cities have more than two customers?", "sql": queries[0], "family": ""}
    ]
    assert [s.row.fields["sql"] for s in error.samples] == ["SELECT MAX(id) FROM customers"]
    assert pattern.unwritten == {"no row": 3}
    assert [reason.startswith(sql) for reason, sql in zip(pattern.refused, queries[1:], strict=True)] == [True] * 3
    for reason, said in zip(pattern.refused, ("no such column: town", "does not use HAVING", NOT_NEW), strict=True):
        assert said in reason
    asks = sorted(llm_stub.asks, key=lambda ask: ask.number)
    assert ["answers alone" in ask.text for ask in asks] == [True, True, False, False], "all answers before any question"
    assert "question" not in asks[0].schema["properties"]["items"]["items"]["properties"]
    question = next(ask for ask in asks[2:] if "HAVING COUNT(*) > 2" in ask.last)
    assert "rows of (city), the first: '" in question.last, "the question is written from the result"
    assert (question.schema["properties"]["items"]["minItems"], question.schema["properties"]["items"]["maxItems"]) == (1, 1)
    assert pattern.samples[0].row.provenance.request_hash
    assert read_json(outputs["batches"] / "usage.json")["generate_data"]["calls"] == 4


def test_an_answer_is_not_written_twice_and_a_focus_that_the_question_brings_is_waited_for(llm_stub):
    task = load_task("gsm8k", {})
    train = [TrainRow(id="t1", fields={"question": "How many pears is 1 + 1?", "answer": "1 + 1 = 2\n#### 2"})]
    batches = [
        Batch(id=f"b{n}", branch="pattern", strategy_id="it1-s1", seed_ids=["t1"], wanted=1, focus=focus)
        for n, focus in enumerate(("fractions", "", "division", "division with fractions"))
    ]
    llm_stub.on("answers alone", reply={"items": [{"steps": ["Ann eats 3 * 4 = 12 plums."]}]})
    question = "Of 9 days a third is hot; Ann eats 4 plums on each. How many?"
    llm_stub.on("It gives: 12", reply={"items": [{"question": question}]})
    sources = Sources(task, train, [STRATEGY], [])
    llm = open_llm(LlmSettings(model="teacher", base_url=llm_stub.url, api_key_env="PATH"), BudgetSettings(), "")
    tools = Tools(llm, lambda program, seconds: pytest.fail("nothing to run"))
    settings = GenerateSettings(order="answer_first")
    fractions, twin, division, both = generate(sources, batches, settings, Forms.of(task, train, 1024), tools, 1)
    assert [s.row.fields["question"] for s in fractions.samples] == [question]
    assert (twin.samples, NOT_NEW in twin.refused[0]) == ([], True)
    assert (division.samples, "does not use division" in division.refused[0]) == ([], True)
    assert (both.samples, "does not use division with fractions" in both.refused[0]) == ([], True)
    batches = [batches[0].model_copy(update={"focus": "fractions with multiplication"})]
    (both,) = generate(sources, batches, settings, Forms.of(task, train, 1024), tools, 1)
    assert [s.row.fields["question"] for s in both.samples] == [question], "one from the answer, one from the question"


def test_functions_are_run_before_their_docstrings_are_written(llm_stub):
    task = load_task("humaneval", {})
    known = {
        "prompt": 'def add(a: int, b: int) -> int:\n    """Add two numbers, 1 and 2 to 3."""\n',
        "entry_point": "add",
        "canonical_solution": "    return a + b\n",
        "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
    }
    train = [TrainRow(id="t1", fields=known)]
    tests = ["assert less(5, 2) == 3", "assert less(2, 2) == 0", "assert less(7, 7) == 0"]
    functions = [
        {
            "code": "def plus(x, y):\n    return x + y",
            "tests": ["assert plus(1, 2) == 3", "assert plus(2, 2) == 4", "assert plus(0, 1) == 1"],
        },
        {"code": "def less(a, b):\n    return b - a", "tests": tests},
        {"code": "def less(a, b):\n    return a - b", "tests": tests},
    ]
    llm_stub.on("answers alone", reply={"items": functions})
    docstring = "Take b from a, e.g. 2 from 5 leaves 3."
    llm_stub.on("it passes its tests", reply={"items": [{"docstring": docstring}]})
    batches = [Batch(id="b", branch="pattern", strategy_id="it1-s1", seed_ids=["t1"], wanted=3)]
    llm = open_llm(LlmSettings(model="teacher", base_url=llm_stub.url, api_key_env="PATH"), BudgetSettings(), "")
    settings = GenerateSettings(order="answer_first")
    sources, forms = Sources(task, train, [STRATEGY], []), Forms.of(task, train, 1024)
    (batch,) = generate(sources, batches, settings, forms, Tools(llm, run_code), 1)
    assert NOT_NEW in batch.refused[0], "the training row's function under other names"
    assert "fails its own tests" in batch.refused[1]
    (sample,) = batch.samples
    assert task.question_of(sample.row.fields).model_dump() == {"docstring": docstring}
    assert task.verify(sample.row.fields, run_code) == ""


@pytest.mark.parametrize("order", ["question_first", "answer_first"])
def test_a_row_that_training_would_leave_out_is_refused(stage, data, sql_settings, llm_stub, tmp_path, order):
    plan = write_plan(tmp_path / "plan", [STRATEGY], [])
    long = "Which of all of the cities that there are have more than 22 of the customers in them?"
    written = {"items": [item(n) | ({"question": long} if n == 22 else {}) for n in (21, 22)]}

    def reply(ask):
        wanted = ask.schema["properties"]["items"]["items"]["properties"]
        return {"items": [{k: row[k] for k in wanted} for row in written["items"]]}

    llm_stub.on("You write training examples", reply=reply)
    changes = {"slm": sql_settings.slm.model_copy(update={"max_length": 32})}
    settings = configure(sql_settings, share=0.017, order=order).model_copy(update=changes)
    outputs, _ = stage(run, settings, {"train_data": data["train_data"], "plan": plan})
    (batch,) = read_records(outputs["batches"] / "batches.jsonl", Batch)
    assert [s.row.fields["question"] for s in batch.samples] == [item(21)["question"]], batch.refused
    assert "tokens in all, and at most 32 are trained on" in batch.refused[0]


def test_room_that_cuts_off_most_replies_is_refused_before_anything_is_paid(stage, data, sql_settings, llm_stub, tmp_path):
    plan = write_plan(tmp_path / "plan", [STRATEGY], [])
    teacher = sql_settings.teacher.model_copy(update={"max_tokens": 100})
    settings = configure(sql_settings).model_copy(update={"teacher": teacher})
    with pytest.raises(InputError, match=r"teacher\.max_tokens: 100 is too few"):
        stage(run, settings, {"train_data": data["train_data"], "plan": plan})
    assert not llm_stub.asks


def test_answers_first_needs_answers_that_run():
    with pytest.raises(InputError, match=r"generate\.order: answer_first .* arc_challenge has none"):
        answer_first(load_task("arc_challenge", {}), "answer_first")
    assert answer_first(load_task("arc_challenge", {}), "") is None
    assert answer_first(load_task("gsm8k", {}), "question_first") is None
    assert answer_first(load_task("gsm8k", {}), "answer_first").name == "gsm8k"
