import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from email.utils import formatdate

import pytest
from rating import NO_CAPS, SCHEMA, ask, opened

from pada_agent.components.backends.llm import caller as llm_caller
from pada_agent.components.backends.llm.client import open_llm
from pada_agent.components.backends.llm.ledger.in_file import LedgerFile
from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.errors import EndpointError, InputError
from pada_agent.components.core.settings import BudgetSettings, LlmSettings


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("pada_agent.components.backends.llm.pace.BACKOFF_SECONDS", 0.02)


# what is sent and what comes back


def test_replies_come_in_order_and_are_counted(llm_stub):
    llm_stub.on("rate", reply=lambda a: {"score": int(a.last.split()[-1]) % 10 + 1}, tokens=(100, 20), delay=0.01)
    llm = opened(llm_stub, usd_per_million_input=1.0, usd_per_million_output=10.0)
    replies = llm.ask_all("rate", [ask(f"rate {n}") for n in range(30)])
    assert [r.value for r in replies] == [n % 10 + 1 for n in range(30)]
    assert llm.bill() == {"calls": 30, "tokens": 3600, "USD": 0.009}
    assert len({r.request_hash for r in replies}) == 30
    assert not any(r.error for r in replies)
    usage = llm.usage
    assert (usage.calls, usage.paid_calls, usage.input_tokens, usage.output_tokens) == (30, 30, 3000, 600)
    assert usage.usd == pytest.approx(30 * (100 * 1 + 20 * 10) / 1e6)
    assert (usage.retries, usage.recovered, usage.failed, usage.capped) == (0, {}, 0, "")


def test_the_body_holds_what_the_request_says(llm_stub):
    llm_stub.on("rate", reply={"score": 1})
    llm = opened(llm_stub, max_tokens=321)
    llm.ask_all(
        "rate", [ask("rate cold"), ask("rate warm", 0.7), ask("rate warm", 0.7, salt="2"), ask("rate short", max_tokens=17)]
    )
    sent = sorted(llm_stub.asks, key=lambda a: (a.last, a.body["seed"]))
    cold, short, warm, again = (a.body for a in sent)
    assert (cold["model"], cold["temperature"], cold["seed"], cold["max_tokens"]) == ("stub", 0, 0, 321)
    assert cold["response_format"]["json_schema"]["schema"] == SCHEMA
    assert cold["response_format"]["json_schema"]["strict"] is True
    assert short["max_tokens"] == 17
    assert warm["temperature"] == 0.7
    assert warm["seed"] != again["seed"], "other attempts must not give the same text again"


def test_no_more_calls_at_once_than_the_settings_allow(llm_stub):
    llm_stub.on("rate", reply={"score": 1}, delay=0.03)
    opened(llm_stub, concurrency=3).ask_all("rate", [ask(f"rate {n}") for n in range(12)])
    assert llm_stub.busiest == 3


def test_a_server_that_does_not_count_is_estimated(llm_stub):
    llm_stub.on("rate", reply={"score": 1}, tokens=None)
    llm = opened(llm_stub)
    llm.ask_all("rate", [ask()])
    assert llm.usage.input_tokens > 0
    assert llm.usage.output_tokens > 0


def test_nothing_to_ask_asks_nothing(llm_stub):
    assert opened(llm_stub).ask_all("rate", []) == []


def test_it_works_inside_an_event_loop(llm_stub):
    import asyncio

    llm_stub.on("rate", reply={"score": 4})

    async def notebook():
        return opened(llm_stub).ask_all("rate", [ask()])

    assert asyncio.run(notebook())[0].value == 4


# replies that are not what was asked for


@pytest.mark.parametrize("wrap", ["fence", "prose", "think"])
def test_json_in_wrapping_is_taken_and_counted(llm_stub, wrap):
    llm_stub.on("rate", reply={"score": 6}, wrap=wrap)
    llm = opened(llm_stub)
    assert llm.ask_all("rate", [ask()])[0].value == 6
    assert llm.usage.recovered == ({} if wrap == "think" else {wrap: 1})


def test_broken_json_is_repaired_only_when_the_model_had_finished(llm_stub):
    llm_stub.on("finished", text='{"score": 6,', finish="stop")
    llm_stub.on("Be brief", reply={"score": 3})
    llm_stub.on("unfinished".upper(), text='{"score": 6,', finish="length")
    llm = opened(llm_stub)
    first, second = llm.ask_all("rate", [ask("finished"), ask("UNFINISHED")])
    assert (first.value, second.value) == (6, 3)
    assert llm.usage.recovered == {"repaired": 1, "cut off": 1}


