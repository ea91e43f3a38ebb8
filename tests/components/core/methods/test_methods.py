"""What holds for each method of the registry, and the rules of single ones."""

import json
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pada_agent.components.core.methods.llm2llm import Unlike, rouge_l
from pada_agent.components.core.methods.method import FromRow, Method, load_method
from pada_agent.components.core.methods.random_strategy import RandomStrategy
from pada_agent.components.core.methods.registry import METHODS
from pada_agent.components.core.prompts import package_prompts
from pada_agent.components.core.records import TrainRow
from pada_agent.components.core.settings import AnalyzePatterns, AnalyzeSettings, ControlSettings, GenerateSettings, PlannedFor
from pada_agent.components.core.tasks.registry import load_task

TEXT_TO_SQL = Path(__file__).parents[4] / "pipelines" / "examples" / "text_to_sql"
SQL = load_task("text_to_sql", {"database": str(TEXT_TO_SQL / "shop.sql")})
TRAIN = [TrainRow(id=f"t{i}", fields=SQL.read(json.loads(line))) for i, line in enumerate((TEXT_TO_SQL / "train.jsonl").open())]
FROM_ROWS = [name for name in METHODS if isinstance(load_method(name), FromRow)]


@pytest.mark.parametrize("name", METHODS)
def test_each_method_is_the_class_of_its_file_and_asks_by_a_prompt_that_is_there(name):
    method = load_method(name)
    assert isinstance(method, Method) and type(method).__module__ == f"pada_agent.components.core.methods.{name}"
    assert import_module(type(method).__module__).__doc__
    if isinstance(method, FromRow) and method.prompt:
        assert package_prompts()[f"{method.prompt}.txt"] == "generate_data"
    assert GenerateSettings(method=name).method == name


def test_every_file_of_a_method_is_in_the_registry():
    folder = Path(import_module("pada_agent.components.core.methods.method").__file__).parent
    assert {f.stem for f in folder.glob("*.py")} - {"__init__", "method", "registry"} == set(METHODS)


def test_an_unknown_method_is_refused_with_those_that_there_are():
    with pytest.raises(ValidationError, match="there is no method 'augpt'; there are pada, random_strategy, auggpt"):
        GenerateSettings(method="augpt")


def test_the_analysis_is_told_of_the_method_and_whether_patterns_are_of_use_and_no_more():
    whole = GenerateSettings(method="auggpt", pattern_share=0).model_dump()
    assert PlannedFor.values(whole) == {"method": "auggpt", "patterns": False}
    assert PlannedFor.values(GenerateSettings(pattern_share=0.1, share=2).model_dump()) == PlannedFor().model_dump()
    assert AnalyzePatterns.model_fields["generate"].annotation.model_validate(whole).patterns is False


@given(st.sampled_from(FROM_ROWS), st.integers(0, 300), st.integers(0, 400), st.integers(1, 9), st.integers(1, 9))
def test_all_rows_are_asked_for_and_no_more(name, rows, origins, batch, per_row):
    sizes = load_method(name).sizes(rows, origins, GenerateSettings(method=name, batch=batch, per_row=per_row))
    assert sum(sizes) == (rows if origins else 0) and all(size > 0 for size in sizes)


@pytest.mark.parametrize(("errors", "sizes"), [(2, [5, 5]), (5, [2] * 5), (30, [1] * 10), (1, [5, 5])])
def test_learning_from_error_spreads_the_rows_over_the_errors(errors, sizes):
    assert load_method("learning_from_error").sizes(10, errors, GenerateSettings(batch=5)) == sizes


def test_copies_are_of_as_many_rows_as_there_are():
    assert load_method("duplicate").sizes(3, 9, GenerateSettings(per_row=6)) == [1, 1, 1]


def test_random_strategies_aim_at_what_training_rows_have_and_at_no_failure():
    settings = AnalyzeSettings(seeds=4)
    first, again, later = (RandomStrategy().strategies(SQL, TRAIN, settings, i, 0) for i in (1, 1, 2))
    assert first == again and [s.text for s in first] != [s.text for s in later]
    assert 1 < len(first) <= 6 and len({s.pattern_name for s in first}) == len(first)
    features = {r.id: SQL.features(r.fields) for r in TRAIN}
    for strategy in first:
        (aim,) = strategy.features
        assert aim in strategy.text and 0 < len(strategy.seed_ids) <= 4
        assert all(aim in features[i] for i in strategy.seed_ids), "training rows that show it"
    drawn = {s.pattern_name for i in range(1, 40) for s in RandomStrategy().strategies(SQL, TRAIN, settings, i, 0)}
    assert len(drawn) > 10


def test_where_rows_have_no_features_there_is_one_aim_the_task():
    task = load_task("custom", {"prompt": "q", "answer": "a", "scorer": "exact", "description": "d"})
    rows = [TrainRow(id=f"t{n}", fields=task.read({"q": f"Question {n}", "a": "yes"})) for n in range(9)]
    (only,) = RandomStrategy().strategies(task, rows, AnalyzeSettings(), 1, 0)
    assert only.features == [] and "of this task" in only.text and len(only.seed_ids) == 9


def lcs(a, b):
    """Longest common subsequence, as the textbook has it."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


WORDS = st.lists(st.sampled_from("abcde"), min_size=1, max_size=12)


@given(WORDS, WORDS)
def test_rouge_l_is_the_f1_of_the_longest_common_subsequence(a, b):
    precision, recall = lcs(a, b) / len(a), lcs(a, b) / len(b)
    assert rouge_l(a, b) == pytest.approx(2 * precision * recall / (precision + recall) if precision + recall else 0)


def test_llm2llm_takes_no_question_that_differs_in_a_word_or_two():
    task = load_task("gsm8k", {})
    known = " ".join(f"word{n}" for n in range(30))
    rule = Unlike(task)
    assert rule.twin({"question": known}) == ""
    rule.add({"question": known})
    assert "ROUGE-L 0.97" in rule.twin({"question": known.replace("word7", "Anna")})
    assert rule.twin({"question": known.replace("word7", "Anna").replace("word9", "Ben")}) == "", "0.93 is below 0.95"


def test_copies_are_put_to_no_quality_control():
    assert load_method("duplicate").checked_by(ControlSettings()).verdict == "none"
    assert load_method("auggpt").checked_by(ControlSettings()) == ControlSettings()
    without = ControlSettings(verdict="none", solve="vote")
    assert (without.asked, without.solutions, without.judges) == ((), 0, False)
