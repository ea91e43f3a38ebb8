"""The stage through its executor input, on small real-looking rows of several tasks."""

import hashlib
import json
import sqlite3
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
import shape_files
from pyarrow import parquet

from pada_agent.components.backends.executor import Executor
from pada_agent.components.backends.record_files import read_json, read_records
from pada_agent.components.backends.sandbox.run import run_code
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.prompts import package_text
from pada_agent.components.core.records import Fields, HeldOutRow, Score, TrainRow
from pada_agent.components.core.separation.leakage import Fingerprints
from pada_agent.components.core.settings import PrepareData, Settings
from pada_agent.components.core.tasks.gsm8k import Gsm8k
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.task import CodeResult, CodeRunner
from pada_agent.components.prepare_data import __main__ as entry
from pada_agent.components.prepare_data import prepare as rules
from pada_agent.components.prepare_data.__main__ import run
from pada_agent.components.stages import STAGES

SHARED = Path(__file__).parents[3].parent / "shared" / "data" / "benchmarks"
Raw = dict[str, Any]
Rows = dict[str, list[Raw]]
NAMES = ("Ada", "Bo", "Cleo", "Dag", "Eva", "Finn", "Gro", "Hal", "Ida", "Jan", "Kai", "Liv")
THINGS = ("apples", "kites", "stamps", "books", "shells", "coins", "pens", "cards", "beads", "plums", "maps", "eggs")