def test_a_refused_reply_is_asked_for_again_with_the_reason(llm_stub):
    llm_stub.on('"score" must be 1 to 10', reply={"score": 5})
    llm_stub.on("rate", reply={"score": 50})
    llm = opened(llm_stub)
    assert llm.ask_all("rate", [ask()])[0].value == 5
    again = llm_stub.asks[1].messages
    assert again[2] == {"role": "assistant", "content": '{"score": 50}'}
    assert again[3]["role"] == "user"
    assert llm.usage.recovered == {"refused": 1}
    assert llm.usage.calls == 2


def test_after_two_more_tries_a_request_fails_alone_and_says_why(llm_stub):
    llm_stub.on("hopeless", reply={"score": 50})
    llm_stub.on("fine", reply={"score": 2})
    llm = opened(llm_stub)
    bad, good = llm.ask_all("rate", [ask("hopeless"), ask("fine")])
    assert bad.value is None
    assert bad.error == '3 replies could not be used; the last: "score" must be 1 to 10'
    assert bad.request_hash
    assert good.value == 2
    assert (llm.usage.failed, llm.usage.calls, llm.usage.recovered) == (1, 4, {})
    assert llm.usage.unrecovered == {"refused": 3}


def test_a_reply_that_was_cut_off_gets_more_room_once(llm_stub):
    llm_stub.on("Be brief", reply={"score": 2})
    llm_stub.on("rate", text='{"score": 2, "why": "lorem', finish="length")
    llm = opened(llm_stub, max_tokens=100)
    assert llm.ask_all("rate", [ask()])[0].value == 2
    assert [a.body["max_tokens"] for a in llm_stub.asks] == [100, 200]
    assert [m["role"] for m in llm_stub.asks[1].messages] == ["system", "user"]


def test_cut_off_twice_is_a_failure_that_names_the_setting(llm_stub):
    llm_stub.on("rate", reply={"score": 2}, finish="length")
    reply = opened(llm_stub, max_tokens=100).ask_all("rate", [ask()])[0]
    assert reply.value is None
    assert "cut off before its end at 200 tokens (max_tokens)" in reply.error
    assert llm_stub.paid == 2


def test_filtered_replies_are_asked_for_once_more(llm_stub):
    llm_stub.on("rate", reply={"score": 2}, finish="content_filter")
    reply = opened(llm_stub).ask_all("rate", [ask()])[0]
    assert "content filter" in reply.error
    assert llm_stub.paid == 2


def test_empty_replies_are_asked_for_again_and_not_shown_as_a_message(llm_stub):
    llm_stub.on("was empty", reply={"score": 2})
    llm_stub.on("rate", text="")
    llm = opened(llm_stub)
    assert llm.ask_all("rate", [ask()])[0].value == 2
    assert all(m["content"] for m in llm_stub.asks[1].messages)
    assert llm.usage.recovered == {"empty": 1}


# servers that know a part of the API


@pytest.mark.parametrize("status", [400, 422, 500])
def test_a_server_without_json_schema_is_asked_in_another_form_from_then_on(llm_stub, status):
    llm_stub.refuse_format("json_schema", status=status)
    llm_stub.on("rate", reply={"score": 2})
    llm = opened(llm_stub, concurrency=1)
    assert [r.value for r in llm.ask_all("rate", [ask(f"rate {n}") for n in range(5)])] == [2] * 5
    formats = [a.format for a in llm_stub.asks]
    assert formats == ["json_schema", "json_schema"] + ["json_object"] * 5  # the second without bounds
    assert llm_stub.asks[-1].schema == SCHEMA, "the form in which llama.cpp takes a grammar"
    assert llm.usage.recovered == {"response_format refused": 2}


def test_bounds_that_strict_mode_refuses_are_left_out(llm_stub):
    llm_stub.on(lambda a: "maxLength" in json.dumps(a.schema), status=400, error="Invalid schema: 'maxLength' is not permitted")
    llm_stub.on("rate", reply={"score": 2})
    assert opened(llm_stub).ask_all("rate", [ask()])[0].value == 2
    assert llm_stub.asks[-1].format == "json_schema"
    assert llm_stub.asks[-1].schema["properties"]["why"] == {"type": "string"}


