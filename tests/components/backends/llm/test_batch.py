import time
from functools import partial

import pytest
import rating
from rating import ask, asks, lines_of

from pada_agent.components.backends.llm.batch import caller as batch_caller
from pada_agent.components.backends.llm.batch import lines as batch_lines
from pada_agent.components.core.errors import EndpointError
from pada_agent.components.core.settings import BudgetSettings, LlmSettings

PRICES = {"usd_per_million_input": 1.0, "usd_per_million_output": 10.0}
opened = partial(rating.opened, mode="batch")


# one batch, from the requests to their replies


def test_replies_come_in_order_from_one_batch_at_half_the_price(batch_stub, tmp_path, capsys):
    batch_stub.on("rate", reply=lambda a: {"score": int(a.last.split()[-1][:-1]) % 10 + 1}, tokens=(100, 20))
    llm = opened(batch_stub, tmp_path / "l.jsonl", max_tokens=321, **PRICES)
    replies = llm.ask_all("rate", asks(30))
    assert [r.value for r in replies] == [n % 10 + 1 for n in range(30)]
    (batch,) = batch_stub.batches
    assert sorted(batch.keys) == sorted(r.request_hash for r in replies)
    body = batch.lines[0]["body"]
    assert (body["model"], body["max_tokens"], body["messages"][-1]["content"]) == ("stub", 321, "rate 0.")
    usd = 30 * (100 * 1 + 20 * 10) / 1e6 / 2
    assert llm.usage.usd == pytest.approx(usd)
    assert (llm.usage.calls, llm.usage.paid_calls, llm.usage.input_tokens, llm.usage.failed) == (30, 30, 3000, 0)
    assert llm.bill() == {"calls": 30, "tokens": 3600, "USD": round(usd, 4)}
    said = capsys.readouterr().err
    assert "batch batch_1 was made: 30 requests" in said and "batch batch_1: in_progress" in said
    assert batch_stub.calls[:2] == ["POST /files", "POST /batches"], "no list is asked for when nothing is in doubt"


def test_a_replay_is_priced_as_it_was_paid_and_asks_nobody(batch_stub, tmp_path):
    batch_stub.on("rate", reply={"score": 2}, tokens=(100, 20))
    first = opened(batch_stub, tmp_path / "l.jsonl", **PRICES)
    replies = first.ask_all("rate", asks(3))
    calls = len(batch_stub.calls)
    for mode in ("chat", "batch"):
        again = opened(batch_stub, tmp_path / "l.jsonl", mode=mode, **PRICES)
        assert again.ask_all("rate", asks(3)) == replies
        assert again.usage.usd == pytest.approx(first.usage.usd) and again.usage.usd > 0
        assert (again.usage.replayed, len(batch_stub.calls)) == (3, calls)
    no_discount = opened(batch_stub, tmp_path / "l.jsonl", batch_discount=0, **PRICES)
    no_discount.ask_all("rate", asks(3))
    assert no_discount.usage.usd == pytest.approx(2 * first.usage.usd)


def test_what_was_paid_in_chats_keeps_its_price(batch_stub, tmp_path):
    batch_stub.on("rate", reply={"score": 2}, tokens=(100, 20))
    chat = opened(batch_stub, tmp_path / "l.jsonl", mode="chat", **PRICES)
    chat.ask_all("rate", asks(2))
    both = opened(batch_stub, tmp_path / "l.jsonl", **PRICES)
    both.ask_all("rate", asks(4))
    assert both.usage.usd == pytest.approx(chat.usage.usd * 1.5)
    assert [len(b.lines) for b in batch_stub.batches] == [2]


def test_equal_requests_are_one_line(batch_stub):
    batch_stub.on("rate", reply={"score": 2})
    llm = opened(batch_stub)
    assert [r.value for r in llm.ask_all("rate", [ask(), ask(), ask("rate 2")])] == [2, 2, 2]
    assert (len(batch_stub.batches[0].lines), llm.usage.calls) == (2, 2)


