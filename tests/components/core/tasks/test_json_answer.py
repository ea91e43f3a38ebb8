"""JSON answers and tool calls: what is the same, what differs and how that is told, and what is no answer."""

import json
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Score
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.task import CodeRunner, Task

GOLD = {"name": "Ann", "age": 30, "tags": ["a", "b"], "address": {"city": "Oslo", "zip": None}}
CALL = {"name": "weather", "arguments": {"city": "Oslo", "days": 2}}
CALLS = [CALL, {"name": "news", "arguments": {}}]
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def load(**more: Any) -> Task:
    return load_task("custom", {"prompt": "q", "answer": "a", "scorer": "json", "description": "d", **more})


def no_code(program: str, seconds: float) -> Any:
    raise AssertionError("this task runs no code")


def scored(answer: Any, output: Any, **more: Any) -> Score:
    task = load(**more)
    text = output if isinstance(output, str) else json.dumps(output)
    return task.score(task.read({"q": "Extract.", "a": answer}), text, no_code)


@pytest.mark.parametrize(
    "output",
    [
        json.dumps(GOLD),
        json.dumps(GOLD, indent=2),
        '{"age": 30.0, "address": {"city": "Oslo"}, "tags": ["a", "b"], "name": "Ann"}',
        '{"age": 3e1, "address": {"city": "Oslo", "zip": null}, "tags": ["a", "b"], "name": "\\u0041nn", "pet": null}',
        f"```json\n{json.dumps(GOLD)}\n```",
        f"Here it is:\n```\n{json.dumps(GOLD, indent=1)}\n```\nAnything else?",
        f"```json\n{{}}\n```\nNo:\n```json\n{json.dumps(GOLD)}\n```",
        f"First {{}}, but the answer is {json.dumps(GOLD)} [1]",
        f"<think>{{}}</think>{json.dumps(GOLD)}",
    ],
)
def test_the_same_answer(output: str) -> None:
    assert scored(GOLD, output).correct
    assert scored(json.dumps(GOLD), output).correct  # kept as a text in the data


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"name": "Bob"}, 'name: "Bob" instead of "Ann"'),
        ({"age": 31}, "age: 31 instead of 30"),
        ({"age": "30"}, 'age: "30" instead of 30'),
        ({"age": True}, "age: true instead of 30"),
        ({"age": None}, "'age' is missing"),
        ({"pet": "cat"}, "'pet' is not asked for"),
        ({"tags": ["b", "a"]}, 'tags: "b" instead of "a"; tags: "a" instead of "b"'),
        ({"tags": ["a"]}, "tags: 1 items instead of 2"),
        ({"tags": "a"}, 'tags: "a" instead of ["a", "b"]'),
        ({"address": {"city": "Rome"}}, 'address.city: "Rome" instead of "Oslo"'),
    ],
)
def test_what_differs_is_told(change: dict[str, Any], detail: str) -> None:
    found = scored(GOLD, GOLD | change)
    assert (found.correct, found.valid, found.detail) == (False, True, detail)


def test_one_and_true_are_two_values_and_digits_are_not_lost() -> None:
    assert not scored({"x": 1}, '{"x": true}').correct
    assert not scored({"x": True}, '{"x": 1}').correct
    assert not scored('{"x": 9007199254740993}', '{"x": 9007199254740992}').correct
    assert scored('{"x": 0.1}', '{"x": 0.10}').correct
    assert not scored('{"x": 0.1}', '{"x": 0.10000000000000001}').correct


