"""The table of results, the verdict and the cost."""

import io

import pytest
from rich.console import Console
from small_state import finished, without_new_data

from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.errors import PadaError
from pada_agent.components.core.state import IterationRecord
from pada_agent.pipelines.results import show


def printed(terminal, state):
    text = io.StringIO()
    show(state, "gs://b/report.html", Console(file=text, force_terminal=terminal, width=160, highlight=False))
    return text.getvalue()


def test_plain_lines_in_a_log():
    lines = printed(False, finished()).splitlines()
    assert lines[0].split("  ")[0] == "model"
    assert "against step-matched" in lines[0]
    (row,) = [line for line in lines if line.startswith("Iteration 1 (shipped)")]
    assert "80.0 %" in row and "+15.0 (" in row and row.endswith("< 0.001")
    (control,) = [line for line in lines if line.startswith("Step-matched vanilla")]
    assert control.rstrip().endswith("%")  # it is what the others are held against
    assert "\x1b" not in "".join(lines)
    assert lines[-1] == "Report: gs://b/report.html"


def test_what_it_cost_stands_beside_what_was_expected():
    spent = {"generate_data": Usage(calls=1200, input_tokens=30_000, output_tokens=4_000, usd=1.25)}
    checks = [{"kind": kind, "branch": "error", "mean": 7, "passed": True} for kind in ("good", "cut")]
    first = IterationRecord.model_validate({"number": 1, "usage": spent, "judge_check": {"batches": checks}})
    expected = {
        "generate_data": Usage(calls=1100, input_tokens=29_000, usd=1.0),
        "control_quality": Usage(calls=10, input_tokens=1_000, output_tokens=500, usd=0.1),
    }
    said = printed(False, finished().model_copy(update={"iterations": [first]}))
    assert "LLM calls: 1,200. Tokens: 34,000. USD: 1.25." in said
    assert "Warning: The judge gives good and bad batches the same score (7.0)" in said
    said = printed(False, finished().model_copy(update={"iterations": [first], "expected": expected}))
    assert "LLM calls: 1,200 (1,110 expected). Tokens: 34,000 (30,500 expected). USD: 1.25 (1.10 expected)." in said
    first.usage["generate_data"].cached_input_tokens = 12_000
    said = printed(False, finished().model_copy(update={"iterations": [first]}))
    assert "Tokens: 34,000. Input tokens that endpoints had cached: 12,000. USD" in said


def test_a_box_on_a_terminal():
    text = printed(True, finished())
    assert "┃" in text
    assert "Iteration 1 (shipped)" in text


def test_a_run_without_new_data_ends_with_an_error_after_its_table():
    text = io.StringIO()
    with pytest.raises(
        PadaError, match=r"^no synthetic row was let in, .* ships its start: no row was let in: the cap budget.calls"
    ):
        show(without_new_data(), "gs://b/report.html", Console(file=text, width=160))
    assert "Report: gs://b/report.html" in text.getvalue()
