"""The stage through the executor's contract: a run from its start to its end, and what it refuses."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pada_agent.components.backends.artifacts.evaluated import read_shown_rows
from pada_agent.components.backends.artifacts.kept import kept
from pada_agent.components.backends.executor import Executor
from pada_agent.components.backends.record_files import read_records, write_json, write_records
from pada_agent.components.backends.store.export import fetch_shipped, shipped
from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.cost.estimate import estimate
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.figures import listed
from pada_agent.components.core.records import (
    Analysis,
    Batch,
    Pattern,
    Prediction,
    Provenance,
    Sample,
    Score,
    Strategy,
    SyntheticRow,
    TrainRow,
)
from pada_agent.components.core.settings import LlmSettings, Settings, SlmSettings, TaskSettings
from pada_agent.components.core.state import State
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.stages import STAGES
from pada_agent.components.update_state.__main__ import run

CAP = "the cap budget.calls: 100 is reached"
SIZES = {"train": 20, "validation": 40, "selection": 60, "test": 80}


class Loop:
    """Calls the stage as an engine does and keeps what came out of the last call."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder, self.calls = folder, 0
        values = {"loop": {"iterations": 2}, **settings}
        self.settings = Settings(
            task=TaskSettings(name="gsm8k", train="t", validation="v", test="e"),
            slm=SlmSettings(model="some/slm"),
            teacher=LlmSettings(model="big"),
            judge=LlmSettings(model="other"),
            **values,
        )
        self.last: dict[str, Any] = {}
        self.out = folder
        self.asked = STAGES["update_state"].outputs
        rows = [TrainRow(id=f"train-{i}", fields=fields_of("train", i)) for i in range(SIZES["train"])]
        write_records(folder / "train_data" / "train.jsonl", rows)

    def call(self, step: str, inputs: Mapping[str, Path], uris: Mapping[str, str] | None = None, **parameters: Any) -> State:
        """Asks for the outputs in `self.asked`."""
        self.calls += 1
        out = self.folder / f"call-{self.calls}"
        before = {"previous_state": self.out / "state"} if self.last else {}
        inputs = {"train_data": self.folder / "train_data", **before, **inputs}
        slots = {n: self._slot(out / n, uris) for n in self.asked}
        values = {"settings": STAGES["update_state"].sections(self.settings), "step": step, **parameters}
        artifacts = {n: self._slot(p, uris) for n, p in inputs.items()}
        outputs = {"artifacts": slots, "outputFile": str(out / "executor_output.json")}
        ex = Executor(json.dumps({"inputs": {"parameterValues": values, "artifacts": artifacts}, "outputs": outputs}))
        run(ex)
        self.said = listed(ex.numbers)
        self.last = json.loads((out / "executor_output.json").read_text())
        self.out = out
        return State.load(out / "state")

    @staticmethod
    def _slot(path: Path, uris: Mapping[str, str] | None) -> dict[str, Any]:
        elsewhere = {"uri": uris[path.name], "customPath": str(path)} if uris and path.name in uris else {}
        return {"artifacts": [{"name": path.name, "uri": str(path), **elsewhere}]}

    @property
    def parameters(self) -> dict[str, Any]:
        values: dict[str, Any] = self.last["parameterValues"]
        return values

    @property
    def outcome(self) -> dict[str, Any]:
        """The output parameters, and what the state's metadata say of the end."""
        (state,) = self.last["artifacts"]["state"]["artifacts"]
        return {**self.parameters, "reason": state["metadata"].get("ended", ""), "shipped": state["metadata"]["shipped"]}

    def evaluated(
        self, name: str, right: Mapping[str, int], group: Callable[[str, int], str] = lambda s, i: ""
    ) -> dict[str, Path]:
        """Artifacts of a model that answers the first `right[split]` rows of each split."""
        folder = self.folder / name
        for split, count in right.items():
            kind = "predictions" if split in ("train", "validation") else "report_predictions"
            rows = [prediction(split, i, i < count, group(split, i)) for i in range(SIZES[split])]
            write_records(folder / kind / f"{split}.jsonl", rows)
            write_json(folder / kind / "metrics.json", {"name": name, "splits": {}, "seconds": 12.5})
        facts = {"steps": 40, "rows": 120, "synthetic_rows": 4, "dropped_too_long": ["x"], "seconds": 185.0}
        write_json(folder / "adapter" / "train.json", facts)
        kinds = [k for k in ("predictions", "report_predictions") if (folder / k).exists()]
        return {k: folder / k for k in [*kinds, *([] if name == "untuned" else ["adapter"])]}

    def begin(self) -> State:
        untuned = self.evaluated("untuned", {"selection": 1, "test": 2})
        return self.call("start", {**self.evaluated("vanilla", rights(30)), **beside(untuned)})

    def learnt(
        self,
        number: int,
        accepted: int = 3,
        capped: str = "",
        strategies: int = 1,
        errors: int = 1,
        written: int = 5,
        unanalysed: int = 0,
    ) -> dict[str, Path]:
        """Artifacts of one iteration's analysis, plan and checked batches."""
        folder = self.folder / f"learnt-{number}"
        pattern = Pattern(
            id=f"it{number}-p1", name="Two steps", description="Drops the last step.", size=8 // number,
            row_ids=[f"validation-{i}" for i in range(32, 40)], previous_id="it1-p1" if number > 1 else "",
        )  # fmt: skip
        strategy = Strategy(id=f"it{number}-s1", pattern_id=pattern.id, pattern_name=pattern.name, text="Write two steps.")
        write_records(folder / "analyses" / "analyses.jsonl", [Analysis(row_id="validation-33", root_cause="r", scenario="s")])
        write_records(folder / "analyses" / "patterns.jsonl", [pattern] * strategies)
        summary = {"failures": 20 // number, "analysed": 10 // number, "unanalysed": unanalysed, "structure": False}
        write_json(folder / "analyses" / "summary.json", summary)
        write_json(
            folder / "analyses" / "usage.json",
            {"analyze_patterns": Usage(calls=10, paid_calls=4, replayed=6, usd=0.5).model_dump()},
        )
        (folder / "batches").mkdir()
        (folder / "batches" / "strategies.yaml").write_text(yaml.safe_dump([strategy.model_dump()] * strategies))
        write_json(folder / "batches" / "spent.json", {})
        write_records(folder / "batches" / "training_errors.jsonl", [prediction("train", 19, False)] * errors)
        samples = [sample(number, i, "accepted" if i < accepted else "rejected") for i in range(written)]
        batches = [
            Batch(id=f"b{number}", branch="pattern", strategy_id=strategy.id, seed_ids=["t"], wanted=5, samples=samples),
            Batch(id=f"b{number}.refill", branch="pattern", seed_ids=["t"], wanted=5 - accepted or 1, refill_of=f"b{number}"),
        ]
        write_records(folder / "batches" / "batches.jsonl", batches)
        usages = {"generate_data": Usage(calls=2, usd=0.25), "control_quality": Usage(calls=2, usd=0.25, capped=capped)}
        write_json(folder / "batches" / "usage.json", {stage: u.model_dump() for stage, u in usages.items()})
        if number == 1:
            judged = [("good", 8), ("good", 9), ("good", 8), ("exchanged", 3), ("cut", 2), ("off_task", 1)]
            checks = [{"kind": kind, "branch": "error", "mean": mean, "passed": mean >= 7} for kind, mean in judged]
            write_json(folder / "batches" / "judge_check.json", {"batches": checks})
        return {"analyses": folder / "analyses", "checked_batches": folder / "batches"}

    def merge(self, number: int, **options: Any) -> State:
        return self.call("merge", self.learnt(number, **options), iteration=number)

    def score(self, number: int, right: int, **splits: int) -> State:
        name = f"iteration-{number}"
        return self.call("score", self.evaluated(name, rights(right, **splits)), iteration=number)


def beside(artifacts: Mapping[str, Path]) -> dict[str, Path]:
    """The same artifacts as those of the model that stands beside."""
    return {f"baseline_{name}": path for name, path in artifacts.items()}


def rights(selection: int, **splits: int) -> dict[str, int]:
    return {"train": 19, "validation": 30, "selection": selection, "test": 50, **splits}


def prediction(split: str, number: int, right: bool, group: str = "") -> Prediction:
    row = {"id": f"{split}-{number}", "split": split, "prompt": "", "output": f"#### {number}", "reference": "", "group": group}
    row["fields"] = fields_of(split, number)
    return Prediction.model_validate({**row, "score": Score(correct=right, valid=True, predicted=str(number))})


def fields_of(split: str, number: int) -> dict[str, str]:
    return {"question": f"{split} question {number}?", "answer": f"#### {number}"}


def sample(iteration: int, number: int, status: str) -> Sample:
    source = Provenance(
        branch="pattern", parent_ids=["train-1"], iteration=iteration, batch_id=f"b{iteration}", attempt=0, request_hash="h"
    )
    row = SyntheticRow(id=f"it{iteration}-{number}", fields={"question": f"{number}?"}, provenance=source)
    return Sample.model_validate(
        {"row": row, "status": status, "reason": "" if status == "accepted" else "judge: 5.0 is below 7"}
    )


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    return Loop(tmp_path)


def test_a_whole_run(loop: Loop) -> None:
    state = loop.begin()
    assert [(m.name, m.kind) for m in state.models] == [("untuned", "untuned"), ("vanilla", "start")]
    assert loop.outcome == {"go_on": True, "step_matched": False, "reason": "", "shipped": "vanilla"}
    vanilla = state.model("vanilla")
    assert (vanilla.steps, vanilla.rows, vanilla.dropped_rows, vanilla.train_seconds, vanilla.evaluate_seconds) == (
        40,
        120,
        1,
        185,
        12.5,
    )
    assert vanilla.metrics["selection"].accuracy == 0.5 and set(vanilla.outcomes) == {"validation", "selection", "test"}
    assert state.run.metric and state.run.teacher == "big"

    train = [row.fields for row in read_records(loop.folder / "train_data" / "train.jsonl", TrainRow)]
    estimated = estimate(loop.settings, load_task("gsm8k", {}), train, 20, 40)
    assert state.expected == {stage.stage: stage.expected for stage in estimated}

    state = loop.merge(1)
    assert (state.iterations[0].wanted, state.iterations[0].accepted, state.iterations[0].shortfall) == (5, 3, 2)
    assert state.iterations[0].progress["it1-p1"].trend == "new"
    assert loop.parameters["go_on"] is True

    state = loop.score(1, right=42, validation=36)
    assert loop.outcome == {"go_on": True, "step_matched": False, "reason": "", "shipped": "iteration-1"}
    assert state.iterations[0].promotion and state.iterations[0].promotion.gains == 12
    progress = state.iterations[0].progress["it1-p1"]
    assert (progress.failing, progress.outcome) == (4, "shrinking")

    state = loop.merge(2)
    assert state.iterations[1].progress["it2-p1"].trend == "shrinking"  # 8 of 10 of 20 failures before, 4 of 5 of 10 now
    rows = read_records(loop.out / "synthetic_data" / "synthetic.jsonl", SyntheticRow)
    assert [r.id for r in rows] == ["it1-0", "it1-1", "it1-2", "it2-0", "it2-1", "it2-2"]

    state = loop.score(2, right=35)
    assert loop.outcome == {
        "go_on": False,
        "step_matched": True,
        "reason": "the 2 planned iterations are done",
        "shipped": "iteration-1",
    }
    assert loop.said == "ships iteration-1, 6 synthetic rows, go on no (the 2 planned iterations are done)"
    assert not state.iterations[1].promotion.promoted

    state = loop.call("step_matched", loop.evaluated("step-matched", {"selection": 60, "test": 80}))
    assert loop.outcome["shipped"] == "iteration-1", "a step-matched model is never shipped, however good"
    assert state.model("step-matched").kind == "step_matched"
    rows = read_records(loop.out / "synthetic_data" / "synthetic.jsonl", SyntheticRow)
    assert len(rows) == 6, "kept by the state where the artifact was not passed on"
    assert state.iterations[0].judge_check and not state.iterations[1].judge_check
    report = (loop.out / "report_so_far").read_text()
    assert "The judge tells good from bad" in report and ">expected " in report
    assert "Step-matched vanilla" in report and "Two steps" in report
    metadata = loop.last["artifacts"]["state"]["artifacts"][0]["metadata"]
    assert metadata == {"shipped": "iteration-1", "iterations": 2, "ended": "the 2 planned iterations are done"}


def test_the_state_and_the_report_say_what_an_earlier_run_did(loop: Loop) -> None:
    runs = "minio://b/v2/artifacts/loop"
    uris = {"adapter": f"{runs}/earlier/train-lora/adapter", "state": f"{runs}/now/update-state/state"}
    state = loop.call("start", loop.evaluated("vanilla", rights(30)), uris)
    assert state.taken_over == {"train-vanilla": "earlier"}
    assert loop.said == "ships vanilla, 0 synthetic rows, go on yes, taken over from earlier train-vanilla"
    said = (loop.out / "report_so_far").read_text()
    assert "Taken over from run earlier, with the same inputs, and paid there: train-vanilla." in said
    later = {name: f"{runs}/last/update-state/{name}" for name in ("state", "previous")}
    assert loop.call("merge", loop.learnt(1), later, iteration=1).taken_over == {"train-vanilla": "earlier"}, "it is kept"


def test_of_patterns_of_another_run_nobody_says_what_became(loop: Loop) -> None:
    loop.begin()
    learnt = loop.learnt(1)
    (pattern,) = read_records(learnt["analyses"] / "patterns.jsonl", Pattern)
    write_records(learnt["analyses"] / "patterns.jsonl", [pattern.model_copy(update={"size": 0, "row_ids": []})])
    origin = {"run": "gs://exports/a", "task": "squad", "slm": "org/slm", "iteration": 1}
    write_json(learnt["analyses"] / "summary.json", {"failures": 20, "analysed": 0, "taken_from": origin})
    state = loop.call("merge", learnt, iteration=1)
    assert state.iterations[0].progress == {}
    assert "those of iteration 1 of the run at gs://exports/a (task squad, org/slm)" in (loop.out / "report_so_far").read_text()
    state = loop.score(1, right=42, validation=36)
    assert state.iterations[0].progress == {}


def test_rows_for_the_report_travel_with_the_state(loop: Loop) -> None:
    """Validation and training rows, each model's answers, and what samples were written from; never a selection or test row."""
    loop.begin()
    assert {r.split for r in read_shown_rows(loop.out / "state")} == {"validation", "train"}
    (loop.folder / "train_data" / "train.jsonl").unlink()
    extra = [*range(SIZES["train"]), 77]
    write_records(
        loop.folder / "train_data" / "train.jsonl", [TrainRow(id=f"train-{i}", fields=fields_of("train", i)) for i in extra]
    )
    learnt = loop.learnt(1)
    batches = read_records(learnt["checked_batches"] / "batches.jsonl", Batch)
    source = batches[0].samples[0].row.provenance.model_copy(update={"parent_ids": ["train-77"]})
    first = batches[0].samples[0].row.model_copy(update={"provenance": source})
    samples = [batches[0].samples[0].model_copy(update={"row": first}), *batches[0].samples[1:]]
    write_records(learnt["checked_batches"] / "batches.jsonl", [batches[0].model_copy(update={"samples": samples}), batches[1]])
    wrong = prediction("train", 77, False).model_copy(update={"output": "the error it was written against"})
    write_records(learnt["checked_batches"] / "training_errors.jsonl", [wrong])
    loop.call("merge", learnt, iteration=1)
    loop.score(1, right=42, validation=36)
    rows = {r.id: r for r in read_shown_rows(loop.out / "state")}
    assert [(m, a.correct) for m, a in rows["validation-33"].answers.items()] == [("vanilla", False), ("iteration-1", True)]
    assert len(rows) == SIZES["validation"] + SIZES["train"] + 1
    assert str(rows["train-77"].answers["vanilla"].output) == "the error it was written against"
    report = (loop.out / "report_so_far").read_text()
    assert "validation question 33?" in report and "train question 77?" in report
    assert "test question" not in report and "selection question" not in report


def test_the_export_always_holds_what_is_to_be_shipped(loop: Loop, tmp_path: Path) -> None:
    uri = str(tmp_path / "export")
    data = {"train": {"source": "gs://data/train.jsonl", "sha256": "9a03"}}
    write_json(loop.folder / "train_data" / "manifest.json", {"data": data, "versions": {"pada-agent": "0.1.0"}})
    untuned = loop.evaluated("untuned", {"selection": 1, "test": 2})
    vanilla = loop.evaluated("vanilla", rights(30))
    loop.call("start", {**vanilla, **beside(untuned)}, export_uri=uri)
    assert shipped(uri)["name"] == "vanilla"
    for number, right, ships in ((1, 29, "vanilla"), (2, 50, "iteration-2")):
        loop.merge(number)
        candidate = loop.evaluated(f"iteration-{number}", rights(right))
        (candidate["adapter"] / "weights").write_text(str(number))
        loop.call("score", candidate, iteration=number, export_uri=uri)
        assert shipped(uri)["name"] == ships
    kept = fetch_shipped(uri, tmp_path / "fetched")
    assert (kept / "weights").read_text() == "2"
    assert shipped(uri)["facts"]["accuracy"]["selection"] == round(50 / 60, 4)
    facts = shipped(uri)["facts"]
    assert (facts["data"], facts["pada_agent"], facts["seed"]) == (data, "0.1.0", loop.settings.seed)
    assert (tmp_path / "export" / "report.html").read_text() == (loop.out / "report_so_far").read_text()
    assert (tmp_path / "export" / "state.json").read_text() == (loop.out / "state" / "state.json").read_text()
    assert len((tmp_path / "export" / "synthetic.jsonl").read_text().splitlines()) == 6


def test_a_new_run_says_what_became_of_the_patterns_of_the_one_that_it_replaces(loop: Loop, tmp_path: Path) -> None:
    uri = str(tmp_path / "export")
    later = Loop(tmp_path / "later", earlier=uri)

    def start() -> State:
        later.last = {}
        return later.call("start", later.evaluated("vanilla", rights(30, validation=36)), export_uri=uri)

    state = start()
    assert state.earlier is not None
    assert "export: state.json is missing" in state.earlier.problem
    assert "could not be looked up" in (later.out / "report_so_far").read_text()
    shutil.rmtree(uri)
    loop.begin()
    loop.merge(1)
    shown = loop.evaluated("iteration-1", rights(50))
    loop.call("score", shown, iteration=1, export_uri=uri)  # its pattern: validation rows 32 to 39
    for _ in range(2):  # a stage that is started again finds its own export there
        state = start()
        assert state.earlier is not None
        (pattern,) = state.earlier.patterns
        assert (pattern.name, pattern.rows, pattern.failing, pattern.outcome) == ("Two steps", 8, 4, "shrinking")
    report = (later.out / "report_so_far").read_text()
    assert "Patterns of the earlier run" in report
    assert "smaller" in report
    assert "its synthetic rows are not trained on" in report
    assert state.synthetic_rows == []
    assert "Patterns of the earlier run" not in (loop.out / "report_so_far").read_text()


def test_a_pipeline_that_asks_for_the_state_alone_gets_the_same_state_and_export(tmp_path: Path) -> None:
    left = []
    for asked in (STAGES["update_state"].outputs, ("state", "report_so_far")):
        (tmp_path / str(len(asked))).mkdir()
        loop = Loop(tmp_path / str(len(asked)))
        loop.asked = asked
        loop.begin()
        loop.merge(1)
        loop.call("score", loop.evaluated("iteration-1", rights(42)), iteration=1, export_uri=str(loop.folder / "export"))
        assert {p.name for p in loop.out.iterdir()} == {*asked, "executor_output.json"}
        files = [loop.out / "state" / "state.json", *(loop.folder / "export" / n for n in ("synthetic.jsonl", "report.html"))]
        left.append([file.read_text().replace(str(loop.folder), "") for file in files])
    assert left[0] == left[1]


def test_the_last_step_mends_an_export_that_steps_taken_over_did_not_make(loop: Loop, tmp_path: Path) -> None:
    uri = str(tmp_path / "export")
    loop.begin()
    loop.merge(1)
    loop.score(1, right=55)
    control = loop.evaluated("step-matched", {"selection": 20, "test": 40})
    loop.call("step_matched", control, export_uri=uri)
    assert shipped(uri)["name"] == "iteration-1"
    assert (fetch_shipped(uri, tmp_path / "fetched") / "train.json").is_file()
    pointer = (tmp_path / "export" / "shipped.json").stat().st_mtime_ns
    shutil.rmtree(loop.folder / "iteration-1" / "adapter")  # what is there already is not fetched again
    loop.out = tmp_path / "call-3"
    loop.call("step_matched", control, export_uri=uri)
    assert (tmp_path / "export" / "shipped.json").stat().st_mtime_ns == pointer
    (tmp_path / "export" / "shipped.json").unlink()
    loop.out = tmp_path / "call-3"
    with pytest.raises(InputError, match=r"another adapter than this run's lies there by now.*submit with --no-cache"):
        loop.call("step_matched", control, export_uri=uri)


def test_a_worse_candidate_is_not_shipped_and_the_test_split_has_no_say(loop: Loop) -> None:
    loop.begin()
    loop.merge(1)
    loop.score(1, right=29, test=80)
    assert loop.outcome["shipped"] == "vanilla"


@pytest.mark.parametrize("right", [29, 34, 55])
def test_whatever_the_test_split_says_the_same_is_shipped_and_the_loop_goes_on_alike(tmp_path: Path, right: int) -> None:
    outcomes = []
    for test in (0, 50, 80):
        (tmp_path / str(test)).mkdir()
        loop = Loop(tmp_path / str(test), loop={"iterations": 3, "patience": 1})
        loop.begin()
        loop.merge(1)
        state = loop.score(1, right=right, test=test)
        outcomes.append((loop.parameters, state.incumbent, state.decision, state.iterations[-1].promotion))
        assert state.models[-1].metrics["test"].correct == test
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_a_resumed_iteration_leaves_the_same_state(tmp_path: Path) -> None:
    """Which calls came from the ledger depends on kills, so it must not be in the state."""
    states = []
    for name, usage in (("a", Usage(calls=10, paid_calls=10)), ("b", Usage(calls=10, paid_calls=1, replayed=9))):
        (tmp_path / name).mkdir()
        loop = Loop(tmp_path / name)
        loop.begin()
        learnt = loop.learnt(1)
        write_json(learnt["analyses"] / "usage.json", {"analyze_patterns": usage.model_dump()})
        states.append(loop.call("merge", learnt, iteration=1).iterations)
    assert states[0] == states[1]


def test_rows_written_without_any_failure_that_were_all_refused_are_told_of(loop: Loop) -> None:
    loop.begin()
    learnt = loop.learnt(1, accepted=0, strategies=0, errors=0)
    file = learnt["checked_batches"] / "batches.jsonl"
    write_records(file, [b.model_copy(update={"branch": "row"}) for b in read_records(file, Batch)])
    loop.call("merge", learnt, iteration=1)
    assert loop.outcome["reason"] == "nothing to learn from: none of 5 written rows passed quality control"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"accepted": 0}, "nothing to learn from: none of 5 written rows passed quality control"),
        ({"accepted": 0, "strategies": 0, "errors": 0}, "nothing to learn from: no failures to write data against"),
        ({"accepted": 0, "capped": CAP}, f"no row was let in: {CAP}"),
        ({"accepted": 0, "written": 0}, "no row was written: not one of 5 asked for came in a usable reply"),
        (
            {"accepted": 0, "strategies": 0, "errors": 0, "unanalysed": 7},
            "no row was written: the teacher gave no usable analysis of 7 failures",
        ),
    ],
)
def test_nothing_to_train_on(loop: Loop, options: dict[str, Any], reason: str) -> None:
    loop.begin()
    loop.merge(1, **options)
    assert loop.outcome == {"go_on": False, "step_matched": False, "reason": reason, "shipped": "vanilla"}


