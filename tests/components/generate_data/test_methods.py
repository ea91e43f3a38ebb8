"""Methods that write each row from one training row, through the stage: what is asked, shown, not shown, and what comes out."""

import itertools
import json
import shutil

import pytest
import yaml
from whole_run import TEXT_TO_SQL

from pada_agent.components.backends.record_files import read_json, read_records, write_json, write_records
from pada_agent.components.core.cost.estimate import estimate
from pada_agent.components.core.cost.prompt_sizes import CHAT
from pada_agent.components.core.cost.tokens import token_count
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.methods.method import load_method
from pada_agent.components.core.methods.registry import METHODS
from pada_agent.components.core.records import Batch, Score, Strategy, TrainingError, TrainRow
from pada_agent.components.core.settings import GenerateSettings
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.generate_data.__main__ import _begin, run
from pada_agent.components.generate_data.batches import RowBatches, Sources
from pada_agent.components.generate_data.shown import NOT_NEW

SQL = {"name": "text_to_sql", "options": {"database": str(TEXT_TO_SQL / "shop.sql")}}
TASKS = ("text_to_sql", "gsm8k", "squad", "arc_challenge")
ERRORS = ("t0", "t2", "t4")  # every second of six rows is answered wrongly, with WRONG
WRONG, REPHRASING = "Wrongly said.", "into other words, as another person would ask"
CITIES = ("Oslo", "Lyon", "Porto", "Graz", "Turin", "Ghent")
FROM_ERRORS = ("learning_from_error", "learning_by_contrast", "llm2llm")


def fields(task, n):
    """Row `n` of a task; each number is another question."""
    city = CITIES[n % 6]
    return {
        "text_to_sql": {
            "question": f"How many customers of {city} have over {n}00 points?",
            "sql": f"SELECT COUNT(*) FROM customers WHERE city = '{city}' AND points > {n}00",
            "family": "",
        },
        "gsm8k": {
            "question": f"A shop in {city} sells {n + 2} pears at 3 crowns each. What do they cost together?",
            "answer": f"All pears cost {n + 2} * 3 = {3 * n + 6} crowns.\n#### {3 * n + 6}",
        },
        "squad": {
            "context": f"The bridge of {city} was built in 19{n + 10} by a guild of {n + 20} masons from the hills, who were "
            "paid in silver for it and left the town when the last stone was laid.",
            "question": f"When was the bridge of {city} built?",
            "answers": [f"19{n + 10}"],
        },
        "arc_challenge": {
            "question": f"What do pupils in {city} see when water boils for {n + 3} minutes?",
            "options": [f"{n + 3} stones", "steam", f"{n + 3} sparks"],
            "answer": "B",
        },
    }[task]


@pytest.fixture
def begin(tmp_path, sql_settings, stage, llm_stub):
    """begin(task, method, ...) -> batches, what was asked, the outputs. Called with `before` it runs the next link."""

    def start(task, method, before=None, errors=ERRORS, rows=6, wanted=6, strategies=(), ledger="", **generate):
        data, plan = tmp_path / "data", tmp_path / "plan"
        train = [TrainRow(id=f"t{n}", fields=fields(task, n)) for n in range(rows)]
        (data / "assets").mkdir(parents=True, exist_ok=True)
        plan.mkdir(exist_ok=True)
        if task == "text_to_sql":
            shutil.copy(TEXT_TO_SQL / "shop.sql", data / "assets" / "database.sql")
        write_records(data / "train.jsonl", train)
        (plan / "strategies.yaml").write_text(yaml.safe_dump([s.model_dump() for s in strategies]))
        write_json(plan / "spent.json", {})
        write_records(plan / "training_errors.jsonl", [_error(task, r) for r in train if r.id in errors])
        own = SQL if task == "text_to_sql" else {"name": task, "options": {}}
        section = {"share": wanted / rows, "batch": 3, "method": method, **generate}
        update = {
            "task": sql_settings.task.model_copy(update=own),
            "generate": sql_settings.generate.model_copy(update=section),
            "loop": sql_settings.loop.model_copy(update={"iterations": 1}),
        }
        inputs = {"train_data": data, **({"checked_batches": before} if before else {"plan": plan})}
        asked = len(llm_stub.asks)
        start.settings = sql_settings.model_copy(update=update)
        outputs, _ = stage(run, start.settings, inputs, ledger=ledger)
        return read_records(outputs["batches"] / "batches.jsonl", Batch), llm_stub.asks[asked:], outputs["batches"]

    return start


