"""Patterns of another run: from where they are read, what crosses, what is screened and grounded here; no LLM is asked."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from finished_runs import state as finished

from pada_agent.components.analyze_patterns import __main__ as stage_module
from pada_agent.components.backends.artifacts.plan import read_plan
from pada_agent.components.backends.record_files import read_json, read_records, write_json, write_records
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import FeatureCount, HeldOutRow, Pattern, Prediction, Score, Strategy, TrainRow
from pada_agent.components.core.separation.duplicates import tokens
from pada_agent.components.core.state import IterationRecord, RunFacts, State

run = stage_module.run
THEIRS = "their-row-17"
FEW_GROUPS = "Write questions that keep only groups above a number."
CITIES = "Write questions on the city that customers live in."


def words(texts) -> np.ndarray:
    """Unit vectors of hashed words: near is what shares words."""
    vectors = np.zeros((len(texts), 4096), dtype=np.float32)
    for vector, text in zip(vectors, texts, strict=True):
        for word in tokens(text):
            vector[zlib.crc32(word.encode()) % 4096] += 1
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1)


@pytest.fixture(autouse=True)
def embedded_by_words(monkeypatch):
    monkeypatch.setattr(stage_module, "embedder", lambda model: words)


def found(number: int, *kinds: tuple[str, str, str, list[str]]) -> IterationRecord:
    """An iteration of the other run: name, description, strategy and features of each pattern."""
    patterns = [
        Pattern(
            id=f"it{number}-p{i}", name=name, description=said, size=5, row_ids=[THEIRS],
            features=[FeatureCount(feature="THEIRS", failed=5, passed=0)],
        )
        for i, (name, said, _, _) in enumerate(kinds, 1)
    ]  # fmt: skip
    strategies = [
        Strategy(
            id=f"it{number}-s{i}", pattern_id=p.id, pattern_name=p.name, text=text, features=features, seed_ids=["their-train-3"]
        )
        for i, (p, (_, _, text, features)) in enumerate(zip(patterns, kinds, strict=True), 1)
    ]  # fmt: skip
    return IterationRecord(number=number, patterns=patterns, strategies=strategies)


GROUPS = ("Group filters", "Questions that keep only some groups fail.", FEW_GROUPS, ["HAVING"])
PLACES = ("Cities", "The city that customers live in is mistaken.", CITIES, [])


def other(*iterations: IterationRecord, task: str = "text_to_sql") -> State:
    run = finished("").run.model_dump() | {"task": task, "slm": "org/their-slm"}
    return finished("", run=RunFacts(**run), iterations=list(iterations))


@pytest.fixture
def take(stage, sql_settings, data, tmp_path, llm_stub):
    """take(state, **parameters) -> the stage's outputs, with the state at an export place unless an address is given."""
    validation = read_records(data["heldout_data"] / "validation.jsonl", HeldOutRow)
    write_records(
        tmp_path / "predictions" / "validation.jsonl",
        [
            Prediction(
                id=r.id, split="validation", prompt="p", output="SELECT 1", reference=r.fields["sql"], fields=r.fields,
                score=Score(correct=i % 2 == 0, valid=True),
            )
            for i, r in enumerate(validation)
        ],
    )  # fmt: skip

    def start(offered: State | None, address: str = "", **parameters):
        place = tmp_path / "export"
        if offered:
            write_json(place / "state.json", offered)
        settings = sql_settings.model_copy(
            update={"analyze": sql_settings.analyze.model_copy(update={"patterns_from": address or str(place), "seeds": 3})}
        )
        inputs = {"train_data": data["train_data"], "predictions": tmp_path / "predictions"}
        inputs |= {"state": parameters.pop("state")} if "state" in parameters else {}
        outputs, _ = stage(run, settings, inputs, **parameters)
        assert llm_stub.paid == 0
        return outputs

    return start


def test_names_descriptions_and_strategies_cross_and_seeds_are_this_runs(take, data):
    outputs = take(other(found(1, GROUPS, PLACES)))
    strategies, _, _ = read_plan(outputs["plan"])
    patterns = read_records(outputs["analyses"] / "patterns.jsonl", Pattern)
    assert [(p.name, p.description) for p in patterns] == [GROUPS[:2], PLACES[:2]]
    assert [(s.id, s.pattern_id, s.pattern_name, s.text, s.features) for s in strategies] == [
        ("it1-s1", "it1-p1", "Group filters", FEW_GROUPS, ["HAVING"]),
        ("it1-s2", "it1-p2", "Cities", CITIES, []),
    ]
    train = {r.id: r.fields for r in read_records(data["train_data"] / "train.jsonl", TrainRow)}
    groups, cities = ([train[i] for i in s.seed_ids] for s in strategies)
    assert len(groups) == 3 and all("HAVING" in row["sql"] for row in groups)
    assert len(cities) == 3 and {"customers", "live"} <= set(tokens(cities[0]["question"])), "the nearest comes first"
    summary = read_json(outputs["analyses"] / "summary.json")
    place = str(outputs["plan"].parent.parent / "export")
    assert summary["taken_from"] == {"run": place, "task": "text_to_sql", "slm": "org/their-slm", "iteration": 1}
    assert (summary["failures"], summary["analysed"], summary["dropped"]) == (40, 0, 0)