@pytest.mark.parametrize(
    ("settings", "capped", "splits", "reason"),
    [
        ({"budget": {"usd": 1.0}}, "", {}, "1 of budget.usd: 1 is spent"),
        ({"budget": {"calls": 14}}, "", {}, "14 of budget.calls: 14 is spent"),
        (
            {"budget": {"stages": {"analyze_patterns": {"calls": 11}, "generate_data": {"usd": 0.25}}}},
            "",
            {},
            "0.25 of budget.stages.generate_data.usd: 0.25 is spent",
        ),
        ({}, CAP, {}, CAP),
        ({}, "", {"train": 20, "validation": 40}, "nothing to learn from: no failures left on validation and training rows"),
        ({"loop": {"iterations": 3, "patience": 1}}, "", {}, "plateau: no better selection accuracy for 1 iteration"),
        ({"loop": {"iterations": 1}}, "", {}, "the planned iteration is done"),
        ({"budget": {"usd": 1.5, "calls": 15}, "loop": {"iterations": 3, "patience": 2}}, "", {}, ""),
    ],
)
def test_when_the_loop_ends(tmp_path: Path, settings: dict[str, Any], capped: str, splits: dict[str, int], reason: str) -> None:
    loop = Loop(tmp_path, **settings)
    loop.begin()
    loop.merge(1, capped=capped)
    loop.score(1, right=30, **splits)
    assert loop.outcome == {"go_on": not reason, "step_matched": bool(reason), "reason": reason, "shipped": "vanilla"}