def _error(task, row):
    loaded = load_task(task, SQL["options"] if task == "text_to_sql" else {})
    score, reference = Score(correct=False, valid=True), loaded.reference(row.fields)
    return TrainingError(
        id=row.id, split="train", prompt="p", output=f"{WRONG} {row.id}", reference=reference, score=score, fields=row.fields
    )


@pytest.fixture
def loaded():
    return lambda task: load_task(task, SQL["options"] if task == "text_to_sql" else {})


@pytest.fixture
def writes(llm_stub, loaded):
    """writes(task): the teacher writes another row with each item, in the form of a sample."""

    def teach(task):
        numbers = itertools.count(10)

        def reply(ask):
            items = [loaded(task).sample_of(fields(task, next(numbers))) for _ in range(_count(ask))]
            return {"items": [item.model_dump() for item in items]}

        llm_stub.on(lambda ask: ask.text.startswith("You write training") and REPHRASING not in ask.text, reply=reply)

    return teach


@pytest.fixture
def rephrases(llm_stub, loaded):
    """rephrases(task, change): the teacher changes the text it is shown."""

    def teach(task, change=lambda text, number: f"Tell me ({'x' * number}): {text}"):
        def reply(ask):
            (text,) = (text for n in range(6) if (text := loaded(task).wording(fields(task, n))) in ask.last)
            return {"items": [{"text": change(text, number)} for number in range(_count(ask))]}

        llm_stub.on(REPHRASING, reply=reply)

    return teach


def _count(ask):
    return ask.schema["properties"]["items"]["minItems"]


def written(batches):
    return [s.row for b in batches for s in b.samples]


def gold(task, row):
    """A training row with its answer, as a teacher would be shown it."""
    return task.sample_of(row).model_dump_json()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", ["learning_from_error", "learning_by_contrast"])
def test_learning_from_error_shows_the_wrong_answer_and_not_the_right_one(begin, writes, loaded, task, method):
    writes(task)
    batches, asks, _ = begin(task, method, shots=2)
    own = loaded(task)
    assert {b.seed_ids[0] for b in batches} == set(ERRORS) and all(b.branch == "error" for b in batches)
    assert [b.wanted for b in batches] == [2, 2, 2], "six rows around three errors, in a call each"
    assert len(written(batches)) == 6 and all(row.provenance.request_hash for row in written(batches))
    for batch in batches:
        row, *beside = batch.seed_ids
        (ask,) = (ask for ask in asks if f"{WRONG} {row}\n" in ask.text)
        text = ask.text
        assert own.question(fields(task, int(row[1]))) in text
        assert gold(own, fields(task, int(row[1]))) not in text, "the right answer is shown"
        if task in ("text_to_sql", "gsm8k"):
            assert own.reference(fields(task, int(row[1]))) not in text
        assert not set(beside) & set(ERRORS), "what is shown beside it was answered rightly"
        assert gold(own, fields(task, int(beside[0][1]))) in text, "one of these shows the form"
        mastered = [own.question(fields(task, int(i[1]))) for i in beside[1:]]
        assert all(question in text for question in mastered)
        assert all(gold(own, fields(task, int(i[1]))) not in text for i in beside[1:]), "questions without answers"
        assert len(mastered) == (2 if method == "learning_by_contrast" else 0)
        assert ("answers well" in text) == bool(mastered)


def test_contrast_is_with_the_nearest_questions_answered_rightly(begin, writes):
    writes("gsm8k")
    batches, _, _ = begin("gsm8k", "learning_by_contrast", rows=12, errors=("t0",), shots=1, wanted=1)
    assert [b.seed_ids[0] for b in batches] == ["t0"]
    assert batches[0].seed_ids[-1] == "t6", "the shop of the same city"