@pytest.mark.parametrize(
    ("output", "detail"),
    [
        ("", "empty"),
        ("Ann, 30", "no JSON in it"),
        ('{"name": "Ann",}', "Expecting|Illegal trailing comma"),
        ("{'name': 'Ann'}", "Expecting property name"),
        ('{"name": "Ann", "name": "Bob"}', "a key comes twice"),
        ('{"age": NaN}', "NaN is no JSON"),
        ('{"age": -Infinity}', "-Infinity is no JSON"),
        ("[" * 5000, "too deep|Expecting value"),
        ("[" * 500 + "]" * 500, "too deep"),
        ('{"age": 1e99999999999999999999}', ""),
        ('{"age": ' + "9" * 5000 + "}", ""),
        ('{"name": "Ann"', "Expecting"),
        ("```json\n{'a'}\n```", "Expecting"),
    ],
)
def test_invalid_json_is_no_answer(output: str, detail: str) -> None:
    found = scored(GOLD, output)
    assert not found.valid and not found.correct
    assert re.search(detail, found.detail), found.detail


def test_half_a_surrogate_pair_can_be_written_to_a_file() -> None:
    found = scored({"x": "a"}, '{"x": "\\ud83d"}')
    assert not found.correct
    found.model_dump_json().encode()


@pytest.mark.parametrize("part", ["{", "[", '{"a":', '{"a": 1, ', '["', "[[1],", "```json\n{", '"{'])
def test_no_output_takes_long(part: str) -> None:
    start = time.process_time()
    scored(GOLD, part * 20_000)
    assert time.process_time() - start < 3


@given(ANY)
def test_every_value_is_its_own_answer(value: Any) -> None:
    if value is not None:
        text = json.dumps(value)
        found = scored(text, f"```json\n{text}\n```")
        assert found.correct, found.detail


@given(st.text(alphabet='{}[]":,1eé a\\\n`', max_size=40))
def test_no_output_makes_it_fail(output: str) -> None:
    assert not scored(GOLD, output).correct


def test_only_the_fields_that_count() -> None:
    other = {"name": "Ann", "age": 31, "tags": [], "address": {"city": "Oslo", "zip": 1}, "pet": 1}
    assert not scored(GOLD, other).correct
    assert scored(GOLD, other, fields=["name", "address.city"]).correct
    assert not scored(GOLD, other, fields=["name", "address"]).correct
    assert scored(GOLD, other, ignored=["age", "tags", "address.zip", "pet"]).correct
    assert scored(GOLD, other, fields=["name", "address"], ignored=["address.zip"]).correct
    items = {"items": [{"id": 1, "price": 2}, {"id": 2, "price": 3}]}
    assert scored(items, {"items": [{"id": 7, "price": 2}, {"price": 3}]}, ignored=["items.id"]).correct
    assert not scored(items, {"items": [{"id": 7, "price": 2}, {"price": 4}]}, ignored=["items.id"]).correct


def test_free_text_is_compared_by_its_words() -> None:
    gold = {"city": "Oslo", "summary": "The museum is closed on Mondays."}
    told = {"city": "Oslo", "summary": "museum closed Mondays"}
    assert not scored(gold, told).correct
    assert scored(gold, told, free_text=["summary"]).correct
    assert not scored(gold, told, free_text=["summary"], threshold=0.9).correct
    assert not scored(gold, told | {"city": "oslo!"}, free_text=["summary"]).correct
    assert not scored(gold, {"city": "Oslo"}, free_text=["summary"]).correct