def test_a_plateau_counts_from_the_best_iteration(tmp_path: Path) -> None:
    loop = Loop(tmp_path, loop={"iterations": 9, "patience": 2})
    loop.begin()
    ended = []
    for number, right in enumerate((29, 33, 32, 33), 1):
        loop.merge(number)
        loop.score(number, right=right)
        ended.append(not loop.parameters["go_on"])
    assert ended == [False, False, False, True]


def test_groups_reach_the_promotion_test(loop: Loop) -> None:
    loop.begin()
    loop.merge(1)
    one_article = loop.evaluated("iteration-1", rights(42), lambda split, i: "article" if i >= 30 else "")
    state = loop.call("score", one_article, iteration=1)
    assert state.groups["selection"]["selection-35"] == "article"
    assert state.iterations[0].promotion.p == 0.5 and loop.outcome["shipped"] == "vanilla"


def test_refusals(loop: Loop) -> None:
    vanilla = loop.evaluated("vanilla", rights(30))
    with pytest.raises(InputError, match="step 'finish' is not known"):
        loop.call("finish", vanilla)
    with pytest.raises(InputError, match="needs the input artifact 'previous_state'"):
        loop.call("merge", {}, iteration=1)
    with pytest.raises(InputError, match="needs the input artifact 'predictions'"):
        loop.call("start", {"adapter": vanilla["adapter"]})
    loop.begin()
    for step, inputs, parameters, message in (
        ("start", vanilla, {}, "step 'start' does not take the input artifact 'previous_state'"),
        ("merge", loop.learnt(2), {"iteration": 2}, "iteration 2: the state has 0 iterations, 1 is next"),
        (
            "score",
            vanilla,
            {"iteration": 1},
            "iteration 1 cannot be scored: the last one merged into the state is 0",
        ),
    ):
        with pytest.raises(InputError, match=message):
            loop.call(step, inputs, **parameters)


