"""Generation through its executor input: what the teacher is sent, what of its reply becomes a row, what the next link does."""

import json
from pathlib import Path

import pytest
import yaml

from pada_agent.components.backends.record_files import read_json, read_records, write_json, write_records
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Batch, Prediction, Sample, Score, Strategy, TrainingError, TrainRow
from pada_agent.components.generate_data.__main__ import run

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
    assert sent.schema["properties"]["items"]["minItems"] == 3
    usage = read_json(outputs["batches"] / "usage.json")["generate_data"]
    assert (usage["calls"], usage["paid_calls"]) == (2, 2)


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
    assert "one thing only" in sent.text and "one thing only" not in llm_stub.asks[0].text, "less is asked after a refusal"
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
