"""How the calls of one strategy spread: the kinds that they are told, and the training rows that they are shown."""

import json
from pathlib import Path

import pytest

from pada_agent.components.core.records import Batch, Provenance, Sample, Strategy, SyntheticRow, TrainRow
from pada_agent.components.core.row_quotas import Allocation
from pada_agent.components.core.settings import GenerateSettings
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.sample_form import on_context, whole
from pada_agent.components.generate_data.batches import Sources, first_batches
from pada_agent.components.generate_data.kinds import KindsWritten
from pada_agent.components.generate_data.seeds import Likeness, unlike
from pada_agent.components.generate_data.shown import Shown

TEXT_TO_SQL = Path(__file__).parents[3] / "pipelines" / "examples" / "text_to_sql"
SQL = load_task("text_to_sql", {"database": str(TEXT_TO_SQL / "shop.sql")})
TRAIN = [TrainRow(id=f"t{i}", fields=SQL.read(json.loads(line))) for i, line in enumerate((TEXT_TO_SQL / "train.jsonl").open())]
HAVING = [r.id for r in TRAIN if "HAVING" in r.fields["sql"]]
STRATEGY = Strategy(
    id="s1", pattern_id="p1", pattern_name="Groups", text="Filter groups.", features=["HAVING", "CASE"], seed_ids=HAVING
)


def batch(number, **values):
    given = {"branch": "pattern", "strategy_id": "s1", "seed_ids": HAVING[:1], "wanted": 2, "focus": "HAVING"}
    return Batch.model_validate({"id": f"b{number}", **given, **values})


def accepted(sql):
    provenance = Provenance(branch="pattern", parent_ids=[], iteration=1, batch_id="b", attempt=0, request_hash="x")
    return Sample(row=SyntheticRow(id="r", fields={"question": "q", "sql": sql}, provenance=provenance), status="accepted")


def kinds(batches, strategy=STRATEGY):
    written = KindsWritten(SQL, TRAIN, batches)
    return [written.of(b, strategy) for b in batches if b.status == "open"]


def test_a_call_is_told_what_is_covered_what_is_lacking_and_its_own_share():
    union = accepted("SELECT name FROM customers UNION SELECT name FROM products")
    done = batch(0, status="done", samples=[union])
    one, two = kinds([done, batch(1), batch(2, focus="CASE")])
    assert "UNION" in one["covered"] and "UNION" in two["covered"], "accepted rows of a sibling count"
    assert "GROUP BY" in one["covered"], "and the row that is shown"
    assert "CASE" in one["covered"] and "HAVING" not in one["covered"], "and what a sibling is asked for, not its own"
    assert (one["lacking"], two["lacking"]) == (["HAVING"], ["CASE"])
    (later,) = kinds([batch(0, samples=[accepted("SELECT CASE WHEN id > 2 THEN 1 END FROM customers")])])
    assert later["lacking"] == ["HAVING"], "CASE has been written"


def test_calls_of_one_strategy_get_different_shares_and_the_least_written_first():
    features = {f for r in TRAIN for f in SQL.features(r.fields)} - {"HAVING", "CASE"}
    shares = [k["share"] for k in kinds([batch(n) for n in range(len(features))])]
    assert sorted(shares) == sorted(features)
    again = [k["share"] for k in kinds([batch(n, attempt=1) for n in range(3)])]
    assert not set(again) & set(shares[:3]), "a next attempt has another share"
    limit = accepted("SELECT name FROM customers ORDER BY name LIMIT 2")
    few = [k["share"] for k in kinds([batch(n, samples=[limit]) for n in range(len(features) - 2)])]
    assert not {"LIMIT", "ORDER BY"} & set(few)
    seeds = {f for r in TRAIN if r.id in HAVING for f in SQL.features(r.fields)}
    assert not seeds & set(shares[: len(features - seeds)]), "what the strategy's training rows have anyway comes last"


def test_who_is_asked_for_two_features_together_is_told_neither_as_covered_nor_as_a_share():
    pair = STRATEGY.model_copy(update={"features": ["AVG with HAVING"]})
    features = {f for r in TRAIN for f in SQL.features(r.fields)}
    told = kinds([batch(n, focus="AVG with HAVING") for n in range(len(features) - 2)], pair)
    assert {k["share"] for k in told} == features - {"AVG", "HAVING"}
    assert not any({"AVG", "HAVING", "AVG with HAVING"} & set(k["covered"]) for k in told)


@pytest.mark.parametrize("prompt", ["pattern", "answers"])
def test_the_prompt_tells_who_composes_of_the_kinds_and_not_who_varies(prompt):
    done = batch(0, status="done", samples=[accepted("SELECT name FROM customers UNION SELECT name FROM products")])
    batches, sources = [done, batch(1)], Sources(SQL, TRAIN, [STRATEGY], [])
    told = {}
    for freedom in ("compose", "vary"):
        shown = Shown(sources, GenerateSettings(freedom=freedom), whole(SQL), batches, SQL if prompt == "answers" else None)
        variables = shown.variables(batches[1])
        told[freedom] = SQL.prompts.render("generate_data", prompt, **variables)[-1]["content"]
    kinds = variables["kinds"]
    said = [
        f"Kinds shown above, written already or asked for elsewhere: {', '.join(kinds['covered'])}.",
        "Kinds that the aim asks for and nobody has written yet: HAVING, CASE.",
        f"This time combine the aim with {kinds['share']}, where",
    ]
    assert "UNION" in kinds["covered"] and [part in told["compose"] for part in said] == [True] * 3
    assert not any(part[:12] in told["vary"] for part in said)


