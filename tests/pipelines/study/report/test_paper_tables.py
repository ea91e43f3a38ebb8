"""The paper's tables of a made-up study: what stands in them, and beside what the paper's numbers do."""

import pytest
from study_facts import made_up

from pada_agent.pipelines.study.compare import compare
from pada_agent.pipelines.study.outcomes import StudyFacts
from pada_agent.pipelines.study.report.lines import Cell, Row, sections
from pada_agent.pipelines.study.report.paper import paper
from pada_agent.pipelines.study.report.paper_tables import table_1, table_2, table_3
from pada_agent.pipelines.study.report.patterns import pattern_runs, patterns_left

ACCURACY = {"untuned": 0.1, "vanilla": 0.3, "step-matched": 0.3, "pada": 0.5, "auggpt": 0.4, "pada_without_patterns": 0.35}
PAPERS_TASKS = dict.fromkeys(("squad", "arc_challenge", "hellaswag", "gsm8k"), 0.0)
PAPERS_SLM = "meta-llama/Llama-3.2-1B-Instruct"


def results(tasks=PAPERS_TASKS, slm=PAPERS_SLM, regimes=(600,), accuracy=ACCURACY, **more):
    return compare(made_up(accuracy, tasks, rows=60, seeds=(0, 1), regimes=regimes, slm=slm, **more))


def cells(lines):
    """By method: the cells of its row after the first two."""
    return {line.whole[1].text: line.whole[2:] for line in lines if isinstance(line, Row)}


def sentences(lines):
    (section,) = sections(lines)
    return " ".join(block for block in section.blocks if isinstance(block, str))


def papers(cell: Cell):
    return [text for text in cell.beside if text.startswith("paper")]


def test_of_graded_answers_the_tables_say_mean_score():
    study = results(tasks={"notes": 0.0}).study
    graded = {name: task.model_copy(update={"graded": True}) for name, task in study.tasks.items()}
    found = compare(study.model_copy(update={"tasks": graded}))
    for table in (table_1, table_2):
        assert sentences(table(found)).startswith("Test mean score in percent")
    assert next(line.text for line in table_1(found)) == "Table 1. Mean score by training size and method"


def test_the_papers_numbers_stand_beside_those_of_the_same_setting_only():
    rows = cells(table_1(results()))
    assert "pada_without_patterns" not in rows
    arc, hellaswag = 1, 2
    assert papers(rows["vanilla"][arc]) == papers(rows["pada"][arc]) == ["paper 50.5"]
    assert papers(rows["auggpt"][arc]) == ["paper 51.2"] and papers(rows["vanilla"][hellaswag]) == ["paper 21.6"]
    assert papers(rows["step-matched vanilla"][arc]) == papers(rows["pada"][hellaswag]) == []
    assert papers(rows["pada"][5]) == ["paper +26.5"] and papers(rows["auggpt"][5]) == ["paper +11.5"]
    assert "of one run each" in sentences(table_1(results()))


@pytest.mark.parametrize(("regime", "hellaswag", "averaged"), [(300, "24.6", "+16.5"), (1000, "24.2", "+32.0")])
def test_the_papers_numbers_are_those_of_the_same_training_size(regime, hellaswag, averaged):
    rows = cells(table_1(results(regimes=(regime,))))
    assert papers(rows["vanilla"][2]) == [f"paper {hellaswag}"] and papers(rows["pada"][5]) == [f"paper {averaged}"]
    assert papers(rows["pada"][1]) == [], "a cell that could not be obtained"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"slm": "SmolLM2-135M"}, "squad: the paper fine-tuned Llama-3.2-1B-Instruct, this study SmolLM2-135M;"),
        ({"regimes": (0,)}, "gsm8k: the paper has no training size all; it has 300, 600, 1000."),
        ({"tasks": {"text_to_sql": 0.0, "custom": 0.0}}, "Not a task of the paper: text_to_sql, custom."),
    ],
)
def test_another_setting_has_a_sentence_in_place_of_numbers(changed, said):
    lines = list(table_1(results(**changed)))
    assert said in sentences(lines) and "one run each" not in sentences(lines)
    assert not [cell for row in cells(lines).values() for cell in row if papers(cell)]


