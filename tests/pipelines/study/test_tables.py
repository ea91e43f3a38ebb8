"""What the tables of a study say, from made-up facts."""

import re

import pytest
from study_facts import made_up

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.statistics import holm
from pada_agent.pipelines.study.compare import compare
from pada_agent.pipelines.study.outcomes import CellFacts, Failure, StudyFacts, TaskFacts
from pada_agent.pipelines.study.places import MATCHED
from pada_agent.pipelines.study.statistics.across_tasks import macro
from pada_agent.pipelines.study.statistics.cells import compare_cells, summarise_cell
from pada_agent.pipelines.study.statistics.power import design_power, pooled
from pada_agent.pipelines.study.tables import markdown

TABLE_1 = "Table 1. Accuracy by training size and method"
ACCURACY = {"untuned": 0.1, "vanilla": 0.5, "step-matched": 0.52, "pada": 0.7, "auggpt": 0.55}
TASKS = {"sql": 0.0, "squad": 0.1}
SIGHT = "What this design could see"


@pytest.fixture(scope="module")
def facts():
    return made_up(ACCURACY, TASKS, regimes=(300, 0))


@pytest.fixture(scope="module")
def text(facts):
    return markdown(compare(facts))


def table(text, section):
    """The cells of a section's table, the first line its titles."""
    body = text.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in body.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def scores(facts, task, regime, method, model):
    cells = [c for c in facts.cells if (c.task, c.regime, c.method) == (task, regime, method)]
    found = {c.seed: m.outcomes["test"] for c in cells for m in c.models if m.name == model}
    return {seed: {str(i): float(v == "1") for i, v in enumerate(own)} for seed, own in found.items()}


def test_the_first_table_has_tasks_by_regimes_by_methods(text):
    titles, *rows = table(text, TABLE_1)
    assert titles == ["rows", "method", "sql", "squad", "mean", "averaged gain, %"]
    names = ["untuned", "vanilla", MATCHED, "pada", "auggpt"]
    assert [row[:2] for row in rows] == [[regime, name] for regime in ("300", "all") for name in names]
    assert all(re.fullmatch(r"\d+\.\d ± \d\.\d( \([+-]\S+; \S+ to \S+\))?", cell) for row in rows for cell in row[2:4])
    means = {row[1]: float(row[4]) for row in rows[:5]}
    own = [float(cell.split(" ")[0]) for cell in rows[3][2:4]]
    assert means["pada"] == pytest.approx(sum(own) / 2, abs=0.06)


def test_the_averaged_gain_is_relative_to_vanilla(facts, text):
    (over,) = [o for o in compare(facts).over_tasks if (o.regime, o.method, o.baseline) == (300, "pada", "vanilla")]
    row = table(text, TABLE_1)[4]
    assert row[1] == "pada" and row[5].startswith(f"{100 * over.found.relative_gain.mean:+.1f}; ")


def test_a_gain_is_over_the_methods_own_step_matched_vanilla(facts):
    results = compare(facts)
    for method in ("pada", "auggpt"):
        (found,) = [c for c in results.comparisons if (c.task, c.regime, c.method, c.baseline) == ("squad", 300, method, MATCHED)]
        ours, theirs = (scores(facts, "squad", 300, method, model) for model in ("iteration-1", "step-matched"))
        assert found.found.difference == compare_cells(ours, theirs).difference


def test_every_pair_is_compared_and_corrected_with_those_that_ask_the_same(facts, text):
    rows = table(text, "Comparisons")[1:]
    assert {tuple(row[2:4]) for row in rows} == {
        ("pada", MATCHED),
        ("pada", "vanilla"),
        ("pada", "auggpt"),
        ("auggpt", MATCHED),
        ("auggpt", "vanilla"),
    }
    assert len(rows) == 5 * 2 * 2
    comparisons = compare(facts).comparisons
    family = [c for c in comparisons if (c.method, c.baseline) in {("pada", MATCHED), ("pada", "auggpt")}]
    others = [c for c in comparisons if c not in family]
    assert [c.asked for c in comparisons] == [c in family for c in comparisons] and (len(family), len(others)) == (8, 12)
    for of in (family, others):
        assert [c.p_holm for c in of] == pytest.approx(holm([c.found.p for c in of]))
    assert max(c.p_holm for c in family) > max(c.found.p for c in family)
    said = " ".join(text.split())
    assert "for the 8 comparisons that the study is about, pada against step-matched vanilla and each other method;" in said
    assert "of the other 12 for these" in said