def test_who_composes_is_shown_the_least_alike_of_all_of_a_patterns_rows_and_who_varies_the_nearest():
    where = [r.id for r in TRAIN if "WHERE" in r.fields["sql"]][:20]
    sources = Sources(SQL, TRAIN, [STRATEGY.model_copy(update={"features": ["WHERE"], "seed_ids": where})], [])
    likeness = Likeness(SQL, {r.id: r.fields for r in TRAIN})
    shown = {}
    for freedom in ("compose", "vary"):
        batches = first_batches(sources, Allocation([20], 0), GenerateSettings(batch=2, shots=2, freedom=freedom), 1, 0)
        shown[freedom] = {b.seed_ids[0] for b in batches}
        for one, other in (b.seed_ids for b in batches if freedom == "compose"):
            assert likeness.of(one, other) == min(likeness.of(one, i) for i in where)
    assert len(shown["compose"]) == 10 and shown["vary"] <= set(where[:6])


def test_no_two_prompts_of_one_round_read_the_same():
    settings = GenerateSettings(batch=2, shots=2)
    sources = Sources(SQL, TRAIN, [STRATEGY.model_copy(update={"features": ["HAVING"]})], [])
    batches = first_batches(sources, Allocation([8], 0), settings, 1, 0)
    shown = Shown(sources, settings, whole(SQL), batches, None)
    assert len({str(SQL.prompts.render("generate_data", "pattern", **shown.variables(b))) for b in batches}) == 4


def test_a_strategy_whose_seeds_an_edit_made_unknown_is_shown_rows_all_the_same():
    edited = STRATEGY.model_copy(update={"seed_ids": ["nowhere"]})
    for b in first_batches(Sources(SQL, TRAIN, [edited], []), Allocation([8], 0), GenerateSettings(shots=2), 1, 0):
        assert len(b.seed_ids) == 2 and set(b.seed_ids) <= {r.id for r in TRAIN}


def test_a_long_question_that_was_asked_is_named_by_its_beginning_and_its_end():
    squad = load_task("squad", {})
    fields = {"context": "plain words " * 250, "question": "What is plain here?", "answers": ["words"]}
    sample = accepted("")
    sample = sample.model_copy(update={"row": sample.row.model_copy(update={"fields": fields})})
    batches = [batch(0, samples=[sample], focus="")]
    sources = Sources(squad, [TrainRow(id=i, fields=fields) for i in HAVING], [STRATEGY], [])
    told, on_it = (
        Shown(sources, GenerateSettings(), form(squad), batches, None).variables(batches[0])["avoid"][0]
        for form in (whole, on_context)
    )
    assert len(told) < 320 and told.startswith("plain words") and told.endswith("What is plain here?")
    assert on_it == '{"question":"What is plain here?","answer":"words"}', "its context is not what was written"


@pytest.mark.parametrize("freedom", ["vary", "compose"])
def test_rows_shown_together_are_no_near_copies(freedom):
    between = [r.id for r in TRAIN if "BETWEEN" in r.fields["sql"]]
    strategy = STRATEGY.model_copy(update={"features": ["BETWEEN"], "seed_ids": [*between, *HAVING]})
    settings = GenerateSettings(batch=2, shots=3, freedom=freedom)
    likeness = Likeness(SQL, {r.id: r.fields for r in TRAIN})
    for b in first_batches(Sources(SQL, TRAIN, [strategy], []), Allocation([8], 0), settings, 1, 0):
        assert b.seed_ids[0] in between, "what fits the aim comes first"
        assert len(b.seed_ids) == 3
        assert all(likeness.of(x, y) < 0.75 for x in b.seed_ids for y in b.seed_ids if x != y), b.seed_ids


def test_rows_of_one_template_are_alike_whatever_their_values():
    def fields(number, sql="SELECT stock FROM products WHERE id = {}"):
        return {"question": f"Stock of product {number}", "sql": sql.format(number)}

    other = {"question": "Which cities have customers?", "sql": "SELECT DISTINCT city FROM customers"}
    rows = {"a": fields(17), "b": fields(8), "c": other, "d": {**fields(9), "question": "How many pieces of number 9 are left?"}}
    likeness = Likeness(SQL, rows)
    assert (likeness.of("a", "b"), likeness.of("a", "d")) == (1.0, 1.0)
    assert likeness.of("a", "c") < 0.5
    assert unlike(likeness, ["a", "b", "c"], 2) == ["a", "c"]
    assert unlike(likeness, ["a", "b"], 2) == ["a"], "fewer rather than twice the same"
    half = {"question": "Stock of all products by city", "sql": "SELECT stock FROM products ORDER BY id"}
    likeness = Likeness(SQL, {**rows, "h": half})
    assert unlike(likeness, ["a", "h", "c"], 2) == ["a", "h"]
    assert unlike(likeness, ["a", "h", "c"], 2, diverse=True) == ["a", "c"], "the least alike first"


def test_a_label_is_not_combined_with_another():
    options = {
        "prompt": "text",
        "answer": "kind",
        "scorer": "exact",
        "description": "Mails.",
        "labels": ["spam", "ham", "unsure"],
    }
    task = load_task("custom", options)
    train = [TrainRow(id=f"t{i}", fields=task.read({"text": f"{i}", "kind": kind})) for i, kind in enumerate(options["labels"])]
    spam = STRATEGY.model_copy(update={"features": ["the answer 'spam'"], "seed_ids": ["t0"]})
    open_batch = batch(1, focus="the answer 'spam'", seed_ids=["t0"])
    assert KindsWritten(task, train, [open_batch]).of(open_batch, spam)["share"] == ""