def openai(call: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": call["name"], "arguments": json.dumps(call["arguments"])}} | more


SHAPES: dict[str, Any] = {
    "bare": CALLS,
    "OpenAI, arguments as texts": [openai(call) for call in CALLS],
    "OpenAI, arguments as objects": [{"type": "function", "function": call} for call in CALLS],
    "a message": {"role": "assistant", "content": None, "tool_calls": [openai(call, index=0) for call in CALLS]},
    "the Responses API": [
        {"type": "function_call", "call_id": "x", "name": c["name"], "arguments": json.dumps(c["arguments"])} for c in CALLS
    ],
    "parameters": [{"name": c["name"], "parameters": c["arguments"]} for c in CALLS],
    "another order": CALLS[::-1],
    "tags": "\n".join(f"<tool_call>\n{json.dumps(call)}\n</tool_call>" for call in CALLS),
    "fences": "First:\n" + "\nthen:\n".join(f"```json\n{json.dumps(call)}\n```" for call in CALLS),
    "no arguments": [CALL, {"name": "news", "arguments": ""}],
}


@pytest.mark.parametrize("output", SHAPES.values(), ids=SHAPES)
def test_a_call_is_the_same_in_every_shape(output: Any) -> None:
    found = scored(CALLS, output)
    assert found.correct, found.detail
    if not isinstance(output, str):
        assert scored(output, CALLS).correct


@pytest.mark.parametrize(
    ("output", "detail"),
    [
        ([CALL], "does not call news"),
        ([*CALLS, CALL], "calls weather, which is not asked for"),
        (
            [CALLS[1], {"name": "weather", "arguments": {"city": "Rome", "days": 2}}, CALL],
            "calls weather, which is not asked for",
        ),
        ([CALL, {"name": "news", "arguments": {"n": 1}}], "news: 'arguments.n' is not asked for"),
        ([{"name": "weather", "arguments": {"city": "Oslo", "days": 3}}, CALLS[1]], "weather: arguments.days: 3 instead of 2"),
        ([CALL | {"name": "Weather"}, CALLS[1]], "does not call weather; calls Weather, which is not asked for"),
    ],
)
def test_calls_that_differ(output: Any, detail: str) -> None:
    found = scored(CALLS, output)
    assert (found.correct, found.valid, found.detail) == (False, True, detail)


@pytest.mark.parametrize(
    ("output", "detail"),
    [
        ({"name": "weather", "arguments": "{city: Oslo}"}, "the arguments of 'weather' are no JSON"),
        ({"name": "weather", "arguments": [1]}, "the arguments of 'weather' are no object"),
        ({"answer": "sunny"}, "no tool call in it"),
        ({"name": "weather", "parameters": {}, "description": "a definition, no call"}, "no tool call in it"),
        ("It is sunny.", "no JSON in it"),
    ],
)
def test_what_is_no_call(output: Any, detail: str) -> None:
    found = scored(CALLS, output)
    assert not found.valid and detail in found.detail


def test_the_same_call_twice_is_asked_for_twice() -> None:
    assert not scored([CALL, CALL], [CALL]).correct
    assert scored([CALL, CALL], [CALL, CALL]).correct


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ("Oslo", "a: 'Oslo' is not JSON"),
        (None, "a: is empty; fill it in, or leave the row out"),
        ({"tool_calls": []}, "a: has no tool call in it"),
        ('{"a": 1, "a": 2}', "twice"),
    ],
)
def test_rows_whose_answer_is_no_json(answer: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        load().read({"q": "Extract.", "a": answer})


def test_new_rows_and_blind_answers_may_be_values_or_texts() -> None:
    task = load()
    fields = task.read({"q": "Extract.", "a": GOLD})
    assert json.loads(task.target(fields)) == GOLD
    again = task.fields_of(task.Sample.model_validate({"q": "Extract.", "answer": GOLD}), fields)
    assert again == fields and task.verify(again, no_code) == ""
    assert task.fields_of(task.sample_of(fields), fields) == fields
    for given_answer in (GOLD, json.dumps(GOLD, indent=1)):
        assert task.agrees(fields, task.Solved.model_validate({"answer": given_answer}), no_code).correct
    assert not task.agrees(fields, task.Solved.model_validate({"answer": GOLD | {"age": 1}}), no_code).correct
    with pytest.raises(InputError, match="answer: 'Ann' is not JSON"):
        task.fields_of(task.Sample.model_validate({"q": "Extract.", "answer": "Ann"}), fields)


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"ignored": ["a"], "fields": ["a"]}, "ignored: 'a' is named"),
        ({"scorer": "exact", "fields": ["a"]}, "fields: belongs to scorer json"),
    ],
)
def test_options(more: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        load(**more)


def test_a_runner_is_never_needed(no_code: CodeRunner) -> None:
    task = load()
    assert task.score(task.read({"q": "x", "a": "[1]"}), "[1]", no_code).correct
