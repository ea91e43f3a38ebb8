"""What rows of common forms are taken for, by `custom` without named columns; and what is said of those that fit none."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from shape_files import FILES, complaint, long_chat, sums, topic, write

from pada_agent.components.backends.artifacts.row_sources import read_rows
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields
from pada_agent.components.core.tasks.multiple_choice import LETTERS
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.task import CodeRunner, Task

KINDS = {
    "columns": "columns: prompt from 'user query', answer from 'Category'",
    "excel": "columns: prompt from 'user query', answer from 'Category'",
    "gaps": "columns: prompt from 'context' and 'question', answer from 'label'",
    "chat": "OpenAI chat: the last turn of the assistant in 'messages' is the answer",
    "long_chat": "OpenAI chat: the last turn of the assistant in 'messages' is the answer",
    "sharegpt": "ShareGPT: the last turn of the assistant in 'conversations' is the answer",
    "alpaca": "Alpaca: prompt from 'instruction' and 'input', answer from 'output'",
    "worked": "columns: prompt from 'question', answer from 'answer'",
    "completions": "OpenAI chat: the last turn of the assistant in 'prompt' is the answer",
    "several": "columns: prompt from 'question', answer from 'answers'",
    "ten_options": "columns: prompt from 'question', answer from 'answer', options from 'options'",
    "listed": "columns: prompt from 'question', answer from 'answer', options from 'options'",
    "option_columns": "columns: prompt from 'question', answer from 'answer', options from 'A' to 'D'",
    "labelled": "columns: prompt from 'question', answer from 'answerKey', options from 'choices'",
}


def task(scorer: str = "exact", **options: Any) -> Task:
    return load_task("custom", {"scorer": scorer, "description": "Name the topic of a complaint."} | options)


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_read_and_its_answers_are_right(name: str, tmp_path: Path, no_code: CodeRunner) -> None:
    kind, own = name.partition(".")[0], task(FILES[name][1])
    rows = [row for _, row in read_rows(str(write(name, tmp_path)))]
    assert own.recognised(rows[0]) == KINDS[kind]
    read = [own.read(row) for row in rows]
    assert len(read) >= 60
    for n, fields in enumerate(read[:60]):
        asked = sums(n)[0] if kind in ("alpaca", "worked", "ten_options", "listed") else complaint(n)
        assert asked in own.shown(fields)
        assert (f"\n\nIt is day {n}." in own.shown(fields)) is (kind == "alpaca" and n % 2 == 0)
        assert own.score(fields, own.target(fields), no_code).correct
        assert not own.score(fields, "", no_code).valid
        if kind in ("columns", "excel", "chat", "long_chat", "sharegpt", "completions", "several"):
            assert own.target(fields) == topic(n)
        elif kind in ("option_columns", "labelled"):
            assert own.target(fields) == f"The best answer is {'ABC'[n % 3]}."
        elif kind in ("ten_options", "listed"):
            assert own.reference(fields)[3:] == str(sums(n)[1])
        elif kind == "worked":
            assert own.score(fields, f"It is {sums(n)[1]}.00", no_code).correct
            assert not own.score(fields, f"{sums(n)[1]} or {n}", no_code).correct
        elif kind == "gaps":
            assert own.target(fields) == str(n % 3)
        again = own.fields_of(own.Sample.model_validate(own.sample_of(fields).model_dump()), fields)
        assert own.question(again).split("\n")[0] == own.question(fields).split("\n")[0]
        assert own.score(again, own.target(again), no_code).correct


def test_a_conversation_is_context_and_its_last_answer_is_trained() -> None:
    own = task()
    fields = own.read(long_chat()[1] | {"system": "Be short."})
    assert own.messages(fields) == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Good day, I am customer 1."},
        {"role": "assistant", "content": "What is it about?"},
        {"role": "user", "content": complaint(1)},
    ]
    said = f"User: Good day, I am customer 1.\nAssistant: What is it about?\nUser: {complaint(1)}"
    assert own.question(fields) == own.shown(fields) == said
    assert own.sample_of(fields).model_dump() == {"prompt": said, "answer": "billing"}
    new = own.Sample.model_validate({"prompt": "User: Hello\nthere\nAssistant: Yes?\nUser: Not here yet.", "answer": "delivery"})
    assert own.messages(own.fields_of(new, fields)) == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Hello\nthere"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Not here yet."},
    ]
    for text in ("Hello", "Assistant: a\nUser: b", "User: a\nAssistant: b", "x\nUser: a", "User: a\nUser: b"):
        with pytest.raises(InputError, match="write the conversation as lines"):
            own.fields_of(own.Sample.model_construct(prompt=text, answer="a"), fields)
    assert task(system="Mine.").messages(fields)[0] == {"role": "system", "content": "Mine."}
    assert {complaint(1), "Good day, I am customer 1."} <= set(own.private_texts(fields))


def test_a_text_that_looks_like_a_transcript_stays_one_turn() -> None:
    own = task()
    fields = own.read({"prompt": "User: a\nAssistant: b\nUser: c", "completion": "x"})
    assert [m["content"] for m in own.messages(own.fields_of(own.sample_of(fields), fields))] == [
        "User: a\nAssistant: b\nUser: c"
    ]


@pytest.mark.parametrize(
    ("turns", "prompt", "answer", "before"),
    [
        ("uauau", "u2", "a3", ["u0", "a1"]),
        ("aua", "u1", "a2", []),
        ("uuaa", "u0\n\nu1", "a2\n\na3", []),
        ("suaua", "u3", "a4", ["u1", "a2"]),
        ("uasua", "u3", "a4", ["u0", "a1"]),
    ],
)
def test_turns(turns: str, prompt: str, answer: str, before: list[str]) -> None:
    roles = {"u": "user", "a": "assistant", "s": "system"}
    row = {"messages": [{"role": roles[t], "content": f"{t}{n}"} for n, t in enumerate(turns)]}
    fields = task().read(row)
    assert (fields["inputs"], fields["answer"]) == ({"prompt": prompt}, answer)
    assert [turn["content"] for turn in fields.get("before", [])] == before
    assert fields.get("system", "") == ("s0" if turns[0] == "s" else "s2" if "s" in turns else "")


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"messages": [{"role": "user", "content": "a"}]}, "messages: no turn of the assistant follows one of the user"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "messages: no turn of the assistant follows one of the user"),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": None, "tool_calls": [{}]}]},
            "messages, turn 2: calls a tool; leave the row out",
        ),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]},
            "messages, turn 2: role 'tool' is none of system, user, assistant",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
            "messages, turn 1: holds a part of kind image_url; only text is read",
        ),
        ({"messages": [{"role": "user", "content": " "}]}, "messages, turn 1: has no text"),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "narrator", "value": "b"}]}, "turn 2: role 'narrator'"),
        (
            {"foo": "a", "bar": "b"},
            "which column is the answer? there are the columns 'foo', 'bar'; name it as task.options.answer",
        ),
        (
            {"foo": "a", "label": "b"},
            "which column is the prompt? there are the columns 'foo', 'label'; name it as task.options.prompt",
        ),
        ({"question": "a", "answer": None}, "answer: is empty; fill it in, or leave the row out"),
        ({"question": "a", "answer": float("nan")}, "answer: is empty"),
        ({"question": "", "answer": "b"}, "prompt: is empty"),
        ({"question": ["a"], "answer": "b"}, "prompt: must be a text or a number, this is list"),
        ({"question": "a", "answer": {"b": 1}}, "answer: must be a text or a number, this is dict"),
        ({"question": "a", "answers": []}, "answer: must be a list of answers"),
        ({"question": "a", "answers": ["b", None]}, "answer: must be a list of answers"),
        ({"messages": [], "prompt": "a"}, "which column is the answer?"),
        ({}, "which column is the answer? there are no columns"),
    ],
)
def test_what_cannot_be_used_says_what_to_do(row: Fields, complaint: str) -> None:
    with pytest.raises(InputError) as e:
        task().read(row)
    assert complaint in str(e.value)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"question": "a", "answer": "b"}, "which column has the options?"),
        ({"question": "a", "options": "b, c", "answer": "b"}, "options: must be a list of options, this is str"),
        ({"question": "a", "options": ["b"], "answer": "b"}, "must be a list of two to 26 options"),
        ({"question": "a", "options": ["b", ""], "answer": "b"}, "none of them empty"),
        ({"question": "a", "options": [str(n) for n in range(27)], "answer": "3"}, "must be a list of two to 26 options"),
        ({"question": "a", "options": ["b", "c"], "answer": "D"}, "answer key 'D' is none of the labels A, B"),
        ({"question": "a", "options": ["b", "c"], "answer": None}, "answer key 'None' is none of"),
    ],
)
def test_options_that_cannot_be_used(row: Fields, complaint: str) -> None:
    with pytest.raises(InputError) as e:
        task("multiple_choice").read(row)
    assert complaint in str(e.value)


@pytest.mark.parametrize(
    ("row", "letter"),
    [
        ({"question": "a", "options": "['b c', 'd']", "answer": "d"}, "B"),  # as pandas writes a list into a table
        ({"question": "a", "options": {"A": "b", "B": "c"}, "answer_idx": "B", "answer": "c"}, "B"),
        ({"question": "a", "option1": "b", "option2": "c", "answer": "1"}, "A"),
        ({"question": "a", "option_a": "b", "option_b": "c", "answer": "option_b"}, "B"),
        ({"question": "a", "opa": "b", "opb": "c", "opc": None, "cop": 1}, "B"),
        ({"ctx": "a", "endings": ["b", "c", "d"], "label": "2"}, "C"),
        ({"question": "a", "choices": ["b", "c", "d"], "answer": 2.0}, "C"),
        ({"question": "a", "options": [f"o{n}" for n in range(26)], "answer": "Z"}, "Z"),
        ({"question": "a", **{letter: f"o{letter}" for letter in LETTERS}, "answer": "Z"}, "Z"),
        ({"question": "a", **{f"option_{n}": f"o{n}" for n in range(1, 27)}, "answer": "26"}, "Z"),
    ],
)
def test_options_as_people_write_them(row: Fields, letter: str) -> None:
    assert task("multiple_choice").read(row)["answer"] == letter


def test_named_columns_overrule_what_is_recognised() -> None:
    row = {"question": "q", "user query": "u", "answer": "a", "right one": True, "my options": ["x", "y"]}
    assert task().read(row)["inputs"] == {"prompt": "q"}
    chat = {"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "b"}], "question": "q", "answer": "a"}
    assert task().read(chat)["answer"] == "b"
    assert task(prompt="question").read(chat) == {"inputs": {"question": "q"}, "answer": "a", "choices": []}
    named = task(prompt="user query", answer="right one").read(row)
    assert named == {"inputs": {"user query": "u"}, "answer": "true", "choices": []}
    assert (
        task(prompt="{user query} ({question})").messages(task(prompt="{user query} ({question})").read(row))[0]["content"]
        == "u (q)"
    )
    chosen = task("multiple_choice", choices="my options").read(row | {"answer": "y"})
    assert (chosen["choices"], chosen["answer"]) == (["x", "y"], "B")
    both = {"instruction": "i", "output": "o", "question": "q", "answer": "a"}
    assert task().read(both)["inputs"] == {"prompt": "i"}
    assert task(shape="columns").read(both)["inputs"] == {"prompt": "q"}
    with pytest.raises(InputError, match="has no turns; shape chat needs a list of them"):
        task(shape="chat").read(both)
    with pytest.raises(InputError, match="prompt: shape alpaca says where it is"):
        task(shape="alpaca", prompt="question")
    with pytest.raises(InputError, match=r"quary: is missing \(did you mean 'question'\?\)|quest: is missing"):
        task(prompt="quest").read(both)


def test_a_field_of_several_may_be_empty_but_not_all() -> None:
    own = task(prompt="Case: {case}\n{text}", answer="label")
    fields = own.read({"case": None, "text": "It broke.", "label": 3.0})
    assert own.messages(fields)[0]["content"] == "Case: \nIt broke."
    assert own.target(fields) == "3"
    assert own.fields_of(own.sample_of(fields), fields) == fields
    with pytest.raises(InputError, match="case, text: are all empty"):
        own.read({"case": "", "text": None, "label": "x"})


def test_names_that_no_field_of_a_model_may_have() -> None:
    slots = ["user query", "user-query", "_key", "model_name", "1st", "answer", "Frage (deutsch)"]
    own = task(prompt=" ".join(f"{{{slot}}}" for slot in slots), answer="answer")
    fields = own.read({slot: f"text {n}" for n, slot in enumerate(slots)})
    sample = own.sample_of(fields)
    assert own.fields_of(own.Sample.model_validate(sample.model_dump()), fields) == fields
    assert all(name.isidentifier() for name in own.Sample.model_fields)


def test_several_answers_are_all_right_and_the_first_is_trained(no_code: CodeRunner) -> None:
    own = task("numeric")
    fields = own.read({"question": "Pi?", "answers": ["3.14", 3.1416, "3.14"]})
    assert fields["also"] == ["3.1416"]
    assert own.target(fields) == "3.14"
    assert own.score(fields, "It is 3.1416", no_code).correct
    assert not own.score(fields, "It is 3", no_code).correct
    assert task("exact").read({"question": "q", "answers": {"text": ["a", "b", "a"], "answer_start": [0, 1, 0]}})["also"] == ["b"]
    with pytest.raises(InputError, match="answer: 'none' has no number in it"):
        own.read({"question": "Pi?", "answers": ["3", "none"]})


def test_a_group_of_zero_is_a_group() -> None:
    assert task(group="customer id").group({"customer id": 0}) == "0"
    assert task(group="customer id").group({"customer id": None}) == ""


def test_the_best_of_several_answers_counts_and_a_grade_is_by_the_nearest(no_code: CodeRunner) -> None:
    row = {"question": "Who?", "answers": {"text": ["Ann Bell of Oslo", "Ann", "Ann Bell"], "answer_start": [0, 0, 0]}}
    own = task("f1")
    fields = own.read(row)
    assert own.target(fields) == "Ann Bell of Oslo"
    assert own.score(fields, "Ann Bell", no_code).grade == 1
    assert own.score(fields, "Ann Smith", no_code).grade == pytest.approx(2 / 3, abs=1e-6)
    assert own.score(fields, "", no_code).grade == 0
    exact = task("exact")
    fields = exact.read(row)
    assert exact.score(fields, "ann bell", no_code).extra == {"normalised": 1}
    assert exact.score(fields, "Bea", no_code).detail == "'Bea' instead of 'Ann Bell of Oslo'"
    assert exact.agrees(fields, exact.Solved(answer="The ann."), no_code).correct
    assert not exact.agrees(fields, exact.Solved(answer="Bea"), no_code).correct


def test_a_list_is_one_answer_where_json_is_scored(no_code: CodeRunner) -> None:
    own = task("json")
    for answer in (["a", "b"], {"text": ["a", "b"]}):
        fields = own.read({"question": "q", "answer": answer})
        assert json.loads(own.target(fields)) == answer and "also" not in fields
        assert own.score(fields, own.target(fields), no_code).correct
    assert not own.score(fields, '["a"]', no_code).correct
    for row, said in (({"answer": None}, "answer: is empty"), ({"answers": "{"}, "answer: '{' is not JSON")):
        with pytest.raises(InputError, match=said):
            own.read({"question": "q"} | row)


def test_labels_among_shapes(no_code: CodeRunner) -> None:
    own = task(labels=["spam", "ham", "odd"])
    fields = own.read({"user query": "Win!", "category": ["spam", "odd"]})
    assert own.features(fields) == {"the answer 'spam'"}
    assert own.score(fields, "odd", no_code).correct and not own.score(fields, "ham", no_code).correct
    assert {own.spoil(fields, random.Random(n)) for n in range(20)} == {"ham"}
    assert [*own.Sample.model_fields] == ["answer", "prompt"]
    with pytest.raises(InputError, match="answer: 'eggs' is none of"):
        own.read({"user query": "Win!", "category": ["spam", "eggs"]})


def test_thoughts_of_each_accepted_answer_are_left_out(no_code: CodeRunner) -> None:
    fields = task().read({"question": "q", "answers": ["<think>one</think>a", "<think>two</think>b"]})
    assert task().score(fields, "<think>well</think>b", no_code).correct
    assert not task().score(fields, "two", no_code).correct
