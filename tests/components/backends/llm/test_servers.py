"""What endpoints other than OpenAI's do with a request, in their own words: parameters, errors, counts."""

import json
import logging

import pytest
from pydantic import ValidationError
from rating import NO_CAPS, ask, opened

from pada_agent.components.backends.llm.client import open_llm
from pada_agent.components.core.errors import EndpointError
from pada_agent.components.core.settings import LlmSettings


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("pada_agent.components.backends.llm.pace.BACKOFF_SECONDS", 0.02)


# parameters


def refusal(message, param=None, code=None):
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


@pytest.mark.parametrize(
    ("gone", "body"),
    [
        (
            "temperature",
            refusal(
                "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.",
                "temperature",
                "unsupported_value",
            ),
        ),
        ("temperature", refusal("invalid temperature: only 1 is allowed for this model")),
        ("temperature", refusal("Unsupported parameter: 'temperature' is not supported with this model.", "temperature")),
        ("seed", refusal("Unrecognized request argument supplied: seed")),
        ("seed", {"message": "property 'seed' is unsupported, did you mean 'stop'?"}),
        ("reasoning_effort", refusal("Unrecognized request argument supplied: reasoning_effort")),
        ("reasoning_effort", refusal("Unsupported parameter: 'reasoning_effort' is not supported with this model.")),
        (
            "reasoning_effort",
            {"message": "UnsupportedParamsError: together_ai does not support parameters: ['reasoning_effort']"},
        ),
        (
            "max_tokens",
            refusal(
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
                "max_tokens",
                "unsupported_parameter",
            ),
        ),
    ],
)
def test_a_refused_parameter_is_left_out_and_nothing_else(llm_stub, gone, body):
    llm_stub.on(lambda a: gone in a.body, status=400, body=body)
    llm_stub.on("rate", reply={"score": 2})
    llm = opened(llm_stub, reasoning_effort="low")
    assert {r.value for r in llm.ask_all("rate", [ask(f"rate {n}") for n in range(4)])} == {2}
    last = llm_stub.asks[-1].body
    wanted = {"temperature", "seed", "reasoning_effort", "max_tokens"} - {gone}
    assert wanted <= last.keys() and gone not in last
    assert ("max_completion_tokens" in last) == (gone == "max_tokens")
    assert llm_stub.asks[-1].format == "json_schema"


def test_a_refused_reasoning_effort_is_told_once_with_the_server_s_words(llm_stub, capsys):
    words = (
        "Unsupported value: 'reasoning_effort' does not support 'none' with this model. Supported values are: 'low' and 'high'."
    )
    llm_stub.on(lambda a: "reasoning_effort" in a.body, status=400, body=refusal(words), delay=0.05)
    llm_stub.on("rate", reply={"score": 2})
    opened(llm_stub, reasoning_effort="none").ask_all("rate", [ask(f"rate {n}") for n in range(4)])
    said = capsys.readouterr().err
    assert said.count("the endpoint does not take 'none' and is asked without it") == 1
    assert "Supported values are: 'low' and 'high'" in said


