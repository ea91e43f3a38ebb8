"""A task whose answers an LLM scores, through the whole loop here: stopped and started again, paid once, told in the report."""

import json
import random
from collections import Counter

import advice_rows
import pytest
import yaml
from advice_rows import COMPARING, SCORING
from llm_stub import serving
from whole_run import ANALYSING, WRITING, small_run, spread, state_of, teach

from pada_agent.components.core.errors import InputError
from pada_agent.pipelines.config import read_config
from pada_agent.pipelines.cost_table import estimated, show_estimate
from pada_agent.pipelines.local import run as local
from pada_agent.pipelines.study.gather import gather

WHY = "It never says how to begin with"


def thing(question):
    """The word of a question that no other row has."""
    return question.split("mend a ")[-1].split(" from")[0]


def written(ask):
    draw, asked = random.Random(ask.last), ask.schema["properties"]["items"]
    words = [[advice_rows.word(draw) for _ in range(4)] for _ in range(asked["minItems"])]
    texts = [{"question": f"How do I mend a {a} from {b}?", "answer": f"{c.title()} it, {d}."} for a, b, c, d in words]
    return {"items": [{key: text[key] for key in asked["items"]["properties"]} for text in texts]}


def score(ask):
    """Any score, always the same of one answer, and a reason that quotes the question."""
    shown = advice_rows.parts(ask)
    return {"reason": f"{WHY} {thing(shown['asked'])}.", "score": 1 + spread(shown["answer to be scored"], 5)}


@pytest.fixture(scope="module")
def stub():
    with serving() as server:
        teach(server, items=written)
        server.on(SCORING, reply=score)
        server.on(COMPARING, reply=lambda ask: {"reason": "Shorter.", "better": ("first", "second", "tie")[spread(ask.last, 3)]})
        yield server


def write_config(folder, stub, tiny_slm, **sections):
    values = small_run(
        stub.url,
        tiny_slm,
        {"concurrency": 4, "timeout_seconds": 60},
        train={"checkpoints": 0},
        analyze={"sample": 6, "k_max": 2},
        generate={"batch": 3, "regenerations": 0},
        evaluate={"max_new_tokens": 6},
    )
    task = {"name": "custom", **advice_rows.write(folder), "options": advice_rows.options(human_score="human")}
    scorer = {**values["judge"], "model": "scorer"}
    whole = {**values, "task": task, "scorer": scorer, "score": {"checks": 5}, "step_matched": True, **sections}
    (folder / "config.yaml").write_text(yaml.safe_dump(whole))
    return read_config(folder / "config.yaml")


@pytest.fixture(scope="module")
def ran(stub, tiny_slm, tmp_path_factory):
    """A run that was stopped in between: settings, directory, the asks so far when it was stopped and at the end."""
    folder = tmp_path_factory.mktemp("judged")
    settings = write_config(folder, stub, tiny_slm)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "test-key")
        assert local.run(settings, folder / "run", "evaluate").stopped_at == "grade-vanilla"
        stopped = len(stub.asks)
        local.run(settings, folder / "run")
    return settings, folder / "run", stopped, list(stub.asks)


def test_a_study_reads_the_scores(ran, monkeypatch):
    settings, folder, _, _ = ran
    monkeypatch.setenv("OPENAI_API_KEY", "test-key")
    cell, task = gather("advice", 0, "vanilla", settings, local.run(settings, folder))
    assert task.graded and [model.name for model in cell.models] == ["untuned", "vanilla"]
    assert all(len(model.grades["test"]) == advice_rows.SIZES["test"] for model in cell.models)
    assert cell.spent["score_answers"].calls > 0


def of(asks, *beginnings):
    return [ask for ask in asks if ask.text.startswith(beginnings)]


def test_all_models_are_scored_and_compared_by_their_mean_score(ran):
    _, folder, _, _ = ran
    state = state_of(folder)
    assert [model["name"] for model in state["models"]] == ["untuned", "vanilla", "iteration-1", "step-matched"]
    for model in state["models"]:
        assert set(model["metrics"]) >= {"selection", "test"}
        assert all(0 <= m["grade"]["mean"] <= 1 for m in model["metrics"].values())
        assert set(model["grades"]["test"]) == set(model["outcomes"]["test"])
    assert len({json.dumps(model["grades"]["test"], sort_keys=True) for model in state["models"]}) > 1, "they answer otherwise"
    assert state["run"]["scorer"] == "scorer" and state["iterations"][0]["promotion"]


