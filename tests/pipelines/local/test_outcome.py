"""What a run leaves and says on this machine, from a small state."""

import io
import json

import pytest
from rich.console import Console
from small_state import finished

from pada_agent.components.backends.record_files import write_json, write_records
from pada_agent.components.core.report.excerpts import Excerpt
from pada_agent.components.core.report.shown_rows import Answer, ShownRow
from pada_agent.components.core.state import State
from pada_agent.pipelines.local.outcome import last_state, publish, show, show_stop


@pytest.fixture
def state(tmp_path):
    """The folder of a finished run's state."""
    write_json(tmp_path / "07-score-1" / "state" / "state.json", finished())
    return tmp_path / "07-score-1" / "state"


def printed(call, *given):
    text = io.StringIO()
    call(*given, Console(file=text, width=160, highlight=False))
    return text.getvalue()


def test_the_table_names_the_report_of_the_run_directory(state, tmp_path):
    assert printed(show, state, tmp_path).splitlines()[-1] == f"Report: {tmp_path / 'report.html'}"


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
    said = printed(show_stop, "analyze-1", tmp_path / "07-analyze-1")
    assert str(tmp_path / "07-analyze-1" / "plan" / "strategies.yaml") in said
    assert "without --until" in said
    assert "strategies" not in printed(show_stop, "train-vanilla", tmp_path)
