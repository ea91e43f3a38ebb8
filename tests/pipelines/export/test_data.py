"""`pada export --data`: rows with where they came from, and preference pairs of nothing that was held out."""

import json
import shutil

import exported_run
import pytest
from huggingface_hub import DatasetCard

from pada_agent.components.backends.record_files import read_records, write_records
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.exported_rows import Pairs, alpaca_row
from pada_agent.components.core.records import HeldOutRow, Prediction, TrainRow
from pada_agent.components.core.separation.leakage import Fingerprints
from pada_agent.components.core.tasks.registry import load_task


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_chats_say_where_they_come_from(pada, tiny_run, tmp_path):
    code, _out, said = pada("export", "--run-dir", tiny_run, "--out", tmp_path, "--data", "chat")
    assert code == 0, said
    given, written = lines(tmp_path / "data" / "given.jsonl"), lines(tmp_path / "data" / "synthetic.jsonl")
    assert given[0]["messages"] == [{"role": "user", "content": "Letters of: sun"}, {"role": "assistant", "content": "3333"}]
    assert [row["origin"] for row in (*given, *written)] == ["given"] * 8 + ["synthetic"] * 2
    assert {key: written[0][key] for key in ("id", "iteration", "pattern", "strategy", "parents", "verdict", "scores")} == {
        "id": "s-kin", "iteration": 1, "pattern": "it1-p1", "strategy": "it1-s1", "parents": ["t-sun", "t-sea"],
        "verdict": "accepted", "scores": '{"utility": 8.5}',
    }  # fmt: skip
    card = DatasetCard.load(tmp_path / "data" / "README.md")
    assert [config["data_files"][0]["path"] for config in card.data.configs] == ["given.jsonl", "synthetic.jsonl"]
    assert "It stops \\| counting" in card.content and str(tiny_run) not in card.content
    assert card.data.size_categories == ["n<1K"]


def test_alpaca_and_parquet(pada, tiny_run, tmp_path):
    import pyarrow.parquet as pq

    assert pada("export", "--run-dir", tiny_run, "--out", tmp_path, "--data", "alpaca")[0] == 0
    first = json.loads((tmp_path / "data" / "given.json").read_text())[0]
    assert (first["instruction"], first["input"], first["output"]) == ("Letters of: sun", "", "3333")
    assert pada("export", "--run-dir", tiny_run, "--out", tmp_path, "--data", "parquet")[0] == 0
    assert not (tmp_path / "data" / "given.json").exists()
    tables = [pq.read_table(tmp_path / "data" / f"{name}.parquet") for name in ("given", "synthetic")]
    assert tables[0].schema == tables[1].schema  # parents of given rows are empty, which says nothing of their type
    assert tables[1].to_pylist()[0]["messages"][1] == {"role": "assistant", "content": "4444"}


def test_a_system_message_begins_the_instruction():
    task = load_task("custom", exported_run.OPTIONS | {"system": "Count."}, None)
    assert alpaca_row(task, TrainRow(id="t", fields=exported_run.fields("sun")))["instruction"] == "Count.\n\nLetters of: sun"


def test_pairs_are_of_training_errors_and_their_kin(pada, tiny_run, tmp_path):
    code, out, said = pada("export", "--run-dir", tiny_run, "--out", tmp_path, "--data", "preference")
    assert code == 0, said
    pairs = lines(tmp_path / "data" / "preference.jsonl")
    assert pairs[0]["prompt"] == [{"role": "user", "content": "Letters of: sun"}]
    assert pairs[0]["chosen"] == [{"role": "assistant", "content": "3333"}]
    assert pairs[0]["rejected"] == [{"role": "assistant", "content": "seven"}]
    assert (pairs[0]["origin"], pairs[0]["iteration"], pairs[0]["why"]) == ("given", 1, "it is 3333")
    ids = [pair["id"] for pair in pairs]
    assert ids[0] == "t-sun" and set(ids) <= {"t-sun", "s-kin"}  # s-other was not written from an error
    assert "asking vanilla, whose errors they were written from, 1 synthetic rows" in out
    for pair in pairs[1:]:
        assert pair["chosen"][0]["content"] == "4444" != pair["rejected"][0]["content"]