def test_long_bounds_are_not_asked_of_servers_that_write_out_every_repetition_of_a_grammar(llm_stub):
    llm_stub.on("rate", reply={"score": 2, "why": "", "notes": []})
    notes = {"type": "array", "items": {"type": "string", "maxLength": 1001}}
    properties = {**SCHEMA["properties"], "why": {"type": "string", "maxLength": 1000}, "notes": notes}
    opened(llm_stub).ask_all("rate", [dataclasses.replace(ask(), schema={"type": "object", "properties": properties})])
    sent = llm_stub.asks[-1].schema["properties"]
    assert sent["why"]["maxLength"] == 1000
    assert "maxLength" not in sent["notes"]["items"]


def test_a_server_without_any_response_format_is_told_the_schema_in_the_prompt(llm_stub):
    llm_stub.refuse_format("json_schema", "json_object")
    llm_stub.on("rate", reply={"score": 2}, wrap="prose")
    llm = opened(llm_stub, concurrency=1)
    assert [r.value for r in llm.ask_all("rate", [ask("rate 1"), ask("rate 2")])] == [2, 2]
    last = llm_stub.asks[-1]
    assert last.format == ""
    assert json.dumps(SCHEMA) in last.messages[0]["content"]
    assert llm_stub.asks[-2].format == "", "the second request starts with the form that worked"


def test_a_server_that_ignores_the_format_is_found_out_and_told_the_schema(llm_stub):
    llm_stub.on(lambda a: json.dumps(SCHEMA) in a.text, reply={"score": 2})
    llm_stub.on("rate", text="I would say seven out of ten.")
    llm = opened(llm_stub, concurrency=1)
    replies = llm.ask_all("rate", [ask(f"rate {n}") for n in range(3)])
    assert replies[-1].value == 2
    assert json.dumps(SCHEMA) in llm_stub.asks[-1].text


def test_one_reply_that_is_refused_does_not_cost_the_form_that_works(llm_stub):
    llm_stub.on("must be 1 to 10", reply={"score": 2})
    llm_stub.on("bad", reply={"score": 99})
    llm_stub.on("rate", reply={"score": 2})
    opened(llm_stub, concurrency=1).ask_all("rate", [ask("bad"), ask("rate 1"), ask("rate 2")])
    assert {a.format for a in llm_stub.asks} == {"json_schema"}


def test_a_form_that_has_worked_is_not_given_up_for_one_bad_reply_or_an_unclear_400(llm_stub):
    llm_stub.on("good", reply={"score": 2})
    llm_stub.on("prose", text="No.", times=1)
    llm_stub.on("prose", reply={"score": 2})
    llm_stub.on("unclear", status=400, error="bad request")
    replies = opened(llm_stub, concurrency=1).ask_all("rate", [ask("good"), ask("prose"), ask("unclear"), ask("good too")])
    assert [r.value for r in replies] == [2, 2, None, 2]
    assert [a.format for a in llm_stub.asks] == ["json_schema"] * 5


@pytest.mark.parametrize(
    ("error", "gone", "there"),
    [
        ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_tokens", "max_completion_tokens"),
        ("body.seed: Extra inputs are not permitted", "seed", "temperature"),
        ("Unsupported value: 'temperature' does not support 0.0 with this model", "temperature", "seed"),
    ],
)
def test_a_parameter_the_server_refuses_is_left_out(llm_stub, error, gone, there):
    llm_stub.on(lambda a: gone in a.body, status=400, error=error)
    llm_stub.on("rate", reply={"score": 2})
    llm = opened(llm_stub)
    assert {r.value for r in llm.ask_all("rate", [ask(f"rate {n}") for n in range(12)])} == {2}
    assert there in llm_stub.asks[-1].body
    assert llm_stub.asks[-1].format == "json_schema"
    assert set(llm.usage.recovered) == {f"{gone} refused"}


def test_a_prompt_too_long_for_the_context_fails_alone(llm_stub):
    llm_stub.on("long", status=400, error="This model's maximum context length is 4096 tokens, however you requested 9000")
    llm_stub.on("rate", reply={"score": 2})
    llm = opened(llm_stub, concurrency=1)
    bad, good, more = llm.ask_all("rate", [ask("long"), ask("rate"), ask("rate more")])
    assert (good.value, more.value) == (2, 2)
    assert len(llm_stub.asks) == 3, "asking for it in another form would not make it shorter"
    assert "HTTP 400" in bad.error
    assert "maximum context length" in bad.error
    assert {a.format for a in llm_stub.asks} == {"json_schema"}


def test_an_endpoint_that_takes_no_request_at_all_is_an_error_and_not_zero_rows(llm_stub):
    llm_stub.on("rate", status=400, error="unknown tenant")
    with pytest.raises(EndpointError, match=r"refused all 2 requests; the last: HTTP 400.*unknown tenant"):
        opened(llm_stub).ask_all("rate", [ask("rate 1"), ask("rate 2")])