def test_what_a_design_sees_under_holm_is_what_it_sees_at_a_share_of_the_level(facts):
    results = compare(facts)
    (sight,) = [s for s in results.sights if s.task == "squad"]
    noise = pooled([c.found.noise for c in results.comparisons if (c.task, c.baseline) == ("squad", MATCHED)])
    assert sight.sees == pytest.approx(design_power(200, 3, noise, 0.05))
    assert sight.sees_first == pytest.approx(design_power(200, 3, noise, 0.05 / 8)), "8 comparisons are what the study is about"


def test_means_over_tasks_are_those_of_the_statistics(facts, text):
    ours, theirs = (
        {task: scores(facts, task, 300, *of) for task in TASKS} for of in (("pada", "iteration-1"), ("vanilla", "vanilla"))
    )
    expected = macro(ours, theirs, {task: {} for task in TASKS}, dict.fromkeys(TASKS, 0.0))
    (row,) = [r for r in table(text, "Over all tasks") if r[:3] == ["300", "pada", "vanilla"]]
    assert row[3].startswith(f"{100 * expected.gain.mean:+.1f};")
    assert row[5].startswith(f"{100 * expected.relative_gain.mean:+.1f};")


def test_groups_guessing_and_confidence_are_those_of_the_tasks():
    whole = made_up(ACCURACY, TASKS, rows=80)
    groups = {str(i): f"g{i // 4}" for i in range(80)}
    rows = {
        split: of.model_copy(update={"groups": [f"g{i // 4}" for i in range(len(of.ids))]})
        for split, of in whole.tasks["sql"].rows.items()
    }
    tasks = {t: of.model_copy(update={"rows": rows, "chance": 0.25, "confidence": 0.8}) for t, of in whole.tasks.items()}
    whole = whole.model_copy(update={"tasks": tasks})
    results, of = compare(whole), (("auggpt", "iteration-1"), ("vanilla", "vanilla"))
    ours, theirs = ({task: scores(whole, task, 300, *one) for task in TASKS} for one in of)
    where = (300, "auggpt", "vanilla")
    (found,) = [c.found for c in results.comparisons if (c.regime, c.method, c.baseline, c.task) == (*where, "squad")]
    assert found == compare_cells(ours["squad"], theirs["squad"], groups, 0.8)
    (over,) = [o.found for o in results.over_tasks if (o.regime, o.method, o.baseline) == where]
    assert over == macro(ours, theirs, dict.fromkeys(TASKS, groups), dict.fromkeys(TASKS, 0.25), 0.8)
    (cell,) = [a.cell for a in results.accuracies if (a.task, a.row) == ("squad", "auggpt")]
    assert cell == summarise_cell(ours["squad"], 0.8, groups)
    (gaps,) = [g.by_iteration for g in results.gaps if (g.task, g.method) == ("squad", "auggpt")]
    starts = [c.model("vanilla") for c in whole.cells if (c.task, c.method) == ("squad", "vanilla")]
    shares = [{split: m.outcomes[split].count("1") / len(m.outcomes[split]) for split in m.outcomes} for m in starts]
    assert gaps[0].gap.mean == pytest.approx(sum(s["validation"] - s["test"] for s in shares) / 3)
    text = markdown(results)
    assert "- sql: 80 test rows, exact match, 25.0 % by guessing; 80 % intervals." in text
    (row,) = [r for r in table(text, "Over all tasks") if r[:3] == ["300", "auggpt", "vanilla"]]
    assert row[6].startswith(f"{100 * over.chance_corrected_gain.mean:+.1f}; ")


def test_what_is_shipped_has_a_row_of_its_own(facts):
    cell = next(c for c in facts.cells if c.name == "sql/300/seed-1/pada")
    results = compare(with_cell(facts, cell.model_copy(update={"shipped": "vanilla"})))
    rows = {a.row: a.cell.by_seed for a in results.accuracies if (a.task, a.regime) == ("sql", 300)}
    assert rows["pada, shipped"] == {**rows["pada"], 1: rows["vanilla"][1]} != rows["pada"]