def test_answers_that_an_llm_must_score_are_in_no_pair(pada, tiny_run, tmp_path):
    run = exported_run.scored_by_llm(tiny_run, tmp_path / "run")
    code, out, said = pada("export", "--run-dir", run, "--out", tmp_path, "--data", "preference")
    assert code == 0, said
    assert [pair["id"] for pair in lines(tmp_path / "data" / "preference.jsonl")] == ["t-sun"]
    assert "left out, since an LLM scores the answers of this task: 1 synthetic row" in out and "asking" not in out


@pytest.mark.parametrize("split", ["validation", "selection", "test"])
def test_a_held_out_answer_in_place_of_a_training_error_is_refused(pada, tiny_run, tmp_path, split):
    """Said to be of the held-out split; said to be of a training row that there is not; said to be one that there is."""
    held_out = read_records(tiny_run / "01-prepare" / "heldout_data" / f"{split}.jsonl", HeldOutRow)[0]
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    errors = run / "06-analyze-1" / "plan" / "training_errors.jsonl"
    honest = Prediction.model_validate(exported_run.error("t-sun", "sun", "seven").model_dump())
    write_records(errors, [honest.model_copy(update={"id": held_out.id, "split": split, "fields": held_out.fields})])
    code, _, said = pada("export", "--run-dir", run, "--out", tmp_path / "out", "--data", "preference")
    assert code == 1 and "training_errors.jsonl:1: split: Input should be 'train'" in said, said
    write_records(errors, [honest.model_copy(update={"id": held_out.id, "fields": held_out.fields})])
    code, _, said = pada("export", "--run-dir", run, "--out", tmp_path / "out", "--data", "preference")
    assert code == 1 and f"training error {held_out.id}: there is no such training row" in said, said
    write_records(errors, [honest.model_copy(update={"fields": held_out.fields})])
    assert pada("export", "--run-dir", run, "--out", tmp_path / "out", "--data", "preference")[0] == 0
    texts = [
        row.fields["inputs"]["word"] for row in read_records(run / "01-prepare" / "heldout_data" / f"{split}.jsonl", HeldOutRow)
    ]
    written = (tmp_path / "out" / "data" / "preference.jsonl").read_text()
    assert not [
        text for text in texts if f"Letters of: {text}" in written
    ]  # the training row's own text is taken, not the error's


def test_no_pair_holds_a_held_out_question(tmp_path):
    task = load_task("custom", exported_run.OPTIONS, None)
    secret = exported_run.fields(exported_run.SECRET, "9")
    prints = Fingerprints.build({"test": [task.private_texts(secret)]})
    rows = [TrainRow(id="t-1", fields=secret), TrainRow(id="t-2", fields=exported_run.fields("sun"))]
    pairs = Pairs(task, rows, prints)
    with pytest.raises(InputError, match=r"row t-1 has .*no pair is made of it"):
        pairs.of_error(exported_run.error("t-1", "sun", "4"), 1)
    synthetic = exported_run.synthetic_row("s-1", exported_run.SECRET, [])
    with pytest.raises(InputError, match=r"row s-1 has .*no pair is made of it"):
        pairs.of_synthetic(synthetic, "4", "")
    assert pairs.of_error(exported_run.error("t-2", "sun", " 3333 "), 1) is None
    assert pairs.of_error(exported_run.error("t-2", "sun", " "), 1) is None
    assert pairs.of_error(exported_run.error("t-2", "sun", "4"), 1)["rejected"][0]["content"] == "4"


def test_a_run_without_errors(pada, tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    write_records(run / "06-analyze-1" / "plan" / "training_errors.jsonl", [])
    code, _, said = pada("export", "--run-dir", run, "--out", tmp_path / "out", "--data", "preference")
    assert code == 1 and "nothing to export as preference: no training error has a wrong answer" in said
    assert not (tmp_path / "out" / "data").exists()
