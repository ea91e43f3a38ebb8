"""Models that think before they answer, as servers show it."""

import json

import pytest
from rating import NO_CAPS, SCHEMA, ask, opened, parse

from pada_agent.components.backends.llm.client import open_llm
from pada_agent.components.backends.llm.reply import read_reply
from pada_agent.components.core.settings import LlmSettings
from pada_agent.components.core.thoughts import without_thoughts

HARMONY = "<|channel|>analysis<|message|>They want {}.<|end|><|start|>assistant<|channel|>final{}<|message|>"
THOUGHTS = [
    '<think>They want {"score": 3}?\n</think>\n\n',
    "<think>\n\n</think>\n\n",
    '<thinking>{"score": 3}</thinking>',
    "<thought>Low.</thought>\n",
    "<reasoning>Low.</reasoning>",
    "<seed:think>Low.</seed:think>",
    '[THINK]Perhaps {"score": 3}.[/THINK]',
    "◁think▷Low.◁/think▷",
    '<|START_THINKING|>{"score": 3}<|END_THINKING|>',
    '<|channel>thought\n{"score": 3}<channel|>',
    HARMONY.format('{"score": 3}', ""),
    HARMONY.format("a score", " <|constrain|>JSON"),
    '<|channel|>commentary<|message|>{"score": 3}<|end|><|start|>assistant<|channel|>final<|message|>',
    'analysisWe need a score, say {"score": 3}.assistantfinal',
    'Okay, the user wants a score, say {"score": 3}. Too low.\n</think>\n\n',
    "<think>a</think><think>b</think>",
    'So {"score": 3}?<think>a</think> b</think>',
    "<think>It closes with </think> as I know.</think>",
    '<think>The item is {"why": "</think>"}, so {"score": 3}</think>',
]


@pytest.mark.parametrize("thought", THOUGHTS)
def test_a_thought_is_taken_out_and_counts_as_no_trouble(thought):
    reading = read_reply(thought + '{"score": 7}', "stop", SCHEMA, parse)
    assert (reading.value, reading.kind) == (7, "")
    assert read_reply(thought + '```json\n{"score": 7}\n```', "stop", SCHEMA, parse).kind == "fence"


def test_a_thought_after_the_answer_is_taken_out_too():
    assert read_reply('{"score": 7}\n<think>Perhaps {"score": 3}</think>', "stop", SCHEMA, parse).value == 7


@pytest.mark.parametrize("thought", THOUGHTS)
def test_a_thought_alone_is_no_answer(thought):
    assert read_reply(thought, "stop", SCHEMA, parse).kind == "empty"


CLOSED = [
    t for t in THOUGHTS if not t.startswith(("Okay", "So")) and "It closes" not in t
]  # the rest shows no opening, or two ends


@pytest.mark.parametrize("thought", CLOSED)
def test_a_thought_without_an_end_is_no_answer_whatever_the_server_says(thought):
    cut = thought[: max(thought.rfind(mark) for mark in ("</", "[/", "◁/", "<|END", "<channel|>", "<|end|>", "assistantfinal"))]
    reading = read_reply(cut + ' {"score": 3}', "stop", SCHEMA, parse)
    assert (reading.value, reading.kind) == (None, "cut off")
    assert reading.error == "the reply ended inside a thought"


@pytest.mark.parametrize(
    "why", ["<think>", "</think>", "<think>a</think>", "[THINK]", "assistantfinal", "<|channel|>final<|message|>"]
)
@pytest.mark.parametrize("around", ["{}", "```json\n{}\n```", "Here: {}", "<think>Which tag?</think>{}", "Mine.</think>\n{}"])
def test_a_tag_in_a_text_of_the_answer_stays(why, around):
    text = around.format(json.dumps({"score": 7, "why": why}))
    assert read_reply(text, "stop", SCHEMA, lambda value: value["why"]).value == why


def test_what_nobody_asked_for_is_read_in_bounded_time():
    assert without_thoughts("[" * 100_000 + "<think>") is None
    assert without_thoughts('{"a": ' * 20_000 + "</think>7") == "7"