@pytest.mark.parametrize("task", TASKS)
def test_llm2llm_shows_the_right_answer_and_not_the_wrong_one(begin, writes, loaded, task):
    writes(task)
    batches, asks, _ = begin(task, "llm2llm", wanted=4)
    assert [(b.wanted, len(b.seed_ids), b.branch) for b in batches] == [(1, 1, "error")] * 4, "one row a call"
    assert {b.seed_ids[0] for b in batches} == set(ERRORS) and batches[0].seed_ids == batches[3].seed_ids, "errors take turns"
    for ask in asks:
        assert WRONG not in ask.text
        assert sum(gold(loaded(task), fields(task, n)) in ask.text for n in range(6)) == 1, "it is shown one row, with its answer"
    assert {row.provenance.parent_ids[0] for row in written(batches)} == set(ERRORS)


@pytest.mark.parametrize("task", TASKS)
def test_auggpt_puts_questions_into_other_words_and_keeps_all_else(begin, rephrases, loaded, task):
    rephrases(task)
    batches, asks, _ = begin(task, "auggpt", wanted=6)
    assert sorted(b.seed_ids[0] for b in batches) == [f"t{n}" for n in range(6)], "right rows and wrong ones, each once"
    assert all(b.branch == "row" for b in batches) and len(asks) == 6
    for row in written(batches):
        parent = fields(task, int(row.provenance.parent_ids[0][1]))
        assert loaded(task).wording(row.fields) == f"Tell me (): {loaded(task).wording(parent)}"
        assert {**row.fields, "question": ""} == {**parent, "question": ""}
    for ask in asks:
        assert WRONG not in ask.text and not any(gold(loaded(task), fields(task, n)) in ask.text for n in range(6))
        if task != "squad":
            assert not any(loaded(task).reference(fields(task, n)) in ask.last for n in range(6))


def test_auggpt_as_published_asks_for_six_of_each(begin, rephrases):
    rephrases("gsm8k")
    batches, asks, _ = begin("gsm8k", "auggpt", wanted=14, per_row=6)
    assert [b.wanted for b in batches] == [6, 6, 2] and len({b.seed_ids[0] for b in batches}) == 3
    assert len(asks) == 3 and len(written(batches)) == 14


@pytest.mark.parametrize("task", TASKS)
def test_duplicates_are_training_rows_without_a_call(begin, task):
    batches, asks, folder = begin(task, "duplicate", wanted=9)
    assert asks == [] and "generate_data" in read_json(folder / "usage.json")
    copied = [row.provenance.parent_ids for row in written(batches)]
    assert sorted(itertools.chain(*copied[:6])) == [f"t{n}" for n in range(6)], "each once before any is copied again"
    assert all(row.fields == fields(task, int(parent[1])) for row, (parent,) in zip(written(batches), copied, strict=True))
    assert len({row.id for row in written(batches)}) == 9
    assert all(row.provenance.request_hash == "" for row in written(batches))


@pytest.mark.parametrize("method", [*FROM_ERRORS, "auggpt"])
def test_the_next_try_is_told_why_rows_were_refused_and_stays_with_its_training_row(begin, writes, rephrases, method):
    writes("gsm8k"), rephrases("gsm8k")
    batches, _, folder = begin("gsm8k", method, wanted=2, per_row=2)
    (batch,) = batches
    copy, leak = batch.samples
    rejected = [copy.rejected("not new", "nearly the same as t3"), leak.rejected("leak", "8 words in common with a test row")]
    write_records(folder / "batches.jsonl", [batch.model_copy(update={"samples": rejected, "feedback": "Vary the shops."})])
    (again,), (ask,), _ = begin("gsm8k", method, before=folder, wanted=2, per_row=2)
    assert again.seed_ids == batch.seed_ids and again.attempt == 1 and len(again.samples) == 4
    assert f"What is wrong: {NOT_NEW}" in ask.text and "Mend what was wrong with your last try: Vary the shops." in ask.text
    assert "test row" not in ask.text and "t3" not in ask.text and ask.text.count("What is wrong") == 1
    shown = copy.row.fields["question"]
    assert json.dumps(shown) in ask.text, "the refused row, in the form in which it was written"