def test_what_no_file_may_hold_goes_into_several(batch_stub, monkeypatch):
    batch_stub.on("rate", reply={"score": 2})
    monkeypatch.setattr(batch_caller, "MOST_LINES", 4)
    assert [r.value for r in opened(batch_stub).ask_all("rate", asks(10))] == [2] * 10
    assert [len(b.lines) for b in batch_stub.batches] == [4, 4, 2]
    size = len(batch_stub.files["file-1"]) // 4
    monkeypatch.setattr(batch_lines, "MOST_BYTES", 3 * size + size // 2)
    opened(batch_stub).ask_all("rate", asks(10))
    assert [len(b.lines) for b in batch_stub.batches[3:]] == [3, 3, 3, 1]


# what is asked again


def test_replies_that_cannot_be_used_are_asked_for_in_the_next_batch(batch_stub):
    batch_stub.on('"score" must be 1 to 10', reply={"score": 5})
    batch_stub.on("Be brief", reply={"score": 4})
    batch_stub.on("rate 1.", reply={"score": 50})
    batch_stub.on("rate 2.", text='{"score": 5', finish="length")
    batch_stub.on("rate", reply={"score": 2})
    llm = opened(batch_stub)
    assert [r.value for r in llm.ask_all("rate", asks(4))] == [2, 5, 4, 2]
    assert [len(b.lines) for b in batch_stub.batches] == [4, 2]
    assert llm.usage.recovered == {"refused": 1, "cut off": 1}


def test_a_reply_that_is_never_of_use_fails_alone_after_three_batches(batch_stub):
    batch_stub.on("rate 1.", reply={"score": 50})
    batch_stub.on("rate", reply={"score": 2})
    replies = opened(batch_stub).ask_all("rate", asks(3))
    assert [r.value for r in replies] == [2, None, 2]
    assert "3 replies could not be used" in replies[1].error
    assert len(batch_stub.batches) == 3


def test_lines_with_passing_errors_go_into_the_next_batch_and_others_fail_alone(batch_stub):
    batch_stub.on("rate 1.", status=500, times=1)
    batch_stub.on("rate 2.", status=400, error="maximum context length is 8192 tokens")
    batch_stub.on("rate", reply={"score": 2})
    llm = opened(batch_stub)
    first, second, third = llm.ask_all("rate", [ask("rate 0."), ask("rate 1."), ask("rate 2.")])
    assert (first.value, second.value, third.value) == (2, 2, None)
    assert "HTTP 400" in third.error and "8192" in third.error
    assert [len(b.lines) for b in batch_stub.batches] == [3, 1]
    assert (llm.usage.recovered, llm.usage.failed, llm.usage.retries) == ({"server error": 1}, 1, 1)
    assert llm.usage.unrecovered == {"refused by the endpoint": 1}


def test_a_line_that_always_fails_is_given_up_alone(batch_stub):
    batch_stub.on("rate 1.", status=500)
    batch_stub.on("rate", reply={"score": 2})
    replies = opened(batch_stub).ask_all("rate", asks(2))
    assert replies[0].value == 2 and "failed in 3 batches; the last: HTTP 500" in replies[1].error
    assert [len(b.lines) for b in batch_stub.batches] == [2, 1, 1]


def test_when_nothing_is_answered_in_several_batches_the_run_ends(batch_stub, tmp_path):
    batch_stub.on("rate", status=500, error="model overloaded")
    with pytest.raises(EndpointError, match=r"answered nothing in 3 batches, one after the other; the last trouble: HTTP 500"):
        opened(batch_stub, tmp_path / "l.jsonl").ask_all("rate", asks(2))
    assert len(batch_stub.batches) == 3
    assert [line for line in lines_of(tmp_path / "l.jsonl") if "silence" in line]


def test_a_form_or_parameter_that_lines_are_refused_for_is_left_out_from_then_on(batch_stub):
    refusal = {"status": 400, "error": "Unsupported parameter: 'max_tokens', use 'max_completion_tokens' instead."}
    batch_stub.on(lambda a: "max_tokens" in a.body, **refusal)
    batch_stub.refuse_format("json_schema")
    batch_stub.on("rate", reply={"score": 2})
    llm = opened(batch_stub)
    assert [r.value for r in llm.ask_all("rate", asks(3))] == [2] * 3
    made = len(batch_stub.batches)
    assert made == 4, "one for the parameter, two for the form, with and without bounds, one that is answered"
    assert [r.value for r in llm.ask_all("rate", [ask("rate more")])] == [2]
    assert len(batch_stub.batches) == made + 1, "learned: the next step is not refused"


def test_a_batch_whose_time_was_over_keeps_what_was_answered_and_the_rest_is_asked_again(batch_stub, tmp_path):
    batch_stub.on("rate", reply={"score": 2})
    batch_stub.plan(answers=3, end="expired")
    llm = opened(batch_stub, tmp_path / "l.jsonl")
    assert [r.value for r in llm.ask_all("rate", asks(8))] == [2] * 8
    assert [len(b.lines) for b in batch_stub.batches] == [8, 5]
    assert (batch_stub.paid, llm.usage.calls) == (8, 8)
    assert llm.usage.recovered == {"not reached in its batch": 5}


def test_a_line_that_stands_in_no_file_is_asked_again(batch_stub):
    batch_stub.on("rate", reply={"score": 2})
    keep = batch_stub.keep
    batch_stub.keep = lambda raw: keep(raw.split(b"\n", 1)[1] if b'"response"' in raw and len(batch_stub.batches) == 1 else raw)
    assert [r.value for r in opened(batch_stub).ask_all("rate", asks(3))] == [2] * 3
    assert [len(b.lines) for b in batch_stub.batches] == [3, 1]


def test_a_batch_too_long_for_the_account_s_queue_is_asked_in_parts_one_after_the_other(batch_stub, capsys):
    batch_stub.on("rate", reply={"score": 2})
    batch_stub.queue = 3
    running = []
    batch_stub.before = lambda call: running.append(sum(b.status in {"validating", "in_progress"} for b in batch_stub.batches))
    assert [r.value for r in opened(batch_stub).ask_all("rate", asks(10))] == [2] * 10
    assert [len(b.lines) for b in batch_stub.batches] == [10, 5, 3, 3, 3, 1]
    assert max(running) == 1
    assert "asking for 5 at once" in capsys.readouterr().err
    batch_stub.queue = 0
    with pytest.raises(EndpointError, match=r"failed before anything was run \(token_limit_exceeded: Enqueued token limit"):
        opened(batch_stub).ask_all("rate", asks(2))


def test_a_batch_that_fails_ends_the_run_with_the_provider_s_words(batch_stub):
    batch_stub.plan(errors=[("model_not_found", "The provided model is not supported by the Batch API.")])
    with pytest.raises(EndpointError, match=r"model stub: batch batch_1 failed .*model_not_found: The provided model is not"):
        opened(batch_stub).ask_all("rate", asks(2))


def test_a_batch_that_somebody_cancelled_is_not_made_again_by_itself(batch_stub, tmp_path):
    batch_stub.on("rate", reply={"score": 2})
    batch_stub.plan(answers=2, end="cancelled")
    with pytest.raises(EndpointError, match="batch batch_1 was cancelled there; 2 replies of it are kept, start the run again"):
        opened(batch_stub, tmp_path / "l.jsonl").ask_all("rate", asks(5))
    llm = opened(batch_stub, tmp_path / "l.jsonl")
    assert [r.value for r in llm.ask_all("rate", asks(5))] == [2] * 5
    assert ([len(b.lines) for b in batch_stub.batches], llm.usage.replayed) == ([5, 3], 2)
    batch_stub.plan(end="cancelled")
    assert [r.value for r in opened(batch_stub).ask_all("rate", asks(3))] == [2] * 3, "too late to take anything away"


def test_lines_refused_for_the_key_or_the_credit_end_the_run_after_the_others_are_kept(batch_stub, tmp_path):
    batch_stub.on("rate 1.", status=429, error="insufficient_quota")
    batch_stub.on("rate", reply={"score": 2})
    with pytest.raises(EndpointError, match="no credit left"):
        opened(batch_stub, tmp_path / "l.jsonl").ask_all("rate", asks(3))
    assert sum("text" in line for line in lines_of(tmp_path / "l.jsonl")) == 2


# as in chats: see test_servers.py and test_thinking.py


def test_lines_carry_what_the_settings_add_and_headers_go_with_every_request(batch_stub):
    batch_stub.on("rate", reply={"score": 2})
    llm = opened(batch_stub, reasoning_effort="low", extra_body={"top_k": 20}, headers={"X-Tenant": "7"})
    (reply,) = llm.ask_all("rate", [ask()])
    (line,) = batch_stub.batches[0].lines
    assert (line["body"]["reasoning_effort"], line["body"]["top_k"]) == ("low", 20)
    assert line["custom_id"] == reply.request_hash
    assert {headers["X-Tenant"] for headers in batch_stub.headers} == {"7"}
    assert opened(batch_stub).ask_all("rate", [ask()])[0].request_hash != reply.request_hash, "another question"


def test_lines_refused_for_the_temperature_and_half_of_the_others_for_their_number_are_all_answered_in_the_end(batch_stub):
    batch_stub.on(lambda a: "temperature" in a.body, status=400, error="Unsupported value: 'temperature' does not support 0.7")
    for n in (1, 3):
        batch_stub.on(f"rate {n}.", status=429, error="Rate limit reached", times=n // 2 + 1)
    batch_stub.on("rate 5.", status=429, error="Rate limit reached")
    batch_stub.on("rate", reply={"score": 2})
    llm = opened(batch_stub)
    replies = llm.ask_all("rate", asks(6))
    assert [r.value for r in replies] == [2, 2, 2, 2, 2, None]
    assert replies[5].error.startswith("failed in 3 batches; the last: HTTP 429")
    assert [len(b.lines) for b in batch_stub.batches] == [6, 6, 3, 2]
    assert llm.usage.recovered == {"temperature refused": 5, "overload": 3}
    assert (llm.usage.paid_calls, llm.usage.failed) == (5, 1)


def test_a_reasoning_effort_that_lines_are_refused_for_is_left_out_from_then_on(batch_stub):
    batch_stub.on(lambda a: "reasoning_effort" in a.body, status=400, error="Unsupported parameter: 'reasoning_effort'")
    batch_stub.on("rate", reply={"score": 2})
    llm = opened(batch_stub, reasoning_effort="low")
    assert [r.value for r in llm.ask_all("rate", asks(3))] == [2] * 3
    assert [len(b.lines) for b in batch_stub.batches] == [3, 3]
    assert llm.usage.recovered == {"reasoning_effort refused": 3}


def test_the_discount_is_on_cached_input_too_and_a_replay_knows_it(batch_stub, tmp_path):
    batch_stub.on("rate", reply={"score": 2}, tokens=(100, 20), usage={"prompt_tokens_details": {"cached_tokens": 80}})
    prices = {"usd_per_million_input": 10.0, "usd_per_million_cached_input": 1.0, "usd_per_million_output": 100.0}
    for paid_now in (3, 0):
        llm = opened(batch_stub, tmp_path / "l.jsonl", batch_discount=0.25, **prices)
        llm.ask_all("rate", asks(3))
        assert llm.usage.usd == pytest.approx(3 * (20 * 10 + 80 * 1 + 20 * 100) / 1e6 * 0.75)
        assert (llm.usage.cached_input_tokens, llm.bill().get("cached input tokens", 0)) == (240, 80 * paid_now)


def test_thoughts_are_taken_out_of_lines_and_a_thought_without_an_end_is_asked_for_again(batch_stub, tmp_path):
    batch_stub.on("Be brief", message={"content": None, "reasoning_content": '{"score": 6}'})
    batch_stub.on("rate 1.", text='<think>Perhaps {"score": 3}')
    batch_stub.on("rate", text='<think>They want {"score": 3}?</think>{"score": 7}')
    llm = opened(batch_stub, tmp_path / "l.jsonl", max_tokens=100)
    replies = llm.ask_all("rate", asks(2))
    assert [r.value for r in replies] == [7, 6]
    assert [[line["body"]["max_tokens"] for line in b.lines] for b in batch_stub.batches] == [[100, 100], [200]]
    assert opened(batch_stub, tmp_path / "l.jsonl", max_tokens=100).ask_all("rate", asks(2)) == replies, "and in a replay"


def test_an_error_in_a_line_of_200_counts_as_the_status_it_names(batch_stub):
    batch_stub.on("rate 1.", body={"error": {"code": 502, "message": "Provider returned error"}}, times=1)
    batch_stub.on("rate 2.", body={"error": {"code": "rate_limit_exceeded", "message": "slow down"}}, times=1)
    batch_stub.on("rate 3.", body={"error": {"code": 400, "message": "maximum context length is 8192 tokens"}})
    batch_stub.on("rate 4.", body={"error": {"code": 403, "message": "Input was flagged"}})
    batch_stub.on("rate 5.", reply={"score": 9}, finish="error", times=1)
    batch_stub.on("rate", reply={"score": 2})
    llm = opened(batch_stub)
    replies = llm.ask_all("rate", asks(6))
    assert [r.value for r in replies] == [2, 2, 2, None, None, 2]
    assert "HTTP 400" in replies[3].error and "flagged" in replies[4].error
    assert [len(b.lines) for b in batch_stub.batches] == [6, 3]
    assert llm.usage.recovered == {"overload": 1, "server error": 2}


@pytest.mark.parametrize(
    ("code", "said"), [(402, "no credit left"), ("insufficient_quota", "no credit left"), ("invalid_api_key", "refuses the key")]
)
def test_an_error_in_a_line_of_200_that_ends_the_run_loses_no_paid_reply(batch_stub, tmp_path, code, said):
    batch_stub.on("rate 1.", body={"error": {"code": code, "message": "No."}}, times=1)
    batch_stub.on("rate", reply={"score": 2})
    with pytest.raises(EndpointError, match=said):
        opened(batch_stub, tmp_path / "l.jsonl").ask_all("rate", asks(3))
    llm = opened(batch_stub, tmp_path / "l.jsonl")
    assert [r.value for r in llm.ask_all("rate", asks(3))] == [2] * 3
    assert (llm.usage.replayed, [len(b.lines) for b in batch_stub.batches]) == (2, [3, 1])


def test_a_server_that_cuts_the_prompts_of_a_batch_is_told_of_once(batch_stub, capsys):
    batch_stub.on("rate", reply={"score": 2}, tokens=(2050, 10))
    opened(batch_stub).ask_all("rate", [ask(f"rate {'The store sells 24 kinds of tea. ' * 900}{n}") for n in range(3)])
    assert capsys.readouterr().err.count("read 2,050 tokens of a prompt that has at least") == 1


# caps


@pytest.mark.parametrize("cap", [1, 7, 30])
def test_the_calls_cap_is_never_overshot_and_the_rest_say_budget(batch_stub, cap):
    batch_stub.on("rate", reply={"score": 2})
    llm = opened(batch_stub, budget=BudgetSettings(calls=cap))
    replies = llm.ask_all("rate", asks(20))
    got = min(cap, 20)
    assert (batch_stub.paid, sum(r.value == 2 for r in replies)) == (got, got)
    assert all(r.unasked and r.error == f"budget: the cap budget.calls: {cap} is reached" for r in replies if r.value is None)
    assert (llm.usage.unasked, llm.usage.failed, bool(llm.usage.capped)) == (20 - got, 0, cap < 20)


def test_tokens_and_money_are_reserved_at_their_most_and_at_the_price_of_a_batch(batch_stub):
    batch_stub.on("rate", reply={"score": 2}, tokens=(40, 100))
    llm = opened(batch_stub, budget=BudgetSettings(tokens=1500), max_tokens=100)
    llm.ask_all("rate", asks(30))
    assert 1000 <= llm.usage.tokens <= 1500
    assert len(batch_stub.batches) > 1, "room that a batch leaves is used by the next"
    dollars = opened(batch_stub, budget=BudgetSettings(usd=0.01), max_tokens=100, usd_per_million_output=10.0)
    dollars.ask_all("rate", asks(30))
    assert len(batch_stub.batches[-1].lines) == dollars.usage.calls == 19, "twice as many as at the full price, at once"
    assert dollars.usage.usd == pytest.approx(0.0095)


# trouble on the way


def test_trouble_on_the_way_passes_and_makes_no_second_batch(batch_stub):
    batch_stub.on("rate", reply={"score": 2})
    for call in ("POST /files", "POST /batches", "GET /batches/", "GET /files/"):
        batch_stub.trouble += [(call, 503, {}), (call, 429, {"Retry-After": "0.01"})]
    assert [r.value for r in opened(batch_stub).ask_all("rate", asks(3))] == [2] * 3
    assert (batch_stub.trouble, len(batch_stub.batches)) == ([], 1)


def test_a_batch_too_young_to_be_seen_is_looked_for_again(batch_stub):
    batch_stub.on("rate", reply={"score": 2})
    batch_stub.trouble = [("GET /batches/", 404, {})] * 3
    assert [r.value for r in opened(batch_stub).ask_all("rate", asks(2))] == [2, 2]
    assert (batch_stub.trouble, len(batch_stub.batches)) == ([], 1)


def test_a_download_that_breaks_off_is_begun_again(batch_stub):
    batch_stub.on("rate 2.", status=500, times=1)
    batch_stub.on("rate", reply={"score": 2})
    batch_stub.cut_downloads = 3
    assert [r.value for r in opened(batch_stub).ask_all("rate", asks(20))] == [2] * 20
    assert (batch_stub.cut_downloads, batch_stub.paid, [len(b.lines) for b in batch_stub.batches]) == (0, 20, [20, 1])


def test_a_provider_that_asks_for_a_longer_wait_than_is_allowed_ends_the_run(batch_stub):
    batch_stub.trouble = [("POST /files", 429, {"Retry-After": "60"})]
    with pytest.raises(EndpointError, match=r"asks to wait 60 s, longer than give_up_seconds \(20\) allows"):
        opened(batch_stub).ask_all("rate", asks(2))


def test_a_lost_answer_to_the_making_of_a_batch_does_not_make_two(batch_stub, monkeypatch):
    batch_stub.on("rate", reply={"score": 2})
    batch_stub.lose_answers = batch_stub.unlisted = 1
    monkeypatch.setattr("pada_agent.components.backends.llm.batch.provider.SETTLED", 0.5)
    assert [r.value for r in opened(batch_stub).ask_all("rate", asks(3))] == [2] * 3
    assert (len(batch_stub.batches), batch_stub.unlisted) == (1, 0)


@pytest.mark.parametrize("absent", ["/files", "/batches"])
def test_a_server_without_batches_is_told_to_use_chats(batch_stub, absent):
    batch_stub.absent.add(absent)
    with pytest.raises(EndpointError, match=r"has no batch API at this address .*HTTP 404.*set mode: chat"):
        opened(batch_stub).ask_all("rate", asks(2))


def test_an_endpoint_that_stops_answering_while_a_batch_is_waited_for(batch_stub, tmp_path, capsys):
    batch_stub.on("rate", reply={"score": 2})
    batch_stub.trouble = [("GET /batches/", 503, {})] * 1000
    with pytest.raises(EndpointError, match=r"gave no reply for 0.3 s .*start the run again and it resumes"):
        opened(batch_stub, tmp_path / "l.jsonl", give_up_seconds=0.3).ask_all("rate", asks(2))
    assert "goes on at the provider (batch_1): start the run again" in capsys.readouterr().err
    batch_stub.trouble.clear()
    assert [r.value for r in opened(batch_stub, tmp_path / "l.jsonl").ask_all("rate", asks(2))] == [2, 2]
    assert len(batch_stub.batches) == 1


def test_a_batch_may_take_longer_than_give_up_seconds(batch_stub):
    batch_stub.on("rate", reply={"score": 2})
    batch_stub.hold = True
    until = time.monotonic() + 0.6
    batch_stub.before = lambda call: setattr(batch_stub, "hold", time.monotonic() < until)
    assert opened(batch_stub, give_up_seconds=0.2).ask_all("rate", [ask()])[0].value == 2
    assert time.monotonic() > until


def test_embedded_servers_have_no_batches():
    with pytest.raises(ValueError, match="the embedded server has none, leave mode: chat"):
        LlmSettings(model="m", base_url="embedded", mode="batch")