# trouble on the way


def test_429_with_retry_after_is_obeyed_by_everybody(llm_stub):
    llm_stub.on("rate", status=429, headers={"Retry-After": "1"}, times=1)
    llm_stub.on("rate", reply={"score": 2})
    llm = opened(llm_stub, concurrency=1)
    began = time.monotonic()
    assert [r.value for r in llm.ask_all("rate", [ask(f"rate {n}") for n in range(5)])] == [2] * 5
    assert time.monotonic() - began >= 1
    assert llm_stub.asks[1].at - llm_stub.asks[0].at >= 0.95
    assert llm.usage.retries == 1
    assert llm.usage.recovered == {"overload": 1}


def test_retry_after_as_a_date(llm_stub):
    until = int(time.time()) + 2
    llm_stub.on("rate", status=503, headers={"Retry-After": formatdate(until, usegmt=True)}, times=1)
    llm_stub.on("rate", reply={"score": 2})
    assert opened(llm_stub).ask_all("rate", [ask()])[0].value == 2
    assert time.time() - (time.monotonic() - llm_stub.asks[1].at) >= until - 0.05


def test_a_wait_longer_than_the_breaker_is_refused_at_once(llm_stub):
    llm_stub.on("rate", status=429, headers={"Retry-After": "3600"})
    began = time.monotonic()
    with pytest.raises(EndpointError, match=r"asks to wait 3600 s, longer than give_up_seconds \(20\).*HTTP 429"):
        opened(llm_stub).ask_all("rate", [ask()])
    assert time.monotonic() - began < 10


def test_429_without_retry_after_lowers_the_concurrency(llm_stub):
    llm_stub.on(lambda a: llm_stub.busy > 3, status=429)
    llm_stub.on("rate", reply={"score": 2}, delay=0.03)
    llm = opened(llm_stub, concurrency=32)
    assert {r.value for r in llm.ask_all("rate", [ask(f"rate {n}") for n in range(120)])} == {2}
    assert llm.usage.paid_calls == 120
    assert len(llm_stub.asks) - 120 == llm.usage.retries
    assert llm.usage.retries < 150, "around 40; with the concurrency kept it would be 300"


@pytest.mark.parametrize("how", [{"status": 500}, {"status": 502}, {"trouble": "reset"}, {"trouble": "cut"}, {"status": 408}])
def test_passing_trouble_is_tried_again(llm_stub, how):
    llm_stub.on("rate", reply={"score": 3}, times=2, **how)
    llm_stub.on("rate", reply={"score": 2})
    llm = opened(llm_stub)
    assert llm.ask_all("rate", [ask()])[0].value == 2
    assert llm.usage.retries == 2
    assert llm.usage.calls == 1
    assert sum(llm.usage.recovered.values()) == 2


@pytest.mark.parametrize("how", [{"delay": 5}, {"drip": 0.05}])
def test_a_server_that_hangs_or_drips_is_cut_by_the_clock(llm_stub, how):
    llm_stub.on("rate", reply={"score": 3}, times=1, **how)
    llm_stub.on("rate", reply={"score": 2})
    llm = opened(llm_stub, timeout_seconds=0.4)
    began = time.monotonic()
    assert llm.ask_all("rate", [ask()])[0].value == 2
    assert time.monotonic() - began < 10
    assert llm.usage.recovered == {"timeout": 1}


def test_a_slow_server_gets_more_time_after_each_time_out(llm_stub):
    llm_stub.on("rate", reply={"score": 2}, delay=0.7)
    llm = opened(llm_stub, timeout_seconds=0.2)
    assert llm.ask_all("rate", [ask()])[0].value == 2
    assert llm.usage.recovered["timeout"] >= 2, "0.2 s and 0.4 s are too short"


def test_one_request_that_always_fails_does_not_stop_the_others(llm_stub):
    llm_stub.on("poison", status=500, error="boom")
    llm_stub.on("rate", reply={"score": 2}, delay=0.02)
    llm = opened(llm_stub, concurrency=2)
    first, *rest = llm.ask_all("rate", [ask("poison"), *(ask(f"rate {n}") for n in range(40))])
    assert "failed 5 times while others went through; the last: HTTP 500" in first.error
    assert {r.value for r in rest} == {2}
    assert llm.usage.failed == 1
    assert llm.usage.unrecovered == {"server error": 5}


