"""`pada compare`: runs side by side on the rows that they share."""

import finished_runs
import pytest

from pada_agent.components.backends.record_files import read_json, write_json, write_records
from pada_agent.components.core.records import HeldOutRow
from pada_agent.pipelines.compare import compared, read_run

STATE = "07-score-1/state/state.json"


def run(folder, right, first=0, last=100, task="text_to_sql", texts=None, metric="execution match", grades=None, groups=None):
    """A finished run that answers the test rows `first` to `last`, those in `right` rightly."""
    finished_runs.finished_run(folder)
    state = read_json(folder / STATE)
    model = next(m for m in state["models"] if m["name"] == "iteration-1")
    model["outcomes"]["test"] = {f"row-{i}": i in right for i in range(first, last)}
    if grades is not None:
        model["grades"]["test"] = {f"row-{i}": grades(i) for i in range(first, last)}
    if groups is not None:
        state["groups"] = {"test": {f"row-{i}": groups(i) for i in range(first, last)}}
    state["run"] |= {"task": task, "metric": metric}
    write_json(folder / STATE, state)
    if texts is not None:
        rows = [HeldOutRow(id=f"row-{i}", split="test", fields={"q": texts(i)}) for i in range(first, last)]
        write_records(folder / "01-prepare" / "heldout_data" / "test.jsonl", rows)
    return folder


def test_each_run_is_tested_against_the_first(pada, tmp_path):
    a = run(tmp_path / "a", range(60), texts=str)
    b = run(tmp_path / "b", [*range(5, 60), *range(60, 80)], texts=str)
    c = run(tmp_path / "c", range(61), texts=str)
    code, out, said = pada("compare", a, b, c)
    assert code == 0, said
    lines = out.splitlines()
    assert lines[0].split("  ")[0] == "run"
    second, third = (next(line for line in lines if line.startswith(str(folder))) for folder in (b, c))
    assert "75.0 %" in second and "+15.0 (" in second and "20, 5" in second
    assert "0.004" in second and "0.008" in second  # McNemar's exact 0.0041, times two runs by Holm
    assert "+1.0 (" in third and "1.00" in third
    assert "one seed" in out and "taken for the same" not in out


def test_rows_of_a_group_are_tested_as_one(tmp_path):
    a, b = (run(tmp_path / name, range(right), groups=lambda i: f"page {i // 20}") for name, right in (("a", 60), ("b", 80)))
    found = compared(read_run(str(a)), read_run(str(b)), 0.95)
    assert (found.test.gains, found.test.losses, found.test.p) == (20, 0, 1.0)  # all twenty are one page's
    assert found.interval.low == 0


def test_graded_answers_are_compared_by_their_mean_score(pada, tmp_path):
    a = run(tmp_path / "a", range(60), grades=lambda i: 0.5)
    b = run(tmp_path / "b", range(60), grades=lambda i: 0.75 if i < 10 else 0.5)
    _, out, _ = pada("compare", a, b)
    assert "test mean score" in out.splitlines()[0]
    first, second = (next(line for line in out.splitlines() if line.startswith(str(folder))) for folder in (a, b))
    assert "50.0 %" in first and "52.5 %" in second and "+2.5 (" in second
    assert "10, 0" in second and "0.002" in second  # of 2^10 ways to flip ten signs, two
    c = run(tmp_path / "c", range(70))
    _, out, _ = pada("compare", a, c)
    assert "test accuracy" in out.splitlines()[0] and "+10.0 (" in out


def test_rows_that_differ_are_left_out_and_told(pada, tmp_path):
    a = run(tmp_path / "a", range(60), texts=str)
    b = run(tmp_path / "b", range(80), first=10, last=110, texts=lambda i: "changed" if i < 20 else str(i))
    found = compared(read_run(str(a)), read_run(str(b)), 0.95)
    assert (found.rows, found.own, found.firsts, found.other_texts) == (80, 100, 100, 10)
    assert found.test.difference == pytest.approx(20 / 80)
    _, out, _ = pada("compare", a, b)
    assert "compared on the 80 rows that both have; it has 100, 10 with an id of the first that say something else" in out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"first": 200, "last": 300}, "its test rows are not those of"),
        ({"texts": lambda i: f"other {i}"}, r"the same ids stand for other rows"),
        ({"task": "squad"}, "its task is squad, that of"),
    ],
)
def test_runs_that_cannot_be_paired(pada, tmp_path, change, said):
    a = run(tmp_path / "a", range(60), texts=str)
    b = run(tmp_path / "b", range(70), **change)
    code, _, message = pada("compare", a, b)
    assert code == 1 and said in message, message


def test_what_else_differs_is_told(pada, tmp_path):
    a, b = run(tmp_path / "a", range(60)), run(tmp_path / "b", range(70), metric="exact match")
    _, out, _ = pada("compare", a, b)
    assert "a row is right by exact match, in the first by execution match" in out
    assert "those are taken for the same whose ids are" in out


def test_too_few(pada, tmp_path):
    a = run(tmp_path / "a", range(60))
    assert "two runs or more" in pada("compare", a)[2]
    assert "named twice" in pada("compare", a, a)[2]
    assert "missing" in pada("compare", a, tmp_path / "nothing")[2]
    b = run(tmp_path / "b", range(60))
    write_json(b / STATE, {**read_json(b / STATE), "incumbent": ""})
    assert "no model to compare yet" in pada("compare", a, b)[2]