def test_more_of_body_and_headers_is_sent_and_no_header_is_shown(llm_stub, tmp_path, capsys, caplog, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    llm_stub.on("rate", reply={"score": 2})
    extra = {"chat_template_kwargs": {"enable_thinking": False}, "top_k": 20}
    more = {"reasoning_effort": "high", "extra_body": extra, "headers": {"X-Tenant": "t-7-secret", "User-Agent": "us"}}
    caplog.set_level(logging.DEBUG, logger="openai")
    opened(llm_stub, tmp_path / "l.jsonl", **more).ask_all("rate", [ask()])
    (sent,) = llm_stub.asks
    assert sent.body["reasoning_effort"] == "high"
    assert sent.body["chat_template_kwargs"] == {"enable_thinking": False} and sent.body["top_k"] == 20
    assert (sent.headers["x-tenant"], sent.headers["user-agent"]) == ("t-7-secret", "us")
    assert sent.headers["authorization"] == "Bearer sk-secret"
    shown = capsys.readouterr()
    settings = LlmSettings(model="m", **more)
    assert "Sending HTTP Request" in caplog.text
    assert "t-7-secret" not in shown.out + shown.err + caplog.text + (tmp_path / "l.jsonl").read_text() + repr(settings)


def test_nothing_more_is_sent_where_nothing_is_set(llm_stub):
    llm_stub.on("rate", reply={"score": 2})
    opened(llm_stub).ask_all("rate", [ask()])
    assert llm_stub.asks[0].body.keys() == {"model", "messages", "temperature", "seed", "max_tokens", "response_format"}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"extra_body": {"messages": []}}, "messages is set already, from the prompts; take it out of extra_body"),
        ({"extra_body": {"model": "x"}}, "model is set already, from model"),
        ({"extra_body": {"stream": True}}, "stream is set already, from how replies are read"),
        ({"extra_body": {"reasoning_effort": "low"}}, "from reasoning_effort"),
        ({"headers": {"Authorization": "Bearer x"}}, r"Authorization is set already; .* the variable that api_key_env names"),
        ({"headers": {"content-type": "text/plain"}}, "content-type is set already"),
        ({"headers": {"X Y": "z"}}, "'X Y' is no name of a header"),
        ({"headers": {"X": 5}}, "the value of X must be one line of ASCII text"),
        ({"headers": {"X": "a\r\nY: b"}}, "the value of X must be one line of ASCII text"),
        ({"headers": "X: y"}, "must be names and texts"),
    ],
)
def test_what_is_not_the_user_s_to_set_is_refused(settings, told):
    with pytest.raises(ValidationError, match=told):
        LlmSettings(model="m", **settings)


# the ledger


def test_what_changes_the_answer_is_in_the_key_and_what_does_not_is_not(llm_stub, tmp_path):
    llm_stub.on("rate", reply={"score": 2})
    ledger = tmp_path / "l.jsonl"
    for more in ({}, {"headers": {"X-Tenant": "t"}}, {"reasoning_effort": "low"}, {"extra_body": {"top_k": 1}}) * 2:
        opened(llm_stub, ledger, **more).ask_all("rate", [ask()])
    assert llm_stub.paid == 3
    assert "reasoning_effort" in llm_stub.asks[1].body and "top_k" in llm_stub.asks[2].body


def test_a_ledger_written_before_there_were_such_settings_replays(tmp_path):
    key = "6f62760400667056585dd041a0a96038ea55b8e6597c76456cde5a0af3f6eb99"  # as it was computed then
    line = {"key": key, "name": "rate", "model": "m", "time": 1.0, "text": '{"score": 4}', "finish": "stop"}
    (tmp_path / "l.jsonl").write_text(json.dumps({**line, "input_tokens": 10, "output_tokens": 5}) + "\n")
    llm = open_llm(LlmSettings(model="m", base_url="http://127.0.0.1:9/v1"), NO_CAPS, str(tmp_path / "l.jsonl"))
    assert llm.ask_all("rate", [ask()])[0].value == 4
    assert llm.usage.replayed == 1


# errors in a reply of 200


def openrouter(code, message="Provider returned error"):
    return {"error": {"code": code, "message": message, "metadata": {"provider_name": "X"}}, "user_id": "u"}


def in_choice(code):
    half = {"role": "assistant", "content": '{"score": 1}'}
    choice = {"index": 0, "finish_reason": "error", "message": half, "error": {"code": code, "message": "Upstream"}}
    return {
        "id": "gen-1",
        "object": "chat.completion",
        "choices": [choice],
        "usage": {"prompt_tokens": 5, "completion_tokens": 1},
    }