def test_nothing_is_paid_twice_and_what_it_cost_is_in_the_report(ran, stub):
    settings, folder, stopped, asks = ran
    assert 0 < stopped < len(asks)
    assert max(Counter(json.dumps(ask.messages) for ask in of(asks, SCORING, COMPARING)).values()) == 1
    facts = json.loads((folder / "report.json").read_text())
    spent = facts["usage"]["stages"]["score_answers"]
    assert spent["calls"] == len(of(asks, SCORING, COMPARING)) and spent["input_tokens"] == 100 * spent["calls"]
    assert spent["calls"] <= facts["usage"]["expected"]["score_answers"]["calls"]
    assert facts["usage"]["total"]["calls"] == len(asks)
    local.run(settings, folder)
    assert len(stub.asks) == len(asks)


def test_an_estimate_counts_the_answers_of_all_models(ran):
    settings, folder, _, _ = ran
    stages, train, _ = estimated(settings)
    (scoring,) = (stage for stage in stages if stage.stage == "score_answers")
    sizes = advice_rows.SIZES
    reported = sizes["selection"] + sizes["test"]
    # untuned and step-matched on the reported rows, vanilla and one iteration on all; five rows in two orders, and twice as long
    assert scoring.expected.calls == 2 * reported + 2 * sum(sizes.values()) + 4 * 5
    state = state_of(folder)
    assert state["expected"]["score_answers"]["calls"] == scoring.expected.calls and train == sizes["train"]
    lines = []
    show_estimate(settings, lines.append)
    assert lines[1].split()[:2] == ["score_answers", str(scoring.expected.calls)]
    assert any(line.startswith("No price is set for scorer") for line in lines)


def test_the_reasons_of_validation_failures_reach_the_analysis_and_those_of_other_held_out_rows_nobody(ran):
    _, _, _, asks = ran
    sizes = advice_rows.SIZES.items()
    words = {split: [thing(advice_rows.row(split, n)["question"]) for n in range(size)] for split, size in sizes}
    told = [ask for ask in of(asks, ANALYSING) if f" of 5: {WHY}" in ask.last]
    assert told and all(ask.last.split("What the check said: ")[1][0] in "123" for ask in told)
    assert all([word for word in words["validation"] if f"{WHY} {word}" in ask.last] for ask in told)
    for ask in asks:
        hidden = () if ask.body["model"] == "scorer" else ("selection", "test")
        hidden += ("validation",) if ask.text.startswith((WRITING, "You judge", COMPARING)) else ()
        assert not [word for split in hidden for word in words[split] if word in ask.text]


def test_the_report_says_who_scored_and_how_far_that_can_be_relied_on(ran):
    _, folder, _, asks = ran
    facts = json.loads((folder / "report.json").read_text())
    check = facts["scorer_check"]
    assert (check["rows"], check["pairs"], check["padded"], check["people"]) == (5, 5, 5, 5)
    assert check["agreement"] is not None and len(of(asks, COMPARING)) == 10
    page = (folder / "report.html").read_text()
    assert "scorer measured" in page and all(sentence.split(":")[0] in page for sentence in check["sentences"])
    assert any(note.startswith("scorer scored the answers by a rubric") for note in facts["notes"])


def test_a_cap_stops_the_run_in_a_line_and_a_higher_one_lets_it_go_on(stub, tiny_slm, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "test-key")
    before = len(stub.asks)
    with pytest.raises(InputError, match=r"answers are scored: the cap budget\.stages\.score_answers\.calls: 3 is reached"):
        local.run(write_config(tmp_path, stub, tiny_slm, budget={"stages": {"score_answers": {"calls": 3}}}), tmp_path / "run")
    assert len(stub.asks) - before == 3
    local.run(write_config(tmp_path, stub, tiny_slm), tmp_path / "run", "grade-untuned")
    paid = [json.dumps(ask.messages) for ask in stub.asks[before:]]
    assert len(paid) == len(set(paid)) > 3
