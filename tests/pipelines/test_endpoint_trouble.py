"""Endpoints that do all that endpoints do: overcome or said, counted in the report, never a stall, never nothing as success.

Real stages with a tiny model, over real sockets. The fine-tuning that comes before the first call is done once for all tests.
"""

import json
import shutil
import time

import pytest
import yaml
from llm_stub import serving
from whole_run import ANALYSING, WRITING, analysis, items, small_run, teach

TROUBLES = {  # what befalls the first try of one analysis each -> the kind under which the report counts it
    "too many requests, and when to come back": ({"status": 429, "headers": {"Retry-After": "1"}}, "overload"),
    "too many requests": ({"status": 429}, "overload"),
    "overloaded": ({"status": 503}, "overload"),
    "broken": ({"status": 500}, "server error"),
    "connection reset": ({"trouble": "reset"}, "connection lost"),
    "half a body": ({"trouble": "cut"}, "connection lost"),
    "no answer in time": ({"delay": 6}, "timeout"),
    "byte by byte": ({"drip": 0.05}, "timeout"),
    "in a fence": ({"wrap": "fence"}, "fence"),
    "in prose": ({"wrap": "prose"}, "prose"),
    "nothing": ({"text": ""}, "empty"),
    "half a JSON": ({"text": '{"difference": "A clause.", "root_cau'}, "refused"),
    "cut off": ({"text": '{"difference": "A clause.", "root_cau', "finish": "length"}, "cut off"),
    "filtered": ({"finish": "content_filter"}, "filtered"),
}


@pytest.fixture
def stub():
    with serving() as server:
        yield server


def settings(url, tiny_slm, give_up, generate):
    return small_run(
        url,
        tiny_slm,
        {"timeout_seconds": 4, "give_up_seconds": give_up},
        task={"validation_size": len(TROUBLES)},
        analyze={"sample": len(TROUBLES), "k_max": 2},
        generate={"batch": 2, "refills": 0, "regenerations": 2, **generate},
    )


@pytest.fixture(scope="module")
def begun(fork, tiny_slm, tmp_path_factory):
    """Start a run up to its first call; its directory. Settings of generation make another one."""
    made = {}

    def begin(**generate):
        key = json.dumps(generate)
        if key not in made:
            folder = made[key] = tmp_path_factory.mktemp("begun")
            (folder / "config.yaml").write_text(yaml.safe_dump(settings("http://127.0.0.1:9/v1", tiny_slm, 20, generate)))
            arguments = ["run", "--config", str(folder / "config.yaml"), "--run-dir", str(folder / "run"), "--until", "start"]
            assert fork.start(arguments, folder / "log").wait() == 0, (folder / "log").read_text()
        return made[key] / "run"

    return begin


@pytest.fixture
def go_on(begun, fork, stub, tiny_slm, tmp_path):
    """go_on(generate settings, until=..., give_up=...) -> exit code, what was said, and the report's facts."""

    def start(generate=None, until="generate", give_up=20):
        generate = generate or {}
        if not (tmp_path / "run").exists():
            shutil.copytree(begun(**generate), tmp_path / "run")
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings(stub.url, tiny_slm, give_up, generate)))
        arguments = ["run", "--config", str(tmp_path / "config.yaml"), "--run-dir", str(tmp_path / "run")]
        log = tmp_path / f"log-{time.monotonic()}"
        code = fork.start([*arguments, *(["--until", until] if until else [])], log).wait()
        return code, log.read_text(), json.loads((tmp_path / "run" / "report.json").read_text())

    return start


class Nth:
    """Matches every try of the `number`th analysis that is asked for."""

    def __init__(self, seen, number):
        self.seen, self.number = seen, number

    def __call__(self, ask):
        if ANALYSING not in ask.text:
            return False
        own = next((i for i, first in enumerate(self.seen) if ask.messages[1]["content"].startswith(first)), None)
        if own is None:
            own = len(self.seen)
            self.seen.append(ask.messages[1]["content"])
        return own == self.number