@pytest.mark.parametrize("method", [*FROM_ERRORS, "auggpt", "duplicate"])
@pytest.mark.parametrize("task", TASKS)
def test_the_estimate_knows_what_is_asked(begin, writes, rephrases, loaded, method, task):
    (rephrases if method == "auggpt" else writes)(task)
    _, asks, _ = begin(task, method, regenerations=0)
    rows = [fields(task, n) for n in range(6)]
    by_stage = {s.stage: s.expected for s in estimate(begin.settings, loaded(task), rows, 6, 6)}
    expected = by_stage["generate_data"]
    assert expected.calls == len(asks) == {"duplicate": 0, "llm2llm": 6, "auggpt": 6}.get(method, 3)
    sent = sum(token_count(m["content"]) + CHAT for ask in asks for m in ask.messages)
    assert expected.input_tokens == pytest.approx(sent, rel=0.1)
    assert (expected.output_tokens > 0) == bool(asks) and by_stage["analyze_patterns"].calls == 0
    assert bool(by_stage["control_quality"].calls) == bool(asks), "nobody judges copies"


def test_an_exhausted_batch_is_refilled_from_another_row(begin, writes):
    writes("gsm8k")
    (batch,), _, folder = begin("gsm8k", "llm2llm", wanted=1, refills=1)
    write_records(folder / "batches.jsonl", [batch.model_copy(update={"status": "exhausted", "samples": []})])
    (_, new), _, _ = begin("gsm8k", "llm2llm", before=folder, wanted=1, refills=1)
    assert new.refill_of == batch.id and new.seed_ids != batch.seed_ids and new.seed_ids[0] in ERRORS


@pytest.mark.parametrize("method", FROM_ERRORS)
def test_without_errors_there_is_nothing_to_learn_from(begin, method):
    assert begin("gsm8k", method, errors=())[:2] == ([], [])


@pytest.mark.parametrize("method", ["learning_from_error", "learning_by_contrast"])
def test_where_all_is_wrong_another_wrong_row_shows_the_form(begin, writes, loaded, method):
    writes("gsm8k")
    batches, asks, _ = begin("gsm8k", method, errors=[f"t{n}" for n in range(6)], wanted=6, shots=1)
    for batch in batches:
        own, *beside = batch.seed_ids
        assert beside and own not in beside
        (ask,) = (ask for ask in asks if f"{WRONG} {own}\n" in ask.text)
        assert gold(loaded("gsm8k"), fields("gsm8k", int(own[1]))) not in ask.text
        assert len(beside) == 1 and "answers well" not in ask.text, "there is nothing to compare with"


@pytest.mark.parametrize("method", [*FROM_ERRORS, "auggpt"])
def test_what_was_paid_is_not_asked_again(begin, writes, rephrases, tmp_path, method):
    writes("gsm8k"), rephrases("gsm8k")
    ledger = str(tmp_path / "ledger.jsonl")
    first, asks, _ = begin("gsm8k", method, wanted=3, ledger=ledger)
    again, more, _ = begin("gsm8k", method, wanted=3, ledger=ledger)
    assert asks and more == [] and again == first


def test_a_wording_that_changes_the_answer_is_refused_with_the_reason(begin, rephrases):
    rephrases("gsm8k", change=lambda text, number: "What do the pears of a shop cost?")
    (batch,), _, _ = begin("gsm8k", "auggpt", wanted=1)
    assert batch.samples == [] and batch.unwritten == {"no row": 1}
    assert batch.refused[0].startswith("text: must have the numbers of the question and no others, in figures; look at '3', '")