@pytest.mark.parametrize(
    "body",
    [
        openrouter(402, "Insufficient credits"),
        openrouter("402"),
        in_choice(402),
        openrouter("insufficient_quota"),
        {"error": {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": None}},
    ],
)
def test_no_credit_in_a_reply_of_200_stops_at_once(llm_stub, body):
    llm_stub.on("rate", body=body)
    with pytest.raises(EndpointError, match="has no credit left"):
        opened(llm_stub, concurrency=1).ask_all("rate", [ask("rate 1"), ask("rate 2")])
    assert len(llm_stub.asks) == 1


@pytest.mark.parametrize(
    "body",
    [
        openrouter(429),
        openrouter("rate_limit_exceeded"),
        in_choice(429),
        {"error": {"code": None, "type": "rate_limit_error", "message": "slow down"}},
        {"error": {"status": "RESOURCE_EXHAUSTED", "message": "slow down"}},
    ],
)
def test_too_many_requests_in_a_reply_of_200_slow_it_down(llm_stub, body):
    llm_stub.on("rate", body=body, times=2)
    llm_stub.on("rate", reply={"score": 2})
    llm = opened(llm_stub, concurrency=8)
    assert llm.ask_all("rate", [ask()])[0].value == 2
    assert llm.usage.recovered == {"overload": 2}
    assert llm._caller._pace.limit < 8


@pytest.mark.parametrize("body", [openrouter(502), in_choice(500), openrouter(None), {"error": "the model failed"}, {}, [], "?"])
def test_a_passing_error_in_a_reply_of_200_is_tried_again(llm_stub, body):
    llm_stub.on("rate", body=body, times=2)
    llm_stub.on("rate", reply={"score": 2})
    llm = opened(llm_stub)
    assert llm.ask_all("rate", [ask()])[0].value == 2
    assert llm.usage.recovered == {"server error": 2}


def test_a_choice_that_ended_in_an_error_is_not_read(llm_stub):
    llm_stub.on("rate", reply={"score": 9}, finish="error", times=1)
    llm_stub.on("rate", reply={"score": 2})
    assert opened(llm_stub).ask_all("rate", [ask()])[0].value == 2


@pytest.mark.parametrize(
    "body",
    [
        openrouter(400, "This endpoint's maximum context length is 4096 tokens"),
        refusal("maximum context length is 4096 tokens", code="context_length_exceeded"),
    ],
)
def test_a_refusal_in_a_reply_of_200_fails_alone(llm_stub, body):
    llm_stub.on("long", body=body)
    llm_stub.on("rate", reply={"score": 2})
    bad, good = opened(llm_stub, concurrency=1).ask_all("rate", [ask("long"), ask("rate")])
    assert "HTTP 400" in bad.error and "maximum context length" in bad.error
    assert good.value == 2
    assert len(llm_stub.asks) == 2


@pytest.mark.parametrize("how", [{"status": 403}, {}])
def test_a_prompt_that_moderation_stops_fails_alone(llm_stub, how):
    llm_stub.on("bad", body=openrouter(403, 'Input was flagged for "violence"'), **how)
    llm_stub.on("rate", reply={"score": 2})
    bad, good = opened(llm_stub, concurrency=1).ask_all("rate", [ask("bad"), ask("rate")])
    assert "flagged" in bad.error and good.value == 2


def test_a_reply_with_an_empty_error_is_a_reply(llm_stub):
    choice = {"index": 0, "finish_reason": "stop", "error": None, "message": {"content": '{"score": 2}'}}
    llm_stub.on("rate", body={"error": None, "choices": [choice]})
    assert opened(llm_stub).ask_all("rate", [ask()])[0].value == 2


# counts

PROSE = "The store sells 24 kinds of tea, and each box holds 50 bags. How many bags are there in 3 boxes? "
TEXTS = {
    "prose": PROSE,
    "json": '{"question": "How many rows has (a) table?", "answer": "SELECT COUNT(*) FROM t_1 WHERE x >= 2.5;"}\n',
    "russian": "Сколько пакетиков чая лежит в трёх коробках, если в каждой по пятьдесят? ",
    "hindi": "तीन डिब्बों में कितने टी बैग हैं? ",
    "chinese": "三个盒子里一共有多少个茶包？每盒五十包。",
}


@pytest.mark.parametrize("said", [2050, 4096])
def test_a_server_that_cuts_the_prompt_is_told_of_once(llm_stub, capsys, said):
    llm_stub.on("tea", reply={"score": 2}, tokens=(said, 10))
    llm = opened(llm_stub, concurrency=2)
    llm.ask_all("rate", [ask(PROSE * 300 + str(n)) for n in range(5)])
    llm.ask_all("rate", [ask(PROSE * 300 + "again")])
    told = capsys.readouterr().err
    assert told.count(f"read {said:,} tokens of a prompt that has at least") == 1
    assert "OLLAMA_CONTEXT_LENGTH" in told and "model stub" in told


@pytest.mark.parametrize(
    ("text", "tokens"),
    # As o200k_base, of the largest vocabularies in wide use, counts 100 times the text (bpe-openai 0.1.4).
    [("prose", 2702), ("json", 3301), ("russian", 2302), ("hindi", 1302), ("chinese", 1702)],
)
def test_a_large_vocabulary_is_no_cut_prompt(llm_stub, capsys, text, tokens):
    llm_stub.on("rate", reply={"score": 2}, tokens=(tokens, 10))
    opened(llm_stub).ask_all("rate", [ask("rate " + TEXTS[text] * 100)])
    assert "cuts prompts" not in capsys.readouterr().err


@pytest.mark.parametrize("tokens", [None, (0, 10), (37, 10)])
def test_a_server_that_counts_only_what_was_new_to_it_is_not_told_of(llm_stub, capsys, tokens):
    llm_stub.on("tea", reply={"score": 2}, tokens=tokens)
    opened(llm_stub).ask_all("rate", [ask(PROSE * 300)])
    assert "cuts prompts" not in capsys.readouterr().err


CACHED = [
    {"prompt_tokens_details": {"cached_tokens": 80}},
    {"prompt_cache_hit_tokens": 80, "prompt_cache_miss_tokens": 20},
    {"cache_read_input_tokens": 80, "prompt_tokens_details": None},
    {"cached_tokens": 80},
]


@pytest.mark.parametrize("usage", CACHED)
def test_cached_input_is_counted_priced_shown_and_replayed(llm_stub, tmp_path, usage):
    llm_stub.on("rate", reply={"score": 2}, tokens=(100, 20), usage=usage)
    prices = {"usd_per_million_input": 10.0, "usd_per_million_cached_input": 1.0, "usd_per_million_output": 100.0}
    for paid_now in (10, 0):
        llm = opened(llm_stub, tmp_path / "l.jsonl", **prices)
        llm.ask_all("rate", [ask(f"rate {n}") for n in range(10)])
        assert (llm.usage.input_tokens, llm.usage.cached_input_tokens) == (1000, 800)
        assert llm.usage.usd == pytest.approx((200 * 10 + 800 * 1 + 200 * 100) / 1e6)
        assert llm.bill().get("cached input tokens", 0) == 80 * paid_now
    assert llm_stub.paid == 10


def test_cached_input_costs_what_other_input_does_where_no_price_is_set_and_nothing_where_that_is_set(llm_stub):
    llm_stub.on("rate", reply={"score": 2}, tokens=(100, 0), usage=CACHED[0])
    for price, usd in ((None, 0.001), (0.0, 0.0002)):
        llm = opened(llm_stub, usd_per_million_input=10.0, usd_per_million_cached_input=price)
        llm.ask_all("rate", [ask()])
        assert llm.usage.usd == pytest.approx(usd)


def test_no_more_is_cached_than_there_is(llm_stub):
    llm_stub.on("rate", reply={"score": 2}, tokens=(100, 0), usage={"cache_read_input_tokens": 400})
    llm = opened(llm_stub, usd_per_million_input=10.0, usd_per_million_cached_input=0.0)
    llm.ask_all("rate", [ask()])
    assert (llm.usage.cached_input_tokens, llm.usage.usd) == (100, 0)