def test_nothing_of_the_other_runs_rows_crosses(take):
    outputs = take(other(found(1, GROUPS, PLACES)))
    left = "".join(path.read_text() for name in ("analyses", "plan") for path in outputs[name].iterdir())
    assert "Group filters" in left
    assert THEIRS not in left and "their-train-3" not in left and "THEIRS" not in left
    assert [(p.size, p.row_ids, p.features) for p in read_records(outputs["analyses"] / "patterns.jsonl", Pattern)] == [
        (0, [], [])
    ] * 2


def test_features_of_another_task_are_dropped(take):
    strategies, _, _ = read_plan(take(other(found(1, GROUPS), task="gsm8k"))["plan"])
    assert [(s.text, s.features) for s in strategies] == [(FEW_GROUPS, [])]


def test_what_quotes_this_runs_held_out_rows_is_struck(take, data):
    held_out = read_records(data["heldout_data"] / "validation.jsonl", HeldOutRow)
    quote = next(r.fields["question"] for r in held_out if len(r.fields["question"].split()) > 9)
    state = other(
        found(
            1,
            ("Groups", "Some groups are kept.", f"Write more like: {quote}", ["HAVING"]),
            (quote, "Some groups are kept.", FEW_GROUPS, ["HAVING"]),
            ("Places", f"Such as {quote}", CITIES, []),
            ("Places", "Of customers.", f"Write more like: {quote}", []),
        )
    )
    outputs = take(state)
    strategies, _, _ = read_plan(outputs["plan"])
    assert [s.pattern_name for s in strategies] == ["Groups", "needs HAVING"], "without features nothing is left to say"
    assert [s.text for s in strategies] == [
        "Write varied examples whose answer needs HAVING, from simple to hard, no two alike.",
        FEW_GROUPS,
    ]
    summary = read_json(outputs["analyses"] / "summary.json")
    assert (summary["struck"], summary["dropped"]) == (4, 2)
    assert quote not in (outputs["plan"] / "strategies.yaml").read_text()


def test_each_iteration_takes_the_others_of_its_number_and_then_its_last_ones_again(take, tmp_path):
    state = other(found(1, GROUPS), IterationRecord(number=2), found(3, PLACES, GROUPS))

    def taken(iteration: int, **parameters):
        outputs = take(state, iteration=iteration, **parameters)
        number = read_json(outputs["analyses"] / "summary.json")["taken_from"]["iteration"]
        return number, read_records(outputs["analyses"] / "patterns.jsonl", Pattern)

    number, second = taken(2)
    assert (number, [(p.id, p.name) for p in second]) == (3, [("it2-p1", "Cities"), ("it2-p2", "Group filters")])
    own = finished("", iterations=[IterationRecord(number=1), IterationRecord(number=2, patterns=second)])
    write_json(tmp_path / "own" / "state.json", own)
    number, third = taken(3, state=tmp_path / "own")
    assert (number, [(p.id, p.previous_id) for p in third]) == (3, [("it3-p1", "it2-p1"), ("it3-p2", "it2-p2")])


def test_a_run_is_known_by_its_export_its_directory_or_a_state(take, tmp_path):
    directory = tmp_path / "runs" / "a"
    write_json(directory / "09-score-1" / "state" / "state.json", other(found(1, GROUPS)))
    (directory / "latest_state").write_text("09-score-1/state\n")
    for address in (directory, directory / "09-score-1" / "state", f"{directory}/"):
        assert len(read_plan(take(None, str(address))["plan"])[0]) == 1


def test_what_is_wrong_with_the_address_is_said(take, tmp_path):
    def complaint(address: Path) -> str:
        with pytest.raises(InputError) as caught:
            take(None, str(address))
        return str(caught.value)

    nothing, broken, old, empty, led = (tmp_path / name for name in ("nothing", "broken", "old", "empty", "led"))
    broken.mkdir()
    (broken / "state.json").write_text("{")
    write_json(old / "state.json", {**json.loads(other().model_dump_json()), "version": 9})
    write_json(empty / "state.json", other(IterationRecord(number=1)))
    led.mkdir()
    (led / "latest_state").write_text("../elsewhere")
    assert complaint(nothing) == (
        f"{nothing}: state.json is missing; name a run's export place, its run directory, or an artifact `state` of it"
    )
    assert complaint(broken).startswith(f"{broken}/state.json: not JSON")
    assert "state of version 9" in complaint(old)
    assert f"the run at {empty} has no patterns (task text_to_sql, method pada, 1 iterations so far)" in complaint(empty)
    assert "'../elsewhere' cannot be the name of a file" in complaint(led)
    (tmp_path / "file").touch()
    assert str(tmp_path / "file") in complaint(tmp_path / "file")


def test_a_method_that_finds_no_patterns_takes_none(take, sql_settings, stage, data, tmp_path):
    settings = sql_settings.model_copy(
        update={
            "analyze": sql_settings.analyze.model_copy(update={"patterns_from": str(tmp_path)}),
            "generate": sql_settings.generate.model_copy(update={"method": "auggpt"}),
        }
    )
    with pytest.raises(InputError, match=r"generate\.method auggpt writes against no pattern"):
        stage(run, settings, {"train_data": data["train_data"], "predictions": tmp_path / "predictions"})