def test_a_task_without_such_a_text_is_refused_before_anything_is_paid(sql_settings, stage, tmp_path, llm_stub):
    data, plan = tmp_path / "data", tmp_path / "plan"
    write_records(data / "train.jsonl", [TrainRow(id="t", fields={"inputs": {"a": "x", "b": "y"}, "answer": "1", "choices": []})])
    plan.mkdir()
    (plan / "strategies.yaml").write_text("[]")
    write_json(plan / "spent.json", {})
    write_records(plan / "training_errors.jsonl", [])
    options = {"prompt": "{a} {b}", "answer": "c", "scorer": "exact", "description": "d"}
    update = {
        "task": sql_settings.task.model_copy(update={"name": "custom", "options": options}),
        "generate": sql_settings.generate.model_copy(update={"method": "auggpt"}),
    }
    with pytest.raises(InputError, match=r"task\.options\.rephrase: .* say which: a, b"):
        stage(run, sql_settings.model_copy(update=update), {"train_data": data, "plan": plan})
    assert not llm_stub.asks


@pytest.mark.parametrize("method", METHODS)
def test_each_method_asks_for_as_many_rows_in_each_iteration(sql_settings, loaded, method):
    train = [TrainRow(id=f"t{n}", fields=fields("gsm8k", n)) for n in range(22)]
    plan = [Strategy(id=f"s{n}", pattern_id="", pattern_name="p", text="t", seed_ids=["t1", "t2"]) for n in range(3)]
    sources = Sources(loaded("gsm8k"), train, plan, [_error("gsm8k", row) for row in train[::2]])
    update = {
        "generate": sql_settings.generate.model_copy(update={"method": method, "share": 0.5}),
        "loop": sql_settings.loop.model_copy(update={"iterations": 3}),
    }
    settings = sql_settings.model_copy(update=update)
    asked = [sum(b.wanted for b in _begin(sources, load_method(method), settings, k)) for k in (1, 2, 3)]
    assert asked == [4, 4, 3], "half of the 22 training rows, over three iterations"


def test_each_iteration_begins_with_other_rows_and_each_seed_too(loaded):
    train = [TrainRow(id=f"t{n}", fields=fields("gsm8k", n)) for n in range(40)]
    sources, settings = Sources(loaded("gsm8k"), train, [], []), GenerateSettings(method="auggpt")

    def drawn(iteration, seed):
        return [b.seed_ids[0] for b in RowBatches(sources, load_method("auggpt"), settings, iteration, seed).first(10)]

    draws = [drawn(1, 0), drawn(2, 0), drawn(1, 1)]
    assert all(len(set(ids)) == 10 for ids in draws) and len({tuple(sorted(ids)) for ids in draws}) == 3
    assert drawn(1, 0) == draws[0]


AIM = Strategy(
    id="it1-s1",
    pattern_id="it1-p1",
    pattern_name="Years",
    text="Ask for years.",
    features=["who question"],
    seed_ids=["t1", "t3"],
)


@pytest.fixture
def asks_again(llm_stub):
    """The teacher asks who built the bridge, whatever it is shown, and for things that no row says."""

    def reply(ask):
        items = [{"question": f"Who built it, asked {n} times?", "answer": "a guild"} for n in range(_count(ask))]
        return {"items": [*items[:-1], {"question": "What colour has it?", "answer": "green"}]}

    llm_stub.on("You write training", reply=reply)


@pytest.mark.parametrize("freedom", ["vary", "compose"])
def test_rows_on_a_kept_context_are_asked_for_without_it_and_have_it(begin, asks_again, freedom):
    batches, asks, _ = begin("squad", "pada", strategies=[AIM], wanted=12, shots=1, context="kept", freedom=freedom)
    assert {b.branch for b in batches} == {"pattern", "error"} and len(asks) == 4
    for batch in batches:
        passage = fields("squad", int(batch.seed_ids[0][1]))["context"]
        ask = next(ask for ask in asks if passage in ask.last)
        assert set(ask.schema["properties"]["items"]["items"]["properties"]) == {"question", "answer"}
        assert "is about the context of the example above" in ask.last
        assert not any(free in ask.text for free in ("of your own", "variation", "Leave everything else"))
        assert [row.fields for row in written([batch])] == [
            {"context": passage, "question": f"Who built it, asked {n} times?", "answers": ["a guild"]} for n in range(2)
        ]
        assert batch.refused == ["answer: 'green' is not in the context; copy it from there word for word"]