@pytest.mark.parametrize(
    ("step", "given", "message"),
    [
        (
            "start",
            ("adapter", "predictions", "report_predictions", "analyses"),
            "step 'start' does not take .* 'analyses'; it takes train_",
        ),
        ("start", ("predictions", "report_predictions"), "step 'start' needs the input artifact 'adapter'"),
        ("merge", ("analyses", "previous_state"), "step 'merge' needs the input artifact 'checked_batches'"),
        (
            "merge",
            ("analyses", "checked_batches", "previous_state", "predictions"),
            "step 'merge' does not take the input artifact 'predictions'",
        ),
        ("step_matched", ("adapter", "previous_state", "predictions"), "step 'step_matched' needs .* 'report_predictions'"),
    ],
)
def test_each_step_takes_its_own_artifacts_and_no_others(loop: Loop, step: str, given: tuple[str, ...], message: str) -> None:
    for name in given:
        (loop.folder / name).mkdir()
    with pytest.raises(InputError, match=message):
        loop.call(step, {name: loop.folder / name for name in given}, iteration=1)


@pytest.mark.parametrize("wanted", [True, False])
def test_the_step_matched_model_is_asked_for_once_the_loop_ends(tmp_path: Path, wanted: bool) -> None:
    loop = Loop(tmp_path, step_matched=wanted)
    loop.begin()
    asked = [loop.parameters["step_matched"]]
    loop.merge(1)
    loop.score(1, 40)
    asked.append(loop.parameters["step_matched"])
    loop.merge(2, accepted=0)
    asked.append(loop.parameters["step_matched"])
    loop.call("step_matched", loop.evaluated("step-matched", {"selection": 60, "test": 80}))
    assert [*asked, loop.parameters["step_matched"]] == [False, False, wanted, False]