def test_a_method_that_a_task_lacks_has_no_mean_over_tasks(facts):
    left = [c for c in facts.cells if (c.task, c.method) != ("squad", "auggpt")]
    text = markdown(compare(facts.model_copy(update={"cells": left})))
    means = {row[1]: row[4:] for row in table(text, TABLE_1)[1:6]}
    assert means["auggpt"] == ["-", "-"] and "-" not in means["pada"]
    assert {row[1] for row in table(text, "Over all tasks")[1:]} == {"pada"}


def test_counts_leaks_and_power_are_told(text):
    assert table(text, "Synthetic rows and what they cost")[1] == [
        *("300", "sql", "pada", "150", "5", "190", "120", "20", "70"),
        *("40", "50.0 / 9.0", "30", "20.0 / 1.0", "0.75"),
    ]
    assert table(text, "Leakage")[:2] == [
        ["rows", "task", "method", "texts redrafted", "leak", "not new"],
        ["300", "sql", "pada", "6", "9", "201"],
    ]
    assert "sql: rows left out because a split used later has them too: 4 train." in text
    assert [row[:3] for row in table(text, SIGHT)[1:]] == [["sql", "200", "3"], ["squad", "200", "3"]]
    gaps = table(text, "Validation minus test, by iteration")
    assert gaps[0][3:] == ["start", "iteration 1"] and len(gaps) == 1 + 2 * 2 * 2


def test_outputs_without_an_answer_and_collapse_are_told(facts):
    cell = next(c for c in facts.cells if (c.task, c.regime, c.seed, c.method) == ("sql", 300, 1, "pada"))
    same = cell.model_copy(update={"models": [m.model_copy(update={"collapsed": ["test"]}) for m in cell.models]})
    rows = table(markdown(compare(with_cell(facts, same))), "Outputs without an answer, and collapse")
    row = next(r for r in rows if "pada" in r)
    invalid = sum(s.count("x") for s in outcomes(facts, "pada")) / 600
    assert row == ["300", "sql", "pada", f"{100 * invalid:.1f} %", "seed 1"]


def outcomes(facts, method):
    cells = [c for c in facts.cells if (c.task, c.regime, c.method) == ("sql", 300, method)]
    return [c.models[0].outcomes["test"] for c in cells]


def with_cell(facts, cell):
    cells = [cell if c.name == cell.name else c for c in facts.cells]
    return facts.model_copy(update={"cells": cells})


def test_a_method_that_trained_nothing_counts_as_vanilla_and_is_named(facts):
    cell = next(c for c in facts.cells if c.name == "sql/300/seed-2/pada")
    nothing = cell.model_copy(update={"models": [], "shipped": "vanilla", "ended": "nothing to learn from"})
    results = compare(with_cell(facts, nothing))
    (ours,) = [a for a in results.accuracies if (a.task, a.regime, a.row) == ("sql", 300, "pada")]
    (vanilla,) = [a for a in results.accuracies if (a.task, a.regime, a.row) == ("sql", 300, "vanilla")]
    assert ours.cell.by_seed[2] == vanilla.cell.by_seed[2]
    assert results.notes == ["sql/300/seed-2/pada: no iteration was trained (nothing to learn from); vanilla stands in for it."]


def test_cells_that_are_missing_are_in_no_mean_and_said_to_be(facts):
    cells = [c for c in facts.cells if c.name != "sql/300/seed-2/pada"]
    failed = [Failure(cell="sql/300/seed-2/pada", line="no room")]
    text = markdown(compare(facts.model_copy(update={"cells": cells, "failed": failed})))
    (row,) = [r for r in table(text, TABLE_1) if r[:2] == ["300", "pada"]]
    assert row[2].endswith("; 2 of 3 seeds)") and not row[3].endswith("seeds)")
    assert "- sql/300/seed-2/pada: failed: no room" in text


def test_fewer_training_rows_than_asked_for_are_said(facts):
    cell = next(c for c in facts.cells if c.name == "sql/300/seed-0/vanilla")
    notes = compare(with_cell(facts, cell.model_copy(update={"train_rows": 220}))).notes
    assert notes == ["sql: it has 220 training rows; 300 were asked for."]