def test_silence_opens_the_breaker_with_what_and_where_and_how_to_go_on(llm_stub, tmp_path):
    llm_stub.on("rate 0", reply={"score": 2})
    llm_stub.on("rate", status=503, error="model is loading")
    llm = opened(llm_stub, tmp_path / "ledger.jsonl", concurrency=1, give_up_seconds=2)
    began = time.monotonic()
    with pytest.raises(EndpointError) as raised:
        llm.ask_all("rate", [ask(f"rate {n}") for n in range(3)])
    assert time.monotonic() - began < 10
    text = str(raised.value)
    for part in (
        llm_stub.url,
        "gave no reply for 2 s",
        "HTTP 503",
        "model is loading",
        "the 1 paid replies are in",
        "start the run again",
    ):
        assert part in text, part
    assert "\n" not in text


@pytest.mark.parametrize("how", [{"delay": 30}, {"drip": 0.1}], ids=str)
def test_a_silent_server_is_no_longer_stall_than_the_breaker(llm_stub, how):
    llm_stub.on("rate", reply={"score": 2}, **how)
    began = time.monotonic()
    with pytest.raises(EndpointError, match=r"gave no reply for 0\.5 s"):
        opened(llm_stub, give_up_seconds=0.5, timeout_seconds=60).ask_all("rate", [ask(f"rate {n}") for n in range(20)])
    assert time.monotonic() - began < 10


def test_a_silence_is_counted_by_the_run_that_goes_on_once_for_what_was_asked(llm_stub, tmp_path):
    silent = llm_stub.on("rate 2", status=503)
    llm_stub.on("rate", reply={"score": 2})
    for _ in range(2):
        with pytest.raises(EndpointError):
            opened(llm_stub, tmp_path / "l", concurrency=1, give_up_seconds=2).ask_all("rate", [ask("rate 1"), ask("rate 2")])
    silent.times = 0
    read = tmp_path / "read back"
    shutil.copy(tmp_path / "l", read)
    llm = opened(llm_stub, read)
    llm.ask_all("rate", [ask("rate 1"), ask("rate 2"), ask("rate 2")])
    assert llm.usage.silences == 2
    llm.ask_all("rate", [ask("rate 3"), ask("rate 2")])
    assert llm.usage.silences == 2
    elsewhere = opened(llm_stub, read)
    elsewhere.ask_all("rate", [ask("rate 3")])
    assert elsewhere.usage.silences == 0, "another step's, in the same ledger"


def test_nobody_there_names_the_address_and_does_not_wait_for_the_breaker(monkeypatch):
    monkeypatch.setattr(llm_caller, "UNREACHABLE_SECONDS", 0.3)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{s.getsockname()[1]}/v1"
    llm = open_llm(LlmSettings(model="m", base_url=url, give_up_seconds=60), NO_CAPS, "")
    began = time.monotonic()
    with pytest.raises(EndpointError, match=rf"{url}, model m: cannot be reached; start the server or correct base_url"):
        llm.ask_all("rate", [ask()])
    assert time.monotonic() - began < 10


def test_a_server_that_is_still_starting_is_waited_for(llm_stub):
    llm_stub.on("rate", status=503, times=3)
    llm_stub.on("rate", reply={"score": 2})
    assert opened(llm_stub).ask_all("rate", [ask()])[0].value == 2


# keys and addresses


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (401, "bad key", "refuses the key (HTTP 401"),
        (403, "no access", "put a valid one into OPENAI_API_KEY"),
        (404, "model nope not found", "check model and base_url"),
        (400, "model_not_found: nope", "check model and base_url"),
        (429, "insufficient_quota", "no credit left"),
    ],
)
def test_what_never_passes_is_told_at_once(llm_stub, status, error, told):
    llm_stub.on("rate", status=status, error=error)
    with pytest.raises(EndpointError) as raised:
        opened(llm_stub).ask_all("rate", [ask()])
    text = str(raised.value)
    assert told in text
    assert f"endpoint {llm_stub.url}, model stub" in text
    assert error in text
    assert len(llm_stub.asks) == 1