def test_an_unclosed_thought_is_asked_for_again_with_more_room(llm_stub):
    llm_stub.on("Be brief", text='<think>Brief.</think>{"score": 8}')
    llm_stub.on("rate", text='<think>Perhaps {"score": 3}')
    llm = opened(llm_stub, max_tokens=100)
    assert llm.ask_all("rate", [ask()])[0].value == 8
    assert [a.body["max_tokens"] for a in llm_stub.asks] == [100, 200]
    assert llm.usage.recovered == {"cut off": 1}


def test_a_model_that_thinks_until_its_room_is_used_up_says_so(llm_stub):
    llm_stub.on("rate", message={"content": None, "reasoning_content": 'So {"score": 3}, but'}, finish="length")
    reply = opened(llm_stub, max_tokens=100).ask_all("rate", [ask()])[0]
    assert reply.error.endswith("the model still thought when its reply was cut off at 200 tokens (max_tokens)")


def test_a_model_asked_again_is_shown_its_answer_without_its_thought(llm_stub):
    llm_stub.on("must be 1 to 10", reply={"score": 5})
    llm_stub.on("rate", text=f'<think>{"Hm. " * 1000}</think>{{"score": 50}}')
    assert opened(llm_stub).ask_all("rate", [ask()])[0].value == 5
    assert llm_stub.asks[1].messages[2]["content"] == '{"score": 50}'


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("content", [None, ""])
def test_json_that_the_server_took_for_a_thought_is_taken_and_replayed(llm_stub, tmp_path, field, content):
    llm_stub.on("rate", message={"content": content, field: '\n{"score": 6}'})
    llm = opened(llm_stub, tmp_path / "l.jsonl")
    assert llm.ask_all("rate", [ask()])[0].value == 6
    assert llm.usage.recovered == {"in reasoning_content": 1}
    again = open_llm(LlmSettings(model="stub", base_url="http://127.0.0.1:9/v1"), NO_CAPS, str(tmp_path / "l.jsonl"))
    assert again.ask_all("rate", [ask()])[0].value == 6


def test_json_in_a_wrong_place_is_held_to_its_bounds_and_shown_again(llm_stub):
    llm_stub.on("must be 1 to 10", reply={"score": 5})
    llm_stub.on("rate", message={"content": "\n\n", "reasoning_content": '{"score": 60}'})
    assert opened(llm_stub).ask_all("rate", [ask()])[0].value == 5
    assert llm_stub.asks[1].messages[2]["content"] == '{"score": 60}'


@pytest.mark.parametrize("thought", ['The score would be {"score": 3}.', '{"other": 3}', "[7]"])
def test_a_thought_in_the_place_of_a_reply_names_the_server_s_setting(llm_stub, thought):
    llm_stub.on("rate", message={"content": None, "reasoning_content": thought})
    reply = opened(llm_stub).ask_all("rate", [ask()])[0]
    assert reply.value is None
    assert "--reasoning-parser" in reply.error
    assert "extra_body: {chat_template_kwargs: {enable_thinking: false}}" in reply.error


def test_a_thought_beside_the_answer_is_not_kept(llm_stub, tmp_path):
    llm_stub.on("rate", reply={"score": 6}, message={"reasoning_content": "Perhaps it is a low score. " * 4}, tokens=None)
    llm = opened(llm_stub, tmp_path / "l.jsonl")
    assert llm.ask_all("rate", [ask()])[0].value == 6
    assert llm.usage.recovered == {}
    assert "reasoning" not in json.loads((tmp_path / "l.jsonl").read_text())
    assert llm.usage.output_tokens > 25, "a server that does not count: the thought is estimated with the answer"


def test_parts_of_content_that_are_a_thought_are_left_out(llm_stub):
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": '{"score": 3}'}]}
    llm_stub.on("rate", message={"content": [thinking, {"type": "text", "text": '{"score": 6}'}]})
    assert opened(llm_stub).ask_all("rate", [ask()])[0].value == 6