def test_a_study_with_nothing_in_it_yet_has_tables_too():
    text = markdown(compare(StudyFacts(methods=["pada"], seeds=[0], regimes={"sql": [300]})))
    assert text.startswith("# Study of nothing yet")


def test_rows_that_are_all_of_one_group_are_an_error_of_the_data(facts):
    rows = {split: of.model_copy(update={"groups": ["one"] * len(of.ids)}) for split, of in facts.tasks["sql"].rows.items()}
    one = TaskFacts(rows=rows)
    with pytest.raises(InputError, match=r"test rows cannot be compared: .* at least two groups"):
        compare(facts.model_copy(update={"tasks": {**facts.tasks, "sql": one}}))


def test_one_seed_and_one_task_have_no_spread_and_no_mean_over_tasks():
    text = markdown(compare(made_up({**ACCURACY}, {"sql": 0.0}, seeds=(4,))))
    assert table(text, TABLE_1)[0] == ["rows", "method", "sql"]
    assert "Over all tasks" not in text
    assert not [row for row in table(text, TABLE_1) if " ± " in row[2]]
    titles, *rows = table(text, "By seed")
    assert titles == ["rows", "task", "model", "mean", "SD", "seed 4"]
    assert "pada, shipped" in {row[2] for row in rows} and {row[4] for row in rows} == {"-"}


def test_what_cannot_be_seen_is_said_and_models_that_never_differ_say_nothing_of_it():
    few = compare(made_up(ACCURACY, {"sql": 0.0}, rows=4))
    assert few.sights[0].sees_first is None
    assert table(markdown(few), SIGHT)[1][4] == "none"
    assert compare(made_up(dict.fromkeys(ACCURACY, 0.0), {"sql": 0.0})).sights == []


def test_ten_methods_three_tasks_three_seeds_and_500_rows_are_below_five_megabytes():
    methods = {f"method-{n}": 0.5 for n in range(10)}
    facts = made_up({**ACCURACY, **methods}, {"a": 0, "b": 0, "c": 0}, rows=500, regimes=(300, 600, 1000), iterations=3)
    assert sum(isinstance(c, CellFacts) for c in facts.cells) == 13 * 3 * 3 * 3
    assert len(facts.model_dump_json(exclude_defaults=True)) < 5e6


def test_a_graded_task_is_compared_by_its_grades(facts):
    """Verdicts are the same for all models: only grades tell them apart."""
    grades = {"untuned": 0.1, "vanilla": 0.2, "step-matched": 0.25, "iteration-1": 0.4}

    def graded(cell):
        if cell.task != "sql":
            return cell
        models = [
            m.model_copy(
                update={
                    "outcomes": {split: "0" * len(found) for split, found in m.outcomes.items()},
                    "grades": {s: [grades[m.name] + (i % 7) / 100 for i in range(len(o))] for s, o in m.outcomes.items()},
                }
            )
            for m in cell.models
        ]
        return cell.model_copy(update={"models": models})

    tasks = facts.tasks | {"sql": facts.tasks["sql"].model_copy(update={"graded": True})}
    found = facts.model_copy(update={"cells": [graded(c) for c in facts.cells], "tasks": tasks})
    results = compare(StudyFacts.model_validate_json(found.model_dump_json()))
    pada = next(c for c in results.comparisons if (c.task, c.method, c.baseline) == ("sql", "pada", MATCHED))
    assert pada.found.difference.mean == pytest.approx(0.15) and pada.found.p_rows == pytest.approx(2 / 10_000)
    note = "sql: its answers are graded: models are compared by their mean score, with permutation tests."
    both, right = markdown(results), markdown(compare(facts))
    assert results.notes.count(note) == 1 and note in both
    assert note not in right
    for text, measure, test in (
        (both, "accuracy or mean score", "McNemar's or the permutation test's"),
        (right, "accuracy", "McNemar's"),
    ):
        assert f"Table 1. {measure.capitalize()} by" in text and text.count(f"Test {measure} in percent") == 2
        assert f"Of each seed alone: {test} p," in text
    alone = results.study.model_copy(update={"tasks": {"sql": results.study.tasks["sql"]}, "cells": []})
    assert alone.measure == "mean score" == alone.tasks["sql"].measure
    assert "- sql: 200 test rows, mean score; " in both and "- sql: 200 test rows, exact match; " in right