def test_a_missing_key_is_told_before_any_call(monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    llm = open_llm(LlmSettings(model="m", base_url="http://192.0.2.1/v1", api_key_env="MY_KEY"), NO_CAPS, "")
    with pytest.raises(EndpointError, match=r"environment variable MY_KEY \(api_key_env\) holds no API key"):
        llm.ask_all("rate", [ask()])


def test_the_key_comes_from_the_environment_and_a_loopback_server_needs_none(llm_stub, monkeypatch):
    llm_stub.on("rate", reply={"score": 2})
    monkeypatch.setenv("MY_KEY", " sk-secret \n")
    opened(llm_stub, api_key_env="MY_KEY").ask_all("rate", [ask()])
    monkeypatch.delenv("MY_KEY")
    opened(llm_stub, api_key_env="MY_KEY").ask_all("rate", [ask()])
    assert [a.headers["authorization"] for a in llm_stub.asks] == ["Bearer sk-secret", "Bearer none"]


def test_a_proxy_in_the_environment_is_not_used_for_loopback(llm_stub, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    llm_stub.on("rate", reply={"score": 2})
    assert opened(llm_stub).ask_all("rate", [ask()])[0].value == 2


def test_embedded_without_its_server_is_told():
    with pytest.raises(InputError, match="only `pada run` starts"):
        open_llm(LlmSettings(model="m", base_url="embedded"), NO_CAPS, "")


# caps


@pytest.mark.parametrize("cap", [1, 7, 30])
def test_the_calls_cap_is_never_overshot_and_the_rest_say_budget(llm_stub, cap):
    llm_stub.on("rate", reply={"score": 2}, delay=0.01)
    llm = opened(llm_stub, budget=BudgetSettings(calls=cap), concurrency=16)
    replies = llm.ask_all("rate", [ask(f"rate {n}") for n in range(20)])
    got = min(cap, 20)
    assert llm_stub.paid == got
    assert sum(r.value == 2 for r in replies) == got
    assert all(r.error == f"budget: the cap budget.calls: {cap} is reached" for r in replies if r.value is None)
    assert all(r.unasked == (r.value is None) for r in replies)
    assert (llm.usage.unasked, llm.usage.failed) == (20 - got, 0)
    assert llm.usage.capped == ("" if cap == 30 else f"the cap budget.calls: {cap} is reached")


def test_what_was_spent_before_counts(llm_stub):
    llm_stub.on("rate", reply={"score": 2})
    spent = {"analyze_patterns": Usage(calls=5), "generate_data": Usage(calls=3)}
    llm = opened(llm_stub, budget=BudgetSettings(calls=10), spent=spent)
    assert sum(r.value == 2 for r in llm.ask_all("rate", [ask(f"rate {n}") for n in range(5)])) == 2


@pytest.mark.parametrize(
    "spent, left", [({}, 6), ({"generate_data": Usage(calls=4)}, 2), ({"control_quality": Usage(calls=4)}, 6)]
)
def test_a_stage_has_caps_of_its_own_that_hold_over_the_run(llm_stub, spent, left):
    llm_stub.on("rate", reply={"score": 2}, delay=0.01)
    budget = BudgetSettings(calls=100, stages={"generate_data": {"calls": 6}, "control_quality": {"calls": 1}})
    llm = opened(llm_stub, budget=budget, stage="generate_data", spent=spent, concurrency=16)
    replies = llm.ask_all("rate", [ask(f"rate {n}") for n in range(8)])
    assert llm_stub.paid == sum(r.value == 2 for r in replies) == left
    assert llm.usage.capped == "the cap budget.stages.generate_data.calls: 6 is reached"


@pytest.mark.parametrize("cap, most", [({"tokens": 1000}, 1000), ({"usd": 0.01}, 1000)])
def test_a_stage_s_tokens_and_money_are_not_overshot_by_calls_on_their_way(llm_stub, cap, most):
    llm_stub.on("rate", reply={"score": 2}, tokens=(40, 100), delay=0.01)
    budget = BudgetSettings(stages={"generate_data": cap})
    llm = opened(llm_stub, budget=budget, stage="generate_data", concurrency=16, max_tokens=100, usd_per_million_output=10.0)
    llm.ask_all("rate", [ask(f"rate {n}") for n in range(30)])
    spent = llm.usage.tokens if "tokens" in cap else 1e5 * llm.usage.usd
    assert 0.7 * most <= spent <= most


def test_tokens_and_money_are_not_overshot_by_calls_on_their_way(llm_stub):
    llm_stub.on("rate", reply={"score": 2}, tokens=(40, 100), delay=0.01)
    llm = opened(llm_stub, budget=BudgetSettings(tokens=1000), concurrency=16, max_tokens=100)
    llm.ask_all("rate", [ask(f"rate {n}") for n in range(30)])
    assert 700 <= llm.usage.tokens <= 1000
    assert llm.usage.capped == "the cap budget.tokens: 1000 is reached"
    dollars = opened(llm_stub, budget=BudgetSettings(usd=0.01), concurrency=16, max_tokens=100, usd_per_million_output=10.0)
    dollars.ask_all("rate", [ask(f"rate {n}") for n in range(30)])
    assert 0.008 <= dollars.usage.usd <= 0.01
    assert dollars.usage.capped == "the cap budget.usd: 0.01 is reached"


def test_a_cap_that_nothing_counts_towards_is_said(capsys):
    open_llm(LlmSettings(model="m"), BudgetSettings(usd=1), "")
    assert "budget.usd cannot cap m" in capsys.readouterr().err


# paid once


def test_a_second_run_pays_nothing_and_walks_the_same_path(llm_stub, tmp_path):
    llm_stub.on("must be 1 to 10", reply={"score": 5})
    llm_stub.on("Be brief", reply={"score": 4})
    llm_stub.on("bad", reply={"score": 50})
    llm_stub.on("long", reply={"score": 1}, finish="length")
    llm_stub.on("rate", reply={"score": 2}, wrap="fence")
    requests = [ask("bad"), ask("long"), ask("rate")]
    first = opened(llm_stub, tmp_path / "ledger.jsonl")
    replies = first.ask_all("rate", requests)
    assert [r.value for r in replies] == [5, 4, 2]
    assert llm_stub.paid == 5
    elsewhere = "http://127.0.0.1:9/v1"  # nobody is there: nothing is asked
    prices = {"usd_per_million_input": 1000.0, "usd_per_million_output": 0.0}
    second = open_llm(LlmSettings(model="stub", base_url=elsewhere, **prices), NO_CAPS, str(tmp_path / "ledger.jsonl"))
    assert second.ask_all("rate", requests) == replies
    assert llm_stub.paid == 5
    assert (second.usage.calls, second.usage.paid_calls, second.usage.replayed) == (5, 0, 5)
    paid_before = {"calls paid before": 5, "USD paid before": round(first.usage.input_tokens / 1000, 4)}
    assert second.bill() == {"calls": 0, "tokens": 0, "USD": 0.0, **paid_before}, "nothing now"
    assert second.usage.recovered == first.usage.recovered
    assert second.usage.tokens == first.usage.tokens


def test_a_replay_needs_no_key(llm_stub, tmp_path, monkeypatch):
    llm_stub.on("rate", reply={"score": 2})
    opened(llm_stub, tmp_path / "l.jsonl").ask_all("rate", [ask()])
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    far = open_llm(LlmSettings(model="stub", base_url="https://llm.example/v1"), NO_CAPS, str(tmp_path / "l.jsonl"))
    assert far.ask_all("rate", [ask()])[0].value == 2


def test_equal_requests_on_their_way_are_paid_once_and_other_salts_apart(llm_stub):
    llm_stub.on("rate", reply={"score": 2}, delay=0.05)
    llm = opened(llm_stub)
    assert [r.value for r in llm.ask_all("rate", [ask(), ask(), ask(), ask(salt="1")])] == [2] * 4
    assert llm_stub.paid == 2
    assert llm.usage.calls == 2


def test_what_another_step_paid_is_not_counted_again_and_what_this_one_paid_before_it_was_killed_is(llm_stub, tmp_path):
    llm_stub.on("rate", reply={"score": 2})
    steps = [opened(llm_stub, tmp_path / "l.jsonl") for _ in range(3)]
    for llm, key in zip(steps, ("analyse/it1/val-1", "analyse/it2/val-1", "analyse/it1/val-1"), strict=True):
        assert llm.ask_all("rate", [ask(key=key)])[0].value == 2
    assert [llm.usage.calls for llm in steps] == [1, 0, 1] and llm_stub.paid == 1


def test_the_ledger_holds_the_raw_reply_and_never_the_key(llm_stub, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    llm_stub.on("rate", reply={"score": 2}, wrap="prose")
    reply = opened(llm_stub, tmp_path / "l.jsonl").ask_all("rate", [ask(key="rate/it1/7")])[0]
    text = (tmp_path / "l.jsonl").read_text()
    line = json.loads(text)
    assert line["key"] == reply.request_hash
    assert (line["name"], line["model"], line["finish"]) == ("rate/it1/7", "stub", "stop")
    assert line["text"].startswith("Sure, here you are")
    assert (line["input_tokens"], line["output_tokens"]) == (100, 20)
    assert "sk-secret" not in text


def test_replayed_calls_count_to_the_cap_before_anything_is_paid(llm_stub, tmp_path):
    llm_stub.on("rate", reply={"score": 2})
    requests = [ask(f"rate {n}") for n in range(10)]
    opened(llm_stub, tmp_path / "l.jsonl", BudgetSettings(calls=6)).ask_all("rate", requests)
    again = opened(llm_stub, tmp_path / "l.jsonl", BudgetSettings(calls=6))
    assert sum(r.value == 2 for r in again.ask_all("rate", list(reversed(requests)))) == 6
    assert llm_stub.paid == 6
    more = opened(llm_stub, tmp_path / "l.jsonl", BudgetSettings(calls=8))
    assert sum(r.value == 2 for r in more.ask_all("rate", requests)) == 8
    assert llm_stub.paid == 8


CHILD = """
    import sys
    from pada_agent.components.backends.llm.client import open_llm
    from pada_agent.components.core.llm_interface import LlmRequest
    from pada_agent.components.core.settings import BudgetSettings, LlmSettings

    def parse(value):
        if value["score"] > 10:
            raise ValueError("too high")
        return value["score"]

    url, ledger = sys.argv[1:]
    llm = open_llm(LlmSettings(model="stub", base_url=url, concurrency=4), BudgetSettings(), ledger)
    schema = {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}
    requests = [LlmRequest(f"k{n}", [{"role": "user", "content": f"rate {n}."}], schema, parse, 0) for n in range(60)]
    print([r.value for r in llm.ask_all("rate", requests)], llm.usage.paid_calls, llm.usage.replayed)
"""


def child(llm_stub, ledger):
    arguments = [sys.executable, "-c", textwrap.dedent(CHILD), llm_stub.url, str(ledger)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM])
def test_killed_and_started_again_it_pays_nothing_twice(llm_stub, tmp_path, kill):
    llm_stub.on("too high", reply={"score": 3}, delay=0.02)
    llm_stub.on(lambda a: a.last.endswith("5."), reply={"score": 30}, delay=0.02)
    llm_stub.on("rate", reply={"score": 2}, delay=0.02)
    ledger = tmp_path / "ledger.jsonl"
    for kill_after in (15, 40):
        process = child(llm_stub, ledger)
        while llm_stub.paid < kill_after:
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)
        os.kill(process.pid, kill)
        process.communicate()
    in_ledger = len([line for line in ledger.read_bytes().split(b"\n")[:-1] if line])
    before = llm_stub.paid
    out, err = child(llm_stub, ledger).communicate()
    values = [3 if n % 10 == 5 else 2 for n in range(60)]
    assert out == f"{values} {66 - in_ledger} {in_ledger}\n", err
    assert llm_stub.paid - before == 66 - in_ledger, "every reply that reached the ledger is not paid again"
    assert llm_stub.paid <= 66 + 2 * 12, "lost are only calls that were on their way to the disk at the two kills"
    assert child(llm_stub, ledger).communicate()[0].endswith(" 0 66\n")


def test_a_disk_that_is_full_stops_the_run_with_one_line(llm_stub, tmp_path):
    llm_stub.on("rate", reply={"score": 2})
    code = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    code += "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n" + textwrap.dedent(CHILD)
    ledger = tmp_path / "ledger.jsonl"
    done = subprocess.run([sys.executable, "-c", code, llm_stub.url, str(ledger)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "InputError: ledger" in done.stderr.splitlines()[-1]
    assert "make room" in done.stderr.splitlines()[-1]
    lines = ledger.read_bytes().split(b"\n")
    assert lines[-1] == b""
    assert all(json.loads(line) for line in lines[:-1])


def test_while_the_ledger_cannot_be_written_no_more_is_paid_than_goes_at_once(llm_stub, tmp_path, monkeypatch):
    llm_stub.on("rate", reply={"score": 5})
    append, written, waiting = LedgerFile.append, [], []

    def slow(self, lines):
        time.sleep(0.1)
        waiting.append(llm_stub.paid - len(written))
        append(self, lines)
        written.extend(lines.splitlines())

    monkeypatch.setattr(LedgerFile, "append", slow)
    opened(llm_stub, tmp_path / "ledger.jsonl", concurrency=3).ask_all("rate", [ask(f"rate {n}") for n in range(12)])
    assert len(written) == 12 and max(waiting) <= 3


def test_two_processes_on_one_ledger_the_second_refuses(llm_stub, tmp_path):
    refused = threading.Event()
    llm_stub.on("rate", reply=lambda a: (a.number == 1 or refused.wait(60), {"score": 2})[1])
    first = child(llm_stub, tmp_path / "l.jsonl")
    while not llm_stub.paid:
        time.sleep(0.01)
    second = child(llm_stub, tmp_path / "l.jsonl")
    assert "another process is using it" in second.communicate()[1].splitlines()[-1]
    refused.set()
    assert first.communicate()[0].endswith(" 60 0\n")
    assert llm_stub.paid == 60