def test_an_average_over_other_tasks_is_not_comparable():
    lines = list(table_1(results(tasks={"squad": 0.0, "arc_challenge": 0.0})))
    rows = cells(lines)
    assert papers(rows["pada"][1]) == ["paper 50.5"] and papers(rows["pada"][-1]) == []
    assert "Its averaged gain is over ARC-Challenge, GSM8K, HellaSwag, SQuAD; this study has other tasks" in sentences(lines)


def test_the_base_model_is_the_papers_wherever_it_lies():
    facts = made_up(ACCURACY, {"squad": 0.0}, rows=20).tasks["squad"]
    for slm, same in [
        (PAPERS_SLM, True),
        ("/models/llama-3.2-1b-instruct/", True),
        ("Llama-3.2-3B-Instruct", False),
        ("", False),
    ]:
        assert paper().same_model(facts.model_copy(update={"slm": slm})) is same, slm


def test_a_gain_in_the_paper_is_its_own_arithmetic():
    """The abstract's 6.6, 8.5 and 9.2 points are differences of these averages, ours minus LLMs-as-Instructors."""
    gains = [round(of["pada"] - of["learning_from_error"], 1) for of in paper().averaged.values()]
    assert gains == [6.6, 8.5, 9.2]


def test_ablations_stand_beside_the_whole_method():
    found = results()
    rows = cells(table_2(found))
    assert list(rows) == ["pada", "pada_without_patterns"]
    (c,) = [c for c in found.comparisons if (c.task, c.method, c.baseline) == ("squad", "pada", "pada_without_patterns")]
    mean, low, high = (100 * -x for x in (c.found.difference.mean, c.found.difference.high, c.found.difference.low))
    assert rows["pada_without_patterns"][0].beside[0] == f"{mean:+.1f}; {low:+.1f} to {high:+.1f}"
    assert mean < 0 and rows["pada"][0].beside == ()
    assert not [cell for row in rows.values() for cell in row if papers(cell)], "nor those of Table 1"
    assert "39.0 on HellaSwag, 52.6 on ARC-Challenge" in sentences(table_2(found))


def test_a_study_without_ablations_says_so():
    accuracy = {name: share for name, share in ACCURACY.items() if name != "pada_without_patterns"}
    assert "no method whose name begins with pada_" in sentences(table_2(results(accuracy=accuracy)))


def test_examples_are_the_largest_pattern_of_the_first_and_the_last_iteration():
    rows = [line.cells for line in table_3(results(tasks={"squad": 0.0}, iterations=3)) if isinstance(line, Row)]
    assert [row[2:4] for row in rows] == [("1", "7"), ("3", "7")]
    assert rows[1][4:] == ("Joins: What fails of iteration 3.", "Write of iteration 3.")
    assert "No run of this study has found a pattern" in sentences(
        table_3(compare(StudyFacts(methods=["pada"], seeds=[0], regimes={})))
    )


def test_failures_left_are_counted_from_the_verdicts():
    found = results(tasks={"squad": 0.0}, iterations=2)
    (run,) = pattern_runs(found)
    assert (run.cell.method, run.cell.seed) == ("pada", 0)
    wrong = {m.iteration: m.outcomes["validation"] for m in run.cell.iterations}
    first, _, third, _ = run.left
    assert first.failing[0] == third.failing[1] == 7 and 0 not in third.failing
    at = [int(row.removeprefix("validation-")) for row in first.pattern.rows]
    assert first.failing[2] == sum(wrong[2][i] != "1" for i in at)
    assert run.failures[1] == sum(verdict != "1" for verdict in wrong[1])
    rows = [line.cells for line in patterns_left(found) if isinstance(line, Row)]
    assert rows[2][3:] == ("Joins", "iteration 2", "", "7", str(third.failing[2]))
    assert rows[-1][3:] == ("all failures, in a pattern or not", "", *(str(run.failures[k]) for k in range(3)))