def test_contexts_take_turns_the_pattern_s_own_first(begin, asks_again):
    batches, _, _ = begin("squad", "pada", strategies=[AIM], errors=(), wanted=18, batch=3, shots=1, context="kept")
    turns = [b.seed_ids[0] for b in batches]
    assert set(turns[:2]) == {"t1", "t3"} and sorted(turns) == [f"t{n}" for n in range(6)]


def test_a_next_try_on_a_kept_context_mends_what_was_written_to_it(begin, asks_again):
    batches, _, folder = begin("squad", "pada", strategies=[AIM], errors=(), wanted=3, shots=1, context="kept")
    (batch,) = batches
    rejected = [s.rejected("doubtful answer", "the solver says 'masons'") for s in batch.samples]
    write_records(folder / "batches.jsonl", [batch.model_copy(update={"samples": rejected})])
    (again,), (ask,), _ = begin("squad", "pada", folder, strategies=[AIM], errors=(), wanted=3, shots=1, context="kept")
    assert again.seed_ids == batch.seed_ids and again.attempt == 1
    assert (
        '{"question":"Who built it, asked 0 times?","answer":"a guild"}\nWhat is wrong: doubtful answer: the solver says'
        in ask.last
    )
    assert ask.last.count(fields("squad", int(batch.seed_ids[0][1]))["context"]) == 1, "of the example alone"


@pytest.mark.parametrize("method", FROM_ERRORS)
def test_methods_that_write_from_one_row_keep_its_context_too(begin, asks_again, method):
    batches, asks, _ = begin("squad", method, wanted=6, context="kept")
    assert len(written(batches)) >= 3 or method == "llm2llm"  # one a call, which is the one that is refused
    for batch in batches:
        passage = fields("squad", int(batch.seed_ids[0][1]))["context"]
        ask = next(ask for ask in asks if passage in ask.last)
        assert "context" not in ask.schema["properties"]["items"]["items"]["properties"]
        assert "which stays as it is" in ask.text
        assert all(row.fields["context"] == passage for row in written([batch]))


@pytest.mark.parametrize("method", ["pada", "random_strategy", *FROM_ERRORS])
def test_the_estimate_knows_that_a_kept_context_is_not_written(loaded, sql_settings, method):
    rows = [fields("squad", n) for n in range(6)]

    def writing(context):
        section = sql_settings.generate.model_copy(update={"method": method, "context": context})
        return {
            s.stage: s.expected
            for s in estimate(sql_settings.model_copy(update={"generate": section}), loaded("squad"), rows, 60, 60)
        }["generate_data"]

    assert writing("kept").calls == writing("written").calls
    assert writing("kept").output_tokens < 0.6 * writing("written").output_tokens


def test_a_custom_task_says_which_field_is_its_context(llm_stub):
    options = {"prompt": "{the text}\n{question}", "answer": "a", "scorer": "exact", "description": "d", "context": "the text"}
    form = load_method("pada").form(load_task("custom", options), "kept")
    row = {"inputs": {"the text": "Oslo is cold.", "question": "What is Oslo?"}, "answer": "cold", "choices": []}
    assert form.of(row).model_dump() == {"question": "What is Oslo?", "answer": "cold"}
    item = form.model(question="What is cold?", answer="Oslo")
    assert form.row(item, row) == {**row, "inputs": {"the text": "Oslo is cold.", "question": "What is cold?"}, "answer": "Oslo"}


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        (
            "gsm8k",
            {},
            "generate.context: kept needs rows with a text that questions are about, and gsm8k names none; leave it out$",
        ),
        ("custom", {"prompt": "{a} {b}"}, "custom names none; .* or name the prompt's field as task.options.context"),
    ],
)
def test_a_context_that_there_is_not_cannot_be_kept(task, options, message):
    more = {"answer": "c", "scorer": "exact", "description": "d"} if options else {}
    with pytest.raises(InputError, match=message):
        load_method("pada").form(load_task(task, options | more), "kept")
