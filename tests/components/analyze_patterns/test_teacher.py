"""What the teacher is asked for as analyst, and what is made of its replies. No model is needed."""

from pathlib import Path

import pytest

from pada_agent.components.analyze_patterns.grounding import Dossier
from pada_agent.components.analyze_patterns.teacher import Explanation, draft_strategy, explain, name_pattern
from pada_agent.components.core.records import Analysis, Prediction, Score
from pada_agent.components.core.settings import AnalyzeSettings
from pada_agent.components.core.tasks.registry import load_task

SHOP = Path(__file__).parents[3] / "pipelines" / "examples" / "text_to_sql" / "shop.sql"
TASK = load_task("text_to_sql", {"database": str(SHOP)})
ROW = {"question": "How many customers are there?", "sql": "SELECT COUNT(*) FROM customers", "family": ""}
WRONG = Score(correct=False, valid=True)
FAILURE = Prediction(
    id="v-1",
    split="validation",
    prompt="p",
    output="SELECT 1",
    reference=ROW["sql"],
    score=Score(correct=False, valid=True),
    fields=ROW,
)
DOSSIER = Dossier([Analysis(row_id="v-1", root_cause="Counts nothing.", scenario="Counts")], [], ["COUNT"], 9)


def requests(detail):
    settings = AnalyzeSettings(detail=detail)
    return {
        "explain": explain(TASK, FAILURE, settings, "1"),
        "name": name_pattern(TASK, DOSSIER, settings, "1", "", 0),
        "draft": draft_strategy(TASK, DOSSIER, None, settings, "1", "", 0),
    }


@pytest.mark.parametrize(
    ("detail", "what", "lengths"),
    [
        ("brief", "explain", {"difference": 200, "root_cause": 200, "scenario": 160}),
        ("brief", "name", {"category_name": 60, "pattern": 240}),
        ("brief", "draft", {"strategy": 360}),
        ("full", "explain", {"difference": 400, "root_cause": 400, "scenario": 240}),
        ("full", "name", {"category_name": 60, "pattern": 600}),
        ("full", "draft", {"strategy": 1600}),
    ],
)
def test_texts_are_asked_for_in_their_order_and_with_a_bound(detail, what, lengths):
    asked = requests(detail)[what].schema
    assert asked == {
        "type": "object",
        "properties": {name: {"type": "string", "minLength": 1, "maxLength": n} for name, n in lengths.items()},
        "required": list(lengths),
        "additionalProperties": False,
    }
    assert list(asked["properties"]) == list(lengths)


def test_a_strong_teacher_plans_kinds_traps_and_difficulty_a_small_one_two_sentences():
    assert AnalyzeSettings().detail == "full"
    system = {detail: requests(detail)["draft"].messages[0]["content"] for detail in ("full", "brief")}
    assert "two short sentences" in system["brief"] and "traps" not in system["brief"]
    for part in ("must practise", "kinds", "vary", "traps", "difficulty"):
        assert part in system["full"]
    for text in system.values():
        assert "General words only" in text.splitlines()[-1]
    named = {detail: requests(detail)["name"].messages[0]["content"] for detail in ("full", "brief")}
    assert "one short sentence" in named["brief"] and "two to four sentences" in named["full"]


def test_an_answer_with_something_too_much_lacks_nothing():
    told = requests("full")["explain"].messages[0]["content"]
    assert "lacks, has wrong, or has too much" in told and '"missing"' not in told


@pytest.mark.parametrize(("detail", "most"), [("brief", 1500), ("full", 6000)])
def test_a_long_text_is_shown_without_its_middle(detail, most):
    squad = load_task("squad", {})
    fields = {"context": "Begin. " + "plain words " * 1000, "question": "What is plain here?", "answers": ["words"]}
    asked = explain(squad, FAILURE.model_copy(update={"fields": fields}), AnalyzeSettings(detail=detail), "1").messages[-1]
    told = asked["content"].partition("Model's answer:")[0]
    assert "Begin." in told and "What is plain here?" in told and abs(len(told) - most) < 60
    whole = {**fields, "context": "plain words " * (most // 13)}
    asked = explain(squad, FAILURE.model_copy(update={"fields": whole}), AnalyzeSettings(detail=detail), "1").messages[-1]
    assert whole["context"].strip() in asked["content"]


@pytest.mark.parametrize(("detail", "bound"), [("brief", 240), ("full", 600)])
def test_a_text_that_the_bound_cut_off_ends_with_its_last_whole_sentence(detail, bound):
    read = requests(detail)["name"].parse
    cut = ("Fails. " + "And of " * 100)[:bound]
    assert read({"category_name": " Group filters ", "pattern": cut}).pattern == "Fails."
    assert read({"category_name": " Group filters ", "pattern": "No mark" * 100}).category_name == "Group filters"
    assert read({"category_name": "x", "pattern": "Fails. Four in ten are hard"}).pattern == "Fails. Four in ten are hard"


def test_a_longer_text_and_other_keys_are_taken_what_is_read_must_be_there():
    reply = Explanation.read({"difference": ["a", "b"], "root_cause": "x" * 900, "scenario": "y", "more": 1})
    assert len(reply.root_cause) == 900
    assert Explanation.read({"root_cause": "x", "scenario": "y"}).scenario == "y"
    for value, reason in (
        ({"root_cause": "x"}, "'scenario' is missing"),
        ({"root_cause": " ", "scenario": "y"}, "root_cause: "),
        ({"root_cause": 7, "scenario": "y"}, "root_cause: "),
        (["x"], "must be a JSON object"),
    ):
        with pytest.raises(ValueError, match=reason) as told:
            Explanation.read(value)
        assert "\n" not in str(told.value)
