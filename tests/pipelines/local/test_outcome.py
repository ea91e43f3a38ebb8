"""The table and the report of a run, from a small state."""

import io
import json

import pytest
from rich.console import Console

from pada_agent.components.backends.record_files import write_json, write_records
from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.errors import PadaError
from pada_agent.components.core.records import Prediction, Score
from pada_agent.components.core.report.excerpts import Excerpt
from pada_agent.components.core.report.shown_rows import Answer, ShownRow
from pada_agent.components.core.state import Decision, IterationRecord, ModelRecord, RunFacts, State
from pada_agent.components.core.statistics import summarise
from pada_agent.pipelines.local.outcome import last_state, publish, show, show_stop

RUN = {
    "task": "gsm8k",
    "slm": "slm",
    "teacher": "t",
    "judge": "j",
    "seed": 0,
    "iterations": 1,
    "patience": 2,
    "alpha": 0.05,
    "confidence": 0.95,
    "threshold": 7,
    "share": 0.5,
    "scope": "total",
}


def model(name, kind, right, iteration=0):
    outcomes = {f"row-{i}": i < right for i in range(100)}
    rows = [
        Prediction(id=i, split="test", prompt="", output="", reference="", score=Score(correct=ok, valid=True))
        for i, ok in outcomes.items()
    ]
    return ModelRecord(
        name=name,
        kind=kind,
        iteration=iteration,
        metrics={"test": summarise(rows), "selection": summarise(rows)},
        outcomes={"test": outcomes, "selection": outcomes},
    )


@pytest.fixture
def state(tmp_path):
    """The folder of a finished run's state."""
    found = State(
        run=RunFacts(**RUN),
        models=[
            model("untuned", "untuned", 10),
            model("vanilla", "start", 60),
            model("iteration-1", "candidate", 80, 1),
            model("step-matched", "step_matched", 65),
        ],
        iterations=[IterationRecord(number=1, model="iteration-1")],
        incumbent="iteration-1",
        decision=Decision(go_on=False, reason="all 1 iterations are done"),
    )
    write_json(tmp_path / "07-score-1" / "state" / "state.json", found)
    return tmp_path / "07-score-1" / "state"


def printed(terminal, call, *given):
    text = io.StringIO()
    call(*given, Console(file=text, force_terminal=terminal, width=160, highlight=False))
    return text.getvalue()


def test_plain_lines_in_a_log(state, tmp_path):
    lines = printed(False, show, state, tmp_path).splitlines()
    assert lines[0].split("  ")[0] == "model"
    assert "against step-matched" in lines[0]
    (row,) = [line for line in lines if line.startswith("Iteration 1 (shipped)")]
    assert "80.0 %" in row and "+15.0 (" in row and row.endswith("< 0.001")
    (control,) = [line for line in lines if line.startswith("Step-matched vanilla")]
    assert control.rstrip().endswith("%")  # it is what the others are held against
    assert "\x1b" not in "".join(lines)
    assert lines[-1] == f"Report: {tmp_path / 'report.html'}"


def test_what_it_cost_stands_beside_what_was_expected(state, tmp_path):
    found = State.load(state)
    spent = {"generate_data": Usage(calls=1200, input_tokens=30_000, output_tokens=4_000, usd=1.25)}
    checks = [{"kind": kind, "branch": "error", "mean": 7, "passed": True} for kind in ("good", "cut")]
    first = IterationRecord.model_validate({"number": 1, "usage": spent, "judge_check": {"batches": checks}})
    expected = {
        "generate_data": Usage(calls=1100, input_tokens=29_000, usd=1.0),
        "control_quality": Usage(calls=10, input_tokens=1_000, output_tokens=500, usd=0.1),
    }
    write_json(state / "state.json", found.model_copy(update={"iterations": [first]}))
    said = printed(False, show, state, tmp_path)
    assert "LLM calls: 1,200. Tokens: 34,000. USD: 1.25." in said
    assert "Warning: The judge gives good and bad batches the same score (7.0)" in said
    write_json(state / "state.json", found.model_copy(update={"iterations": [first], "expected": expected}))
    said = printed(False, show, state, tmp_path)
    assert "LLM calls: 1,200 (1,110 expected). Tokens: 34,000 (30,500 expected). USD: 1.25 (1.10 expected)." in said


def test_a_box_on_a_terminal(state, tmp_path):
    text = printed(True, show, state, tmp_path)
    assert "┃" in text
    assert "Iteration 1 (shipped)" in text


def test_a_run_without_new_data_ends_with_an_error_after_its_table(state, tmp_path):
    found = State.load(state)
    nothing = IterationRecord(number=1, wanted=12)
    over = Decision(go_on=False, reason="no row was let in: the cap budget.calls: 5 is reached")
    write_json(state / "state.json", found.model_copy(update={"iterations": [nothing], "decision": over, "incumbent": "vanilla"}))
    text = io.StringIO()
    with pytest.raises(
        PadaError, match=r"^no synthetic row was let in, .* ships its start: no row was let in: the cap budget.calls"
    ):
        show(state, tmp_path, Console(file=text, width=160))
    assert f"Report: {tmp_path / 'report.html'}" in text.getvalue()


def test_report_and_facts_are_published(state, tmp_path):
    publish(state, tmp_path)
    assert "Iteration 1" in (tmp_path / "report.html").read_text()
    facts = json.loads((tmp_path / "report.json").read_text())
    assert facts["shipped"] == "iteration-1"
    assert facts["baseline"] == "step-matched"


def test_the_report_of_a_run_directory_shows_the_rows_beside_its_state(state, tmp_path):
    text = Excerpt.of("How many apples?")
    row = ShownRow(id="v-1", split="validation", title=text, question=text, reference=text, drawn=True)
    answer = Answer(output=Excerpt.of("seven"), correct=False, valid=True, detail=Excerpt.of(""))
    write_records(state / "rows.jsonl", [row.model_copy(update={"answers": {"vanilla": answer}})])
    found = State.load(state)
    models = [m.model_copy(update={"metrics": {**m.metrics, "validation": m.metrics["test"]}}) for m in found.models]
    write_json(state / "state.json", found.model_copy(update={"models": models}))
    publish(state, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "How many apples?" in page and "seven" in page


def test_the_latest_state_is_the_one_noted_not_the_one_with_the_highest_number(state, tmp_path):
    (tmp_path / "99-score-9" / "state").mkdir(parents=True)
    (tmp_path / "latest_state").write_text("07-score-1/state\n")
    assert last_state(tmp_path) == state


def test_a_stop_says_what_to_read_and_how_to_go_on(tmp_path):
    said = printed(False, show_stop, "analyze-1", tmp_path / "07-analyze-1")
    assert str(tmp_path / "07-analyze-1" / "plan" / "strategies.yaml") in said
    assert "without --until" in said
    assert "strategies" not in printed(False, show_stop, "train-vanilla", tmp_path)
