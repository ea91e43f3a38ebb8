"""What the teacher is asked to write."""

import json
from functools import partial

import pytest
from pydantic import BaseModel

from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.generate_data.samples import items_asked, read_each, read_items


class Step(BaseModel):
    text: str


class Nested(BaseModel):
    """For programmers."""

    title: str
    steps: list[Step]


@pytest.mark.parametrize("name", ["gsm8k", "squad", "humaneval", "arc_challenge"])
def test_the_schema_is_that_of_the_tasks_samples_so_many_of_them(name):
    task = load_task(name, {})
    asked = items_asked(task.Sample, 3)
    items = asked["properties"]["items"]
    assert (items["minItems"], items["maxItems"], asked["required"]) == (3, 3, ["items"])
    own = task.Sample.model_json_schema()
    assert list(items["items"]["properties"]) == list(own["properties"])
    assert items["items"]["required"] == own["required"] and items["items"]["additionalProperties"] is False
    bounds = {"type", "minLength", "maxLength", "description"}
    for key, wanted in own["properties"].items():
        given = items["items"]["properties"][key]
        assert {k: v for k, v in given.items() if k in bounds} == {k: v for k, v in wanted.items() if k in bounds}


def test_what_servers_grammars_do_not_know_is_not_in_it(monkeypatch):
    task = load_task("gsm8k", {})
    monkeypatch.setattr(task, "Sample", Nested, raising=False)
    asked = items_asked(task.Sample, 2)
    text = json.dumps(asked)
    assert "$ref" not in text and "$defs" not in text and "programmers" not in text
    item = asked["properties"]["items"]["items"]
    assert item["properties"]["title"] == {"type": "string"}, "a field may be called title"
    assert item["properties"]["steps"]["items"]["properties"] == {"text": {"type": "string"}}


def test_a_bare_list_is_taken_for_the_items_and_no_items_are_no_reply():
    task = load_task("gsm8k", {})
    assert len(read_items([{"question": 1}], task.Sample, lambda s: task.fields_of(s, {}), 3).refused) == 1
    for value in ({"items": []}, {}, "x", []):
        with pytest.raises(ValueError):
            read_items(value, task.Sample, lambda s: task.fields_of(s, {}), 3)


def test_each_answer_gets_its_own_question_or_the_reply_is_asked_for_again():
    task = load_task("gsm8k", {})
    makers = [partial(task.with_question, {"answer": f"#### {n}"}) for n in (1, 2)]
    questions = [{"question": f"How many are there in the box number {n} of the shop?"} for n in (1, 2)]
    rows = read_each({"items": questions}, task.Question, makers, all_of_them=True).rows
    assert [row["answer"] for row in rows] == ["#### 1", "#### 2"]
    assert ["number 1" in rows[0]["question"], "number 2" in rows[1]["question"]] == [True, True]
    one_bad = read_each({"items": [{"question": ""}, questions[1]]}, task.Question, makers, all_of_them=True)
    assert [row["answer"] for row in one_bad.rows] == ["#### 2"] and len(one_bad.refused) == 1
    for few in (questions[:1], [*questions, *questions]):
        with pytest.raises(ValueError, match="2 are needed, one for each answer"):
            read_each({"items": few}, task.Question, makers, all_of_them=True)