def test_all_that_can_befall_a_reply_is_overcome_and_counted(go_on, stub, tmp_path):
    seen, written = [], []
    for number, (how, _) in enumerate(TROUBLES.values()):
        stub.on(Nth(seen, number), reply=analysis, times=1, **how)
    stub.on(lambda ask: ask.body["model"] == "judge" and ask.format == "json_schema", status=400, error="no response_format here")

    def poor(ask):
        value = items(ask)
        written.append(len(value["items"]))
        if len(written) == 1:
            return {"items": value["items"][:1]}  # too few
        if len(written) == 2:
            return {"items": [{**value["items"][0], "sql": "DELETE FROM orders"}]}  # no row
        if len(written) == 3:
            return {"items": [value["items"][0]] * 2}  # twice the same
        return value

    teach(stub, items=poor)
    code, said, facts = go_on()
    assert code == 0, said
    (iteration,), total = facts["iterations"], facts["usage"]["total"]
    refused = sum(ask.format == "json_schema" and ask.body["model"] == "judge" for ask in stub.asks)
    met = [kind for _, kind in TROUBLES.values()] + ["response_format refused"] * refused
    assert refused >= 4, "two forms of asking, found out by both rounds of judging"
    assert total["recovered"] == {kind: met.count(kind) for kind in sorted(set(met))}
    assert total["retries"] == sum(kind in {"overload", "server error", "connection lost", "timeout"} for kind in met)
    assert (total["failed"], iteration["summary"]["analysed"]) == (0, len(TROUBLES))
    assert iteration["unwritten"] == {"too few": 1, "no row": 1}
    assert "not new" in dict(iteration["reasons"])
    assert iteration["accepted"] == iteration["wanted"], "what was lacking was written in another try"
    page = (tmp_path / "run" / "report.html").read_text()
    assert "never arrived: too few 1 · no row 1" in page
    for kind in set(met):
        assert f"{kind} {met.count(kind)}" in page


def test_a_teacher_that_never_writes_a_row_is_no_success(go_on, stub, tmp_path):
    stub.on(WRITING, text="I would rather not.")
    teach(stub)
    for _ in range(2):  # started again it says the same
        code, said, facts = go_on(until="")
        assert code == 1
        assert said.splitlines()[-1].startswith(
            "pada: no synthetic row was let in, so this run shows nothing and ships its start:"
        )
        assert "no row was written: not one of 6 asked for came in a usable reply" in said.splitlines()[-1]
    total, page = facts["usage"]["total"], (tmp_path / "run" / "report.html").read_text()
    assert total["failed"] == 4 * 3 and total["unrecovered"] == {"no JSON": 4 * 3 * 3}  # batches, attempts, replies
    assert facts["iterations"][0]["unwritten"] == {"no reply": 18}
    assert '<span class="pill bad">no new data</span>' in page
    assert "12 requests to the LLMs ended without a usable reply: no JSON 36." in page


def test_a_judge_that_gives_all_the_best_is_said(go_on, stub, tmp_path):
    stub.on("You judge training examples", reply={"adherence": 10, "utility": 10, "relevance": 10, "feedback": ""})
    teach(stub)
    code, said, facts = go_on({"batch": 1})
    assert code == 0, said
    assert {len(scores) for scores in facts["iterations"][0]["judged"]} == {2, 3}, "batches of both kinds"
    told = "the judge gave all 6 batches the same scores (adherence 10, relevance 10, utility 10); it does not tell good from bad"
    assert any(told in note for note in facts["notes"])
    assert told in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("how", [{"drip": 0.2}, {"status": 429}, {"status": 429, "headers": {"Retry-After": "1"}}], ids=str)
def test_an_endpoint_that_never_answers_ends_the_run_in_time_and_the_report_says_so(how, go_on, stub):
    teach(stub)
    silent = stub.on(WRITING, reply=items, **how)
    stub.rules.insert(0, stub.rules.pop(stub.rules.index(silent)))
    code, said, _ = go_on(give_up=3)
    assert code == 1
    tries = [ask.at for ask in stub.asks if WRITING in ask.text]
    assert time.monotonic() - tries[0] < 3 + 10 and tries[-1] - tries[0] <= 3
    assert (
        "gave no reply for 3 s (give_up_seconds)" in said.splitlines()[-1]
        or "longer than give_up_seconds (3)" in said.splitlines()[-1]
    )
    assert "start the run again" in said.splitlines()[-1]
    before = stub.paid
    silent.times = 0
    code, said, facts = go_on(give_up=20)
    assert code == 0, said
    assert not [a for a in stub.asks[-(stub.paid - before) :] if ANALYSING in a.text], "what was paid is not asked again"
    assert facts["usage"]["total"]["silences"] == 1
    assert any("gave no reply for so long that the run stopped, 1 time" in note for note in facts["notes"])
