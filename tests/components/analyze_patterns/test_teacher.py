"""What the teacher is asked for as analyst, and what is made of its replies. No model is needed."""

import pytest

from pada_agent.components.analyze_patterns.teacher import Explanation, PatternName, StrategyText


@pytest.mark.parametrize(
    ("reply", "lengths"),
    [
        (Explanation, {"missing": 200, "root_cause": 200, "scenario": 160}),
        (PatternName, {"category_name": 60, "pattern": 240}),
        (StrategyText, {"strategy": 360}),
    ],
)
def test_texts_are_asked_for_in_their_order_and_with_a_bound(reply, lengths):
    asked = reply.schema_asked()
    assert asked == {
        "type": "object",
        "properties": {name: {"type": "string", "minLength": 1, "maxLength": n} for name, n in lengths.items()},
        "required": list(lengths),
        "additionalProperties": False,
    }
    assert list(asked["properties"]) == list(lengths)


def test_a_text_that_the_bound_cut_off_ends_with_its_last_whole_sentence():
    assert PatternName.read({"category_name": " Group filters ", "pattern": "Fails. And of"}).pattern == "Fails."
    assert PatternName.read({"category_name": " Group filters ", "pattern": "No mark"}).category_name == "Group filters"


def test_a_longer_text_and_other_keys_are_taken_what_is_read_must_be_there():
    reply = Explanation.read({"missing": ["a", "b"], "root_cause": "x" * 900, "scenario": "y", "more": 1})
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