def word_problem(n: int) -> Raw:
    """A GSM8K row; two of them share a template but no name and no thing nearby."""
    name, thing = NAMES[n % 12], THINGS[(n // 12 + n) % 12]
    return {
        "question": f"On day {n} {name} buys {n + 2} {thing} and gives 2 of them away. How many {thing} are left?",
        "answer": f"{n + 2} - 2 = <<{n + 2}-2={n}>>{n}\n#### {n}",
    }


def gsm8k() -> Rows:
    return {
        "train": [word_problem(n) for n in range(30)],
        "validation": [word_problem(n) for n in range(100, 120)],
        "test": [word_problem(n) for n in range(200, 210)],
    }


def passage(n: int, title: str) -> Raw:
    thing = THINGS[n % 12]
    return {
        "id": f"q{n}",
        "title": title,
        "context": f"The town of {title} has traded in {thing} since the year {1200 + n}. Its market is held on day {n} of May.",
        "question": f"Since when has the town traded in {thing}, as of note {n}?",
        "answers": {"text": [str(1200 + n)], "answer_start": [0]},
    }


def squad() -> Rows:
    return {
        "train": [passage(n, "Arendal") for n in range(8)],
        "validation": [passage(n, f"Town{n // 4}") for n in range(100, 116)],
        "test": [passage(n + 100, f"Town{n // 4}") for n in range(112, 124, 2)],
    }


def choice(n: int, options: tuple[str, ...] = ("a cat", "a dog", "an owl", "an eel"), key: str = "B") -> Raw:
    choices = {"text": [f"{o} of kind {n}" for o in options], "label": list("ABCDE")[: len(options)]}
    return {"id": f"m{n}", "question": f"Which animal is seen on picture {n}?", "choices": choices, "answerKey": key}


def arc_challenge() -> Rows:
    return {
        "train": [choice(n) for n in range(6)],
        "validation": [choice(n) for n in range(10, 16)],
        "test": [choice(n) for n in range(20, 24)],
    }


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows to files and runs the stage on them; the folder of its outputs."""

    def start(task: str, rows: Rows, out: str = "out", seed: int = 0, **settings: Any) -> Path:
        for split, some in rows.items():
            path = tmp_path / f"{split}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in some))
            settings.setdefault(split, str(path))
        return run_stage({"name": task, **settings}, tmp_path / out, seed)

    return start


def run_stage(task: Raw, out: Path, seed: int = 0, **sections: Any) -> Path:
    def slot(name: str) -> Raw:
        return {"artifacts": [{"name": name, "uri": str(out / name), "metadata": {}}]}

    settings = {"task": {**task, "split_seed": seed}, "control": {}, **sections}
    executor_input = {
        "inputs": {"parameterValues": {"settings": json.dumps(settings)}},
        "outputs": {
            "artifacts": {name: slot(name) for name in ("train_data", "heldout_data")},
            "parameters": {"train_rows": {"outputFile": str(out / "train_rows")}},
            "outputFile": str(out / "output.json"),
        },
    }
    run(Executor(json.dumps(executor_input)))
    return out


def train_of(out: Path) -> list[TrainRow]:
    return read_records(out / "train_data" / "train.jsonl", TrainRow)


def held_out_of(out: Path, split: str) -> list[HeldOutRow]:
    return read_records(out / "heldout_data" / f"{split}.jsonl", HeldOutRow)


def ids(rows: list[Any]) -> list[str]:
    return [row.id for row in rows]


class TestOutputs:
    def test_splits_parameter_and_metadata(self, prepare: Callable[..., Path]) -> None:
        out = prepare("gsm8k", gsm8k())
        assert len(train_of(out)) == 30
        assert {s: len(held_out_of(out, s)) for s in ("validation", "selection", "test")} == {
            "validation": 10,
            "selection": 10,
            "test": 10,
        }
        assert (out / "train_rows").read_text() == "30"
        artifacts = read_json(out / "output.json")["artifacts"]
        assert artifacts["train_data"]["artifacts"][0]["metadata"] == {"rows": 30, "removed": 0}
        assert sorted(p.name for p in out.iterdir()) == [
            "heldout_data",
            "output.json",
            "train_data",
            "train_rows",
        ]

    def test_the_manifest_tells_the_truth(self, prepare: Callable[..., Path], tmp_path: Path) -> None:
        out = prepare("gsm8k", gsm8k(), train_size=12, seed=5)
        for folder, splits in (("train_data", ["train"]), ("heldout_data", ["validation", "selection", "test"])):
            manifest = read_json(out / folder / "manifest.json")
            assert manifest["task"] == "gsm8k"
            assert manifest["split_seed"] == 5
            for split in splits:
                content = (out / folder / f"{split}.jsonl").read_bytes()
                assert manifest["files"][f"{split}.jsonl"] == hashlib.sha256(content).hexdigest()
                names = sorted(json.loads(line)["id"] for line in content.splitlines())
                assert manifest["splits"][split]["ids_sha256"] == hashlib.sha256("\n".join(names).encode()).hexdigest()
                assert manifest["splits"][split]["rows"] == len(names)
            assert set(manifest["data"]) == {"train", "validation", "selection", "test"}
            assert {name: kept["source"] for name, kept in manifest["data"].items() if name != "selection"} == {
                name: str(tmp_path / f"{name}.jsonl") for name in ("train", "validation", "test")
            }
            assert manifest["data"]["selection"]["source"] == str(tmp_path / "validation.jsonl")  # set aside from there
            for split in splits:
                assert manifest["data"][split]["sha256"] == manifest["files"][f"{split}.jsonl"]
        train = read_json(out / "train_data" / "manifest.json")["splits"]["train"]
        assert (train["source"], train["read"], train["asked"]) == (str(tmp_path / "train.jsonl"), 30, 12)

    def test_twice_is_byte_for_byte_the_same(self, prepare: Callable[..., Path]) -> None:
        first, second = prepare("squad", squad(), "one", seed=3), prepare("squad", squad(), "two", seed=3)
        names = [p.relative_to(first) for p in first.rglob("*") if p.is_file() and p.name != "output.json"]
        assert len(names) == 8
        assert [n for n in names if (first / n).read_bytes() != (second / n).read_bytes()] == []

    def test_it_can_be_run_again_over_its_own_output(self, prepare: Callable[..., Path]) -> None:
        prepare("gsm8k", gsm8k())
        out = prepare("gsm8k", gsm8k(), train_size=3)
        assert len(train_of(out)) == 3
        assert [p.name for p in out.iterdir() if p.name.startswith(".")] == []

    def test_a_failure_leaves_nothing_behind(self, prepare: Callable[..., Path], tmp_path: Path) -> None:
        with pytest.raises(InputError):
            prepare("gsm8k", {**gsm8k(), "test": []})
        assert not list((tmp_path / "out").rglob("*"))

    def test_fingerprints_know_every_held_out_row_and_no_training_row(self, prepare: Callable[..., Path]) -> None:
        out = prepare("squad", squad())
        prints = Fingerprints.load(out / "train_data" / "fingerprints.json")
        for split in ("validation", "selection", "test"):
            assert all(prints.hits([r.fields["question"], r.fields["context"]]) for r in held_out_of(out, split))
        assert not any(prints.hits([r.fields["question"], r.fields["context"]]) for r in train_of(out))
        assert "traded" not in (out / "train_data" / "fingerprints.json").read_text()

    def test_the_settings_of_a_whole_run_travel_with_the_rows_and_sections_do_not(
        self, prepare: Callable[..., Path], tmp_path: Path
    ) -> None:
        assert not (prepare("gsm8k", gsm8k()) / "train_data" / "settings.json").exists()
        task = {"name": "gsm8k", **{split: str(tmp_path / f"{split}.jsonl") for split in ("train", "validation", "test")}}
        models = {name: {"model": name} for name in ("slm", "teacher", "judge")}
        out = run_stage(task, tmp_path / "whole", **models)
        kept = Settings.model_validate(read_json(out / "train_data" / "settings.json"))
        assert kept == Settings(task={**task, "split_seed": 0}, **models)

    def test_an_order_that_the_task_has_not_is_refused_before_anything_is_paid(self, tmp_path: Path) -> None:
        sections = {name: {"model": name} for name in ("slm", "teacher", "judge")} | {"generate": {"order": "answer_first"}}
        with pytest.raises(InputError, match=r"^generate\.order: answer_first needs .* squad has none; leave it out$"):
            run_stage({"name": "squad", "train": "t", "validation": "v", "test": "t"}, tmp_path / "out", **sections)

    def test_a_judge_that_is_the_teacher_is_refused_before_anything_is_paid(self, tmp_path: Path) -> None:
        sections = {name: {"model": "big"} for name in ("slm", "teacher", "judge")}
        with pytest.raises(InputError, match=r"^judge\.model: 'big' is the teacher too"):
            run_stage({"name": "squad", "train": "t", "validation": "v", "test": "t"}, tmp_path / "out", **sections)

    def test_a_method_that_the_task_cannot_do_is_refused_before_anything_is_paid(self, tmp_path: Path) -> None:
        sections = {name: {"model": name} for name in ("slm", "teacher", "judge")} | {"generate": {"method": "auggpt"}}
        options = {"prompt": "{a} {b}", "answer": "c", "scorer": "exact", "description": "d"}
        task = {"name": "custom", "options": options, "train": "t", "validation": "v", "test": "t"}
        with pytest.raises(InputError, match=r"^task\.options\.rephrase: .* say which: a, b$"):
            run_stage(task, tmp_path / "out", **sections)

    def test_files_that_options_name_travel_along(self, tmp_path: Path) -> None:
        script = "CREATE TABLE customers (name TEXT, city TEXT);\nINSERT INTO customers VALUES ('Ada', 'Oslo'), ('Bo', 'Rome');\n"
        sqlite3.connect(":memory:").executescript(script)
        (tmp_path / "shop.sql").write_text(script)
        row = {"question": "How many customers live in {}?", "sql": "SELECT COUNT(*) FROM customers WHERE city = '{}'"}
        task = {"name": "text_to_sql", "options": {"database": str(tmp_path / "shop.sql")}}
        for n, split in enumerate(("train", "validation", "test")):
            cities = [("Oslo", "Rome"), ("Bergen", "Turin"), ("Paris", "Lyon")][n]
            lines = [json.dumps({k: v.format(city) for k, v in row.items()}) for city in cities]
            (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
            task[split] = str(tmp_path / f"{split}.jsonl")
        out = run_stage(task, tmp_path / "out")
        assets = read_json(out / "train_data" / "manifest.json")["assets"]
        (name,) = assets
        assert (out / "train_data" / "assets" / name).read_text() == script
        assert assets[name] == hashlib.sha256(script.encode()).hexdigest()
        assert len(train_of(out)) == 2  # a value that differs is another row

    def test_prompts_travel_along_and_wrong_ones_are_told_at_once(self, prepare: Callable[..., Path], tmp_path: Path) -> None:
        own = "=== user\n{{ question }} {{ prompt }}{{ labels }}"
        (tmp_path / "prompts").mkdir()
        (tmp_path / "prompts" / "solve.txt").write_text(own.replace("{{ question }} ", "Solve: "))
        (tmp_path / "prompts" / "judge.txt").write_text(package_text("judge.txt"))  # as it was: not the user's
        prepare("gsm8k", gsm8k(), "before")
        task = {"name": "gsm8k", **{split: str(tmp_path / f"{split}.jsonl") for split in ("train", "validation", "test")}}
        out = run_stage(task, tmp_path / "out", prompts=str(tmp_path / "prompts"))
        kept = out / "train_data" / "assets" / "prompts" / "solve.txt"
        assets = read_json(out / "train_data" / "manifest.json")["assets"]
        assert assets == {"prompts/solve.txt": hashlib.sha256(kept.read_bytes()).hexdigest()}
        loaded = load_task("gsm8k", {}, out / "train_data" / "assets")
        (message,) = loaded.prompts.render("control_quality", "solve", prompt="?", labels=["A"])
        assert message["content"] == "Solve: ?['A']"
        assert load_task("gsm8k", {}).prompts.own == {}, "they are the run's, not the task's"
        (tmp_path / "prompts" / "solve.txt").write_text(own)
        with pytest.raises(
            InputError, match=r"^prompts: .*/prompts/solve.txt, line 2: there is no variable 'question'; there are"
        ):
            run_stage(task, tmp_path / "wrong", prompts=str(tmp_path / "prompts"))
        (tmp_path / "prompts" / "solv.txt").write_text(own)
        with pytest.raises(
            InputError, match=r"^prompts: .*/prompts has 'solv.txt', which no stage has \(did you mean 'solve.txt'"
        ):
            run_stage(task, tmp_path / "wrong", prompts=str(tmp_path / "prompts"))
        assert not (tmp_path / "wrong" / "train_data").exists()

    def test_parquet_gives_the_same_rows(self, prepare: Callable[..., Path], tmp_path: Path) -> None:
        lines = prepare("squad", squad(), "one")
        parquet.write_table(pyarrow.Table.from_pylist(squad()["train"]), tmp_path / "t.parquet")
        table = prepare("squad", squad(), "two", train=str(tmp_path / "t.parquet"))
        assert train_of(table) == train_of(lines)


class TestOrderAndSizes:
    def test_a_smaller_regime_is_the_start_of_a_larger_one(self, prepare: Callable[..., Path]) -> None:
        all_ids = ids(train_of(prepare("gsm8k", gsm8k())))
        for size in (5, 10, 30):
            assert ids(train_of(prepare("gsm8k", gsm8k(), train_size=size))) == all_ids[:size]

    def test_the_order_of_the_file_does_not_matter_but_the_seed_does(self, prepare: Callable[..., Path]) -> None:
        rows = gsm8k()
        backwards = {split: some[::-1] for split, some in rows.items()}
        one, two = prepare("gsm8k", rows, "one"), prepare("gsm8k", backwards, "two")
        assert train_of(one) == train_of(two)
        assert held_out_of(one, "selection") == held_out_of(two, "selection")
        other = prepare("gsm8k", rows, "three", seed=1)
        assert ids(train_of(other)) != ids(train_of(one))
        assert sorted(ids(train_of(other))) == sorted(ids(train_of(one)))
        assert ids(train_of(one)) != sorted(ids(train_of(one)))

    def test_sizes_of_the_held_out_splits(self, prepare: Callable[..., Path]) -> None:
        out = prepare("gsm8k", gsm8k(), validation_size=4, selection_size=6, test_size=3)
        assert [len(held_out_of(out, s)) for s in ("validation", "selection", "test")] == [4, 6, 3]

    def test_too_few_rows_are_said(self, prepare: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
        out = prepare("gsm8k", gsm8k(), train_size=50)
        assert "train: 30 rows, 50 were asked for" in capsys.readouterr().err
        assert read_json(out / "train_data" / "manifest.json")["splits"]["train"]["asked"] == 50


class TestIds:
    def test_published_ids_are_kept(self, prepare: Callable[..., Path]) -> None:
        out = prepare("squad", squad())
        assert sorted(ids(train_of(out))) == [f"q{n}" for n in range(8)]
        assert train_of(out)[0].group == "Arendal"

    @pytest.mark.parametrize("spoil", [{"id": "same"}, {"id": None}, {"id": ["x"]}, {"id": ""}])
    def test_otherwise_they_follow_from_the_content(self, prepare: Callable[..., Path], spoil: Raw) -> None:
        rows = arc_challenge()
        rows["train"][0] |= spoil
        rows["train"][1] |= spoil
        found = ids(train_of(prepare("arc_challenge", rows)))
        assert len(set(found)) == 6
        assert all(i.startswith("train-") for i in found)
        rows["train"].reverse()
        assert ids(train_of(prepare("arc_challenge", rows))) == found

    def test_equal_rows_and_ids_of_two_splits_stay_apart(self, prepare: Callable[..., Path]) -> None:
        rows = gsm8k()
        rows["train"] += [rows["train"][0]] * 2
        found = ids(train_of(prepare("gsm8k", rows)))
        assert len(found) == len(set(found)) == 32
        rows = arc_challenge()
        for split in rows:
            for n, row in enumerate(rows[split]):
                row["id"] = n
        out = prepare("arc_challenge", rows)
        assert "train-0" in ids(train_of(out))
        assert {i.split("-")[0] for i in ids(held_out_of(out, "selection"))} == {"validation"}

    def test_a_row_without_a_group_is_its_own(self, prepare: Callable[..., Path]) -> None:
        out = prepare("gsm8k", gsm8k())
        assert all(row.group == row.id for row in (*train_of(out), *held_out_of(out, "test")))


class TestSelection:
    def test_is_set_aside_by_whole_groups(self, prepare: Callable[..., Path]) -> None:
        out = prepare("squad", squad())
        validation, selection = held_out_of(out, "validation"), held_out_of(out, "selection")
        assert len(validation) == len(selection) == 8
        assert not {r.group for r in validation} & {r.group for r in selection}
        assert all(r.split == "selection" for r in selection)

    def test_another_seed_sets_other_rows_aside(self, prepare: Callable[..., Path]) -> None:
        halves = {frozenset(ids(held_out_of(prepare("gsm8k", gsm8k(), seed=s), "selection"))) for s in range(3)}
        assert len(halves) == 3

    def test_a_given_one_is_used_and_validation_stays_whole(self, prepare: Callable[..., Path]) -> None:
        out = prepare("gsm8k", {**gsm8k(), "selection": [word_problem(n) for n in range(300, 307)]})
        assert [len(held_out_of(out, s)) for s in ("validation", "selection")] == [20, 7]

    def test_one_group_cannot_be_halved(self, prepare: Callable[..., Path]) -> None:
        rows = squad()
        for row in rows["validation"]:
            row["title"] = "One"
        with pytest.raises(InputError, match=r"task\.validation: its 16 rows are one group.*give task\.selection"):
            prepare("squad", rows)

    def test_groups_in_two_splits_are_reported(self, prepare: Callable[..., Path]) -> None:
        shared = read_json(prepare("squad", squad()) / "heldout_data" / "manifest.json")["shared_groups"]
        assert shared.get("validation+test", 0) + shared.get("selection+test", 0) == 1  # Town28


class TestDuplicates:
    def plant(self, change: Callable[[str], str] = lambda question: question) -> Rows:
        rows = gsm8k()
        twin = dict(rows["test"][4])
        twin["question"] = change(twin["question"])
        rows["train"].insert(7, twin)
        return rows

    @pytest.mark.parametrize(
        "change",
        [
            str,
            str.upper,
            lambda q: q.replace(" ", "  "),
            lambda q: q.replace("gives", "give") + " please",
        ],
    )
    def test_in_training_are_removed_and_named(self, prepare: Callable[..., Path], change: Callable[[str], str]) -> None:
        out = prepare("gsm8k", self.plant(change))
        assert sorted(ids(train_of(out))) == sorted(ids(train_of(prepare("gsm8k", gsm8k(), "clean"))))
        manifest = read_json(out / "train_data" / "manifest.json")
        (removal,) = manifest["removed"]
        assert removal["split"] == "train"
        assert removal["like_split"] == "test"
        assert removal["like"] in ids(held_out_of(out, "test"))
        assert manifest["splits"]["train"]["removed"] == 1

    @pytest.mark.parametrize("change", [lambda q: q.replace("gives 2", "gives 3"), lambda q: q.replace(" left", " lost")])
    def test_another_number_or_word_is_another_row(self, prepare: Callable[..., Path], change: Callable[[str], str]) -> None:
        assert len(train_of(prepare("gsm8k", self.plant(change)))) == 31

    def test_can_be_refused(self, prepare: Callable[..., Path]) -> None:
        with pytest.raises(InputError) as e:
            prepare("gsm8k", self.plant(), duplicates="refuse")
        assert "train.jsonl:8: training row train-" in str(e.value)
        assert " is test row test-" in str(e.value)
        assert "set task.duplicates to remove" in str(e.value)

    def test_reordered_options_are_a_duplicate_and_other_options_are_not(self, prepare: Callable[..., Path]) -> None:
        rows = arc_challenge()
        rows["train"].append(choice(20, ("an eel", "an owl", "a cat", "a dog"), "D") | {"id": "reordered"})
        rows["train"].append(choice(21, ("a fox", "an ant", "a bee", "a yak")) | {"id": "other"})
        found = ids(train_of(prepare("arc_challenge", rows)))
        assert "reordered" not in found
        assert "other" in found

    def test_another_question_on_the_same_passage_is_another_row(self, prepare: Callable[..., Path]) -> None:
        rows = squad()
        asked = {"id": "new", "question": "On which day is the market held?"}
        rows["train"] += [rows["test"][0] | asked, rows["test"][1] | {"id": "copy"}]
        found = ids(train_of(prepare("squad", rows)))
        assert "new" in found
        assert "copy" not in found

    def test_between_held_out_splits_go_from_the_one_used_earlier(self, prepare: Callable[..., Path]) -> None:
        rows = gsm8k() | {"selection": [word_problem(n) for n in range(300, 305)]}
        rows["validation"] += [rows["test"][0], rows["selection"][0]]
        rows["selection"] += [rows["test"][1]]
        out = prepare("gsm8k", rows, duplicates="refuse")
        assert [len(held_out_of(out, s)) for s in ("validation", "selection", "test")] == [20, 5, 10]
        removed = read_json(out / "heldout_data" / "manifest.json")["removed"]
        assert sorted((r["split"], r["like_split"]) for r in removed) == [
            ("selection", "test"),
            ("validation", "selection"),
            ("validation", "test"),
        ]

    def test_nothing_left_is_an_empty_split(self, prepare: Callable[..., Path]) -> None:
        rows = gsm8k()
        with pytest.raises(InputError, match=r"task\.train: the split is empty, all its 10 rows are also in test"):
            prepare("gsm8k", {**rows, "train": rows["test"]})


class TestBadInput:
    @pytest.mark.parametrize("split", ["train", "validation", "test"])
    def test_an_empty_split(self, prepare: Callable[..., Path], split: str) -> None:
        with pytest.raises(InputError, match=rf"task\.{split}: the split is empty"):
            prepare("gsm8k", {**gsm8k(), split: []})

    def test_all_rows_that_cannot_be_used_are_told_at_once(self, prepare: Callable[..., Path], tmp_path: Path) -> None:
        rows = gsm8k()
        for row in rows["train"][:25]:
            row["answer"] = None
        del rows["test"][3]["question"]
        with pytest.raises(InputError) as e:
            prepare("gsm8k", rows)
        first, *told, more = str(e.value).split("\n  ")
        assert first == "26 rows cannot be used:" and more == "and 6 more"
        assert told == [f"{tmp_path / 'train.jsonl'}:{n}: answer: Input should be a valid string" for n in range(1, 21)]
        (tmp_path / "train.jsonl").write_text("{\n" + "[]\n" * 2)
        with pytest.raises(
            InputError, match=r"^3 rows cannot be used:\n  .*train\.jsonl:1: not JSON .*\n  .*:2: a row must be"
        ) as e:
            run_stage(
                {
                    "name": "gsm8k",
                    **{s: str(tmp_path / f"{s}.jsonl") for s in rows if s != "test"},
                    "test": str(tmp_path / "validation.jsonl"),
                },
                tmp_path / "o",
            )
        assert "more" not in str(e.value)

    def test_it_is_said_what_rows_are_taken_for(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        parts = {
            "train": shape_files.chat()[:30],
            "validation": shape_files.sharegpt()[30:45],
            "test": shape_files.columns()[45:],
        }
        places = {split: str(tmp_path / f"{split}.jsonl") for split in parts}
        for split, rows in parts.items():
            Path(places[split]).write_text(shape_files.as_json_lines(rows))
        options = {"scorer": "exact", "description": "Name the topic."}
        run_stage({"name": "custom", "options": options, **places}, tmp_path / "out")
        said = "  rows are read as OpenAI chat: the last turn of the assistant in 'messages' is the answer\n"
        assert capsys.readouterr().err.count(said) == 1

    def test_a_row_is_in_memory_once(self) -> None:
        """Beside its texts 0.9 kB; it was 1.7 kB when rows to be written lay beside those on their way."""
        options = {"scorer": "exact", "description": "d"}
        task = load_task("custom", options, None)
        places = dict.fromkeys(("train", "validation", "test"), "-")
        settings = PrepareData.model_validate({"task": {"name": "custom", **places, "options": options}, "control": {}})
        peaks = []
        for count in (300, 1300):
            sizes = {"train": count, "validation": 20, "test": 20}
            rows = {
                s: [(f"{s}:{n}", {"question": f"{s} {n} " + "word " * 20, "answer": "a"}) for n in range(k)]
                for s, k in sizes.items()
            }
            tracemalloc.start()
            prepared = rules.prepare(task, rows, settings)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            assert [type(row) for row in prepared.train_rows()] == [TrainRow] * count
        assert (peaks[1] - peaks[0]) / 1000 < 1300

    def test_ids_that_repeat_are_no_ids(self, tmp_path: Path) -> None:
        shape_files.write("gaps.jsonl", tmp_path)
        rows = shape_files.gaps()
        for split, part in (("train", rows[:30]), ("validation", rows[30:45]), ("test", rows[45:])):
            (tmp_path / f"{split}.jsonl").write_text(shape_files.as_json_lines([*part, part[0]]))
        places = {split: str(tmp_path / f"{split}.jsonl") for split in ("train", "validation", "test")}
        out = run_stage({"name": "custom", "options": {"scorer": "exact", "description": "d"}, **places}, tmp_path / "out")
        names = ids(train_of(out))
        assert len(set(names)) == len(names) == 31 and all(name.startswith("train-") for name in names)

    def test_turns_before_the_last_are_part_of_what_is_compared(self, tmp_path: Path) -> None:
        """The same words after one conversation are not those after another."""
        turns = ["user", "assistant", "user", "assistant"]

        def rows(numbers: range) -> str:
            texts = [
                [shape_files.complaint(n), "Hm.", "Please tell me now what it is about.", shape_files.topic(n)] for n in numbers
            ]
            return shape_files.as_json_lines(
                [{"messages": [{"role": r, "content": t} for r, t in zip(turns, said, strict=True)]} for said in texts]
            )

        for split, numbers in (("train", range(20)), ("validation", range(20, 32)), ("test", range(32, 40))):
            (tmp_path / f"{split}.jsonl").write_text(rows(numbers))
        places = {split: str(tmp_path / f"{split}.jsonl") for split in ("train", "validation", "test")}
        out = run_stage({"name": "custom", "options": {"scorer": "exact", "description": "d"}, **places}, tmp_path / "out")
        assert len(train_of(out)) == 20

    def test_a_broken_line(self, prepare: Callable[..., Path], tmp_path: Path) -> None:
        (tmp_path / "broken.jsonl").write_text(json.dumps(word_problem(1)) + '\n{"question": "How')
        with pytest.raises(InputError, match=r"broken\.jsonl:2: not JSON"):
            prepare("gsm8k", gsm8k(), validation=str(tmp_path / "broken.jsonl"))

    def test_a_wrong_field(self, prepare: Callable[..., Path]) -> None:
        rows = gsm8k()
        rows["test"][2] = {"question": "How many?", "answr": "#### 4"}
        with pytest.raises(InputError, match=r"test\.jsonl:3: answer: Field required"):
            prepare("gsm8k", rows)

    def test_an_answer_key_that_is_not_an_option(self, prepare: Callable[..., Path]) -> None:
        rows = arc_challenge()
        rows["train"][1]["answerKey"] = "F"
        with pytest.raises(InputError, match=r"train\.jsonl:2: .*'F' is none of"):
            prepare("arc_challenge", rows)

    def test_a_missing_file(self, prepare: Callable[..., Path]) -> None:
        with pytest.raises(InputError, match=r"none\.jsonl: there is no such file"):
            prepare("gsm8k", gsm8k(), test="none.jsonl")

    def test_an_unknown_setting(self, prepare: Callable[..., Path]) -> None:
        with pytest.raises(InputError, match=r"settings: unknown key 'task\.tain_size'"):
            prepare("gsm8k", gsm8k(), tain_size=3)


class TestScorer:
    """What evaluate_slm would find out after the first training."""

    def test_a_row_whose_own_answer_is_wrong_is_named(
        self, prepare: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows, score = gsm8k(), Gsm8k.score
        bad = rows["validation"][7]["question"]

        def broken(self: Gsm8k, fields: Fields, output: str, run_code: CodeRunner) -> Score:
            return Score(correct=False, valid=True) if fields["question"] == bad else score(self, fields, output, run_code)

        monkeypatch.setattr(Gsm8k, "score", broken)
        with pytest.raises(InputError, match=r"task gsm8k scores the row's own answer as wrong in 1 rows: \S+; correct"):
            prepare("gsm8k", rows)

    def test_an_empty_answer_must_be_wrong(self, prepare: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Gsm8k, "score", lambda *_: Score(correct=True, valid=True))
        with pytest.raises(InputError, match=r"an empty answer as correct in 30 rows: .* and 25 more"):
            prepare("gsm8k", gsm8k())

    def test_a_few_rows_are_run_in_the_sandbox(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        ran: list[str] = []

        def count(program: str, seconds: float) -> CodeResult:
            ran.append(program)
            return run_code(program, seconds)

        monkeypatch.setattr(entry, "run_code", count)
        (tmp_path / "own.py").write_text("def same(output: str, answer: str) -> bool:\n    return output.strip() == answer\n")
        for split, first in (("train", 0), ("validation", 30), ("test", 60)):
            rows = [{"q": f"How is word number {n} spelt in our book?", "a": f"word{n}"} for n in range(first, first + 20)]
            (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        options = {"prompt": "q", "answer": "a", "scorer": "python", "python": f"{tmp_path / 'own.py'}:same", "description": "d"}
        files = {split: str(tmp_path / f"{split}.jsonl") for split in ("train", "validation", "test")}
        run_stage({"name": "custom", **files, "options": options}, tmp_path / "out")
        assert 12 <= len(ran) <= 24, "three rows of four splits, gold and empty"


@pytest.mark.data
@pytest.mark.timeout(20)
def test_a_thousand_passages_are_compared_in_seconds(tmp_path: Path) -> None:
    if not SHARED.is_dir():
        pytest.skip(f"no benchmark data at {SHARED}")
    sources = {"train": "train", "validation": "val", "test": "test"}
    task = {"name": "squad"} | {split: str(SHARED / "squad" / f"{name}.jsonl") for split, name in sources.items()}
    out = run_stage(task, tmp_path)
    assert len(train_of(out)) == 1000
    assert read_json(out / "heldout_data" / "manifest.json")["removed"] == []


@pytest.mark.parametrize(("seen", "refused"), [("sha256 0", True), ("", False)])
def test_data_that_changed_since_the_run_was_submitted(tmp_path: Path, seen: str, refused: bool) -> None:
    paths = {split: str(tmp_path / f"{split}.jsonl") for split in ("train", "validation", "test")}
    for split, rows in gsm8k().items():
        Path(paths[split]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    models = {"slm": {"model": "/m"}, "embedding": {"model": "/m"}, "teacher": {"model": "big"}, "judge": {"model": "other"}}
    given = {"settings": {"task": {"name": "gsm8k", **paths}, **models}, "data_version": json.dumps({"task.train": seen})}
    slots = {name: {"artifacts": [{"name": name, "uri": str(tmp_path / name)}]} for name in STAGES["prepare_data"].outputs}
    outputs = {"artifacts": slots, "outputFile": str(tmp_path / "output.json")}
    ex = Executor(json.dumps({"inputs": {"parameterValues": given}, "outputs": outputs}))
    if refused:
        with pytest.raises(InputError, match=r"^task\.train: changed since the run was submitted"):
            run(ex)
        assert not (tmp_path / "train_data").exists()
    else:
        run(ex)
        assert (tmp_path / "train_data" / "train.jsonl").is_file()