def test_a_row_let_in_twice(loop: Loop) -> None:
    loop.begin()
    learnt = loop.learnt(1)
    batches = read_records(learnt["checked_batches"] / "batches.jsonl", Batch)
    write_records(learnt["checked_batches"] / "batches.jsonl", [batches[0], batches[0]])
    with pytest.raises(InputError, match="synthetic row 'it1-0' was let in twice"):
        loop.call("merge", learnt, iteration=1)


def test_other_rows_than_before(loop: Loop) -> None:
    loop.begin()
    loop.merge(1)
    other = loop.evaluated("iteration-1", rights(40))
    file = other["report_predictions"] / "test.jsonl"
    write_records(file, read_records(file, Prediction)[:-1])
    with pytest.raises(InputError, match="model 'iteration-1', test: not the rows that 'untuned' was evaluated on"):
        loop.call("score", other, iteration=1)


def test_each_step_is_kept_where_the_run_tells_of_itself_and_says_what_its_page_is_a_snapshot_of(
    loop: Loop, tmp_path: Path
) -> None:
    events = tmp_path / "work" / "events"

    def told(state: State) -> str:
        left = kept(str(events), "here")
        assert left and left.state == state and left.rows == read_shown_rows(loop.out / "state")
        page = (events / "here" / "report.html").read_text()
        assert page == (loop.out / "report_so_far").read_text()
        return page

    start = loop.evaluated("vanilla", rights(30))
    assert "taken after the models that the run starts from were evaluated; the run went on." in told(
        loop.call("start", start, work_uri=str(events.parent))
    )
    for number in (1, 2):
        merged = loop.call("merge", loop.learnt(number), iteration=number, work_uri=str(events.parent))
        assert f"A snapshot, taken after iteration {number} was merged; the run went on." in told(merged)
        model = loop.evaluated(f"iteration-{number}", rights(40 + number))
        scored = loop.call("score", model, iteration=number, work_uri=str(events.parent))
        assert f"A snapshot, taken after iteration {number} was scored; the run went on." in told(scored)
    matched = loop.evaluated("step-matched", {"selection": 60, "test": 80})
    assert "snapshot" not in told(loop.call("step_matched", matched, work_uri=str(events.parent)))


def test_the_last_step_without_a_step_matched_model_is_no_snapshot(tmp_path: Path) -> None:
    loop = Loop(tmp_path, step_matched=False, loop={"iterations": 1})
    loop.begin()
    loop.merge(1)
    loop.score(1, 40)
    assert "snapshot" not in (loop.out / "report_so_far").read_text()


def test_a_place_for_events_that_cannot_be_written_does_not_fail_a_step(
    loop: Loop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    loop.call("start", loop.evaluated("vanilla", rights(30)), work_uri=str(tmp_path / "file"))
    assert loop.parameters["go_on"] is True
    said = capsys.readouterr().err
    assert "state and report of this step are not kept below work_uri, which changes nothing else: " in said


def test_an_earlier_release_said_nothing_of_the_step_matched_model(tmp_path: Path) -> None:
    """A run directory that it began is gone on with."""
    loop = Loop(tmp_path, loop={"iterations": 1})
    loop.begin()
    file = loop.out / "state" / "state.json"
    state = json.loads(file.read_text())
    del state["run"]["step_matched"]
    file.write_text(json.dumps(state))
    loop.merge(1)
    loop.score(1, 40)
    assert loop.parameters["step_matched"] is True
