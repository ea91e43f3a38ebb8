"""The report says what the state says, believes nothing too easily, and lets no model's text become a page."""

import json
import re
from base64 import b64encode
from collections import Counter
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest

from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.quality.judge_check import JudgeCheck
from pada_agent.components.core.quality.scorer_check import ScorerCheck
from pada_agent.components.core.records import Sample
from pada_agent.components.core.report import gather as gathering
from pada_agent.components.core.report.excerpts import Excerpt
from pada_agent.components.core.report.gather import gather
from pada_agent.components.core.report.page import render
from pada_agent.components.core.report.shown_rows import PLACES, ShownRow
from pada_agent.components.core.report.summary import summary
from pada_agent.components.core.state import Decision, Earlier, EarlierPattern, ModelRecord, State
from pada_agent.components.core.statistics import mcnemar_exact, mean_interval

VOID = {"meta", "br", "path", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects tags and text, and fails on a tag that is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def facts(state: State) -> dict[str, Any]:
    """As report.json has them."""
    return gather(state).model_dump(mode="json")


def model_of(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(m for m in found["models"] if m["name"] == name)


def without(state: State, *names: str) -> State:
    return state.model_copy(update={"models": [m for m in state.models if m.name not in names]})


def with_model(state: State, name: str, **change: Any) -> State:
    models = [m.model_copy(update=change) if m.name == name else m for m in state.models]
    return state.model_copy(update={"models": models})


def test_hostile_text_stays_text(finished_state: State) -> None:
    page = Page(render(finished_state))
    assert page.tags.count("script") == 1, "the page's own"
    assert page.text.count("<script>alert('owned')</script> & \"quoted\"") >= 10  # names, strategies, samples, reasons, analyses


def test_secondary_metrics_stand_beside_test_accuracy(finished_state: State) -> None:
    vanilla = next(m for m in finished_state.models if m.kind == "start")
    metrics = {**vanilla.metrics, "test": vanilla.metrics["test"].model_copy(update={"extra": {"f1": 0.6321}})}
    assert "f1 63.2\u00a0%" in Page(render(with_model(finished_state, vanilla.name, metrics=metrics))).text
    assert "f1 63.2" not in Page(render(finished_state)).text


def test_the_users_own_prompts_are_shown_and_long_ones_cut(finished_state: State) -> None:
    assert "Prompts of your own" not in render(finished_state) and facts(finished_state)["prompts"] == []
    texts = {
        "judge.txt": "=== user\nA <script>alert(1)</script> of mine {{ items }}",
        "solve.txt": "=== user\n" + "word " * 20_000,
    }
    own = finished_state.model_copy(update={"prompts": texts})
    judge, solve = facts(own)["prompts"]
    assert (judge["name"], judge["stage"], judge["text"]) == ("judge.txt", "control_quality", texts["judge.txt"])
    assert solve["sha256"] == sha256(texts["solve.txt"].encode()).hexdigest()
    assert len(solve["text"]) < 10_100 and "[cut: 100\u202f009 characters in all]" in solve["text"]
    page = Page(render(own))
    assert texts["judge.txt"] in page.text and solve["sha256"][:12] in page.text and page.tags.count("script") == 1
    assert len(render(own)) - len(render(finished_state)) < 20_000


def test_nothing_from_outside_and_no_handlers(finished_state: State) -> None:
    html = render(finished_state)
    page = Page(html)
    names = {name for name, _ in page.attributes}
    assert not {n for n in names if n.startswith("on")} and not names & {"src", "srcset"}
    assert all(value and value.startswith("#") for name, value in page.attributes if name == "href")
    assert not re.search(r"url\(|@import|https?://", html)


def test_only_its_own_script_may_run(finished_state: State) -> None:
    """Should escaping ever fail, the browser still refuses: the policy names the script's hash and no address."""
    html = render(finished_state)
    (script,) = re.findall(r"<script>(.*)</script>", html, re.DOTALL)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    assert b64encode(sha256(script.encode()).digest()).decode() in policy
    assert "default-src 'none'" in policy and "http" not in policy and "unsafe-eval" not in policy


def test_the_same_state_gives_the_same_bytes(finished_state: State, shown: list[ShownRow]) -> None:
    assert render(finished_state, shown) == render(State.model_validate_json(finished_state.model_dump_json()), list(shown))


def test_facts_are_json_and_on_the_page(finished_state: State) -> None:
    found = json.loads(json.dumps(facts(finished_state)))
    text = " ".join(Page(render(finished_state)).text.split())
    for model in found["models"]:
        assert f"{100 * model['test']['accuracy']:.1f} %" in text
    assert found["shipped_uri"] == "gs://bucket/one" and "gs://bucket/one" in text
    assert [m["name"] for m in found["models"]] == ["untuned", "vanilla", "step-matched", "iteration-1", "iteration-2"]
    assert "3 samples written" in text and "wrong answer 1" in text
    assert "from a mean judge score of 7; other judged 1 batch." in text
    own = finished_state.model_copy(update={"run": finished_state.run.model_copy(update={"verdict": "sample", "lowest": 5})})
    text_of_own = " ".join(Page(render(own)).text.split())
    assert "A sample is let in from a mean judge score of 7, if none of its scores is below 5; other judged" in text_of_own
    assert "No judge decided" not in text + text_of_own
    plain = [b.model_copy(update={"scores": {}}) for b in finished_state.iterations[0].batches]
    alone = with_iteration(own, batches=plain).model_copy(update={"run": own.run.model_copy(update={"verdict": "checks"})})
    assert "No judge decided: a sample is let in if the checks find nothing wrong" in " ".join(Page(render(alone)).text.split())
    assert "12 of 12 failures, 0 of" in text and "2 of 12 still failing after" in text
    assert "promoted" in text


def test_comparisons_are_paired_with_the_step_matched_control(finished_state: State) -> None:
    found = facts(finished_state)
    assert found["baseline"] == "step-matched"
    old, new = (finished_state.model(n).outcomes["test"] for n in ("step-matched", "iteration-2"))
    over = model_of(found, "iteration-2")["over_baseline"]
    gains, losses = sum(new[r] > old[r] for r in old), sum(new[r] < old[r] for r in old)
    assert (over["gains"], over["losses"]) == (gains, losses)
    assert over["p"] == pytest.approx(mcnemar_exact(gains, losses))
    assert over["difference"] == pytest.approx((gains - losses) / 200)
    assert over["low"] < over["difference"] < over["high"]
    assert over["p_holm"] >= over["p"]
    assert model_of(found, "step-matched")["over_baseline"] is None
    assert model_of(found, "vanilla")["over_baseline"]["p_holm"] is None


def test_rows_in_groups_are_tested_as_groups(finished_state: State) -> None:
    rows = finished_state.start.outcomes["test"]
    grouped = finished_state.model_copy(update={"groups": {"test": {r: f"article {int(r.split('-')[1]) // 50}" for r in rows}}})
    alone, together = (model_of(facts(s), "iteration-1")["over_start"] for s in (finished_state, grouped))
    assert together["p"] == pytest.approx(2 / 2**4) and alone["p"] < 1e-6
    assert "sign-flip" in render(grouped) and "sign-flip" not in render(finished_state)


def test_verdict_of_a_gain(finished_state: State) -> None:
    said = facts(finished_state)["verdict"]
    assert re.match(r"Iteration 1 answers 8\d\.\d.% of 200 test rows correctly, \+2\d\.\d points over vanilla", said["headline"])
    assert "Against step-matched vanilla fine-tuning" in said["details"][0]


def test_verdict_when_the_test_rows_do_not_confirm_the_gain(finished_state: State) -> None:
    vanilla = finished_state.start
    worse = dict(vanilla.outcomes["test"])
    worse.update(dict.fromkeys([r for r, right in worse.items() if right][:3], False))
    state = with_model(finished_state, "iteration-1", outcomes={**vanilla.outcomes, "test": worse})
    assert "on the 200 test rows it is not better than vanilla fine-tuning (−1.5 points)" in facts(state)["verdict"]["headline"]


def test_verdict_when_a_gain_may_be_chance(finished_state: State) -> None:
    control = finished_state.model("step-matched")
    better = dict(control.outcomes["test"])
    better.update(dict.fromkeys([r for r, right in better.items() if not right][:3], True))
    state = with_model(finished_state, "iteration-1", outcomes={**control.outcomes, "test": better})
    assert "cannot be told from chance" in " ".join(facts(state)["verdict"]["details"])


def test_verdict_without_promotion(finished_state: State) -> None:
    said = facts(finished_state.model_copy(update={"incumbent": "vanilla"}))["verdict"]
    assert said["headline"].startswith(
        "No iteration was shown to be better than vanilla fine-tuning, which stays the shipped model"
    )
    assert "Iteration 2: it beats vanilla, but not iteration-1" in said["details"][0]


def test_verdict_before_and_without_iterations(finished_state: State) -> None:
    bare = without(finished_state, "iteration-1", "iteration-2", "step-matched")
    bare = bare.model_copy(update={"iterations": [], "incumbent": "vanilla", "decision": Decision()})
    assert facts(bare)["verdict"]["headline"].startswith("So far there is only vanilla fine-tuning")
    ended = bare.model_copy(update={"decision": Decision(go_on=False, reason="nothing to learn from: no failures")})
    assert facts(ended)["verdict"]["headline"] == "Vanilla fine-tuning is shipped: nothing to learn from: no failures."
    begun = without(bare, "vanilla").model_copy(update={"incumbent": ""})
    assert "just begun" in facts(begun)["verdict"]["headline"]
    for state in (bare, ended, begun, begun.model_copy(update={"models": []})):
        Page(render(state))


def noted(state: State) -> str:
    return "\n".join(facts(state)["notes"])


def test_notes_of_a_sound_run(finished_state: State) -> None:
    said = noted(finished_state)
    assert "One run, one seed" in said
    assert "5 rows were asked for, 2 let in: 3 short" in said
    assert "fenced 6" in said
    for alarm in ("no structure", "collapsed", "does harm", "no step-matched model", "cut short", "does not tell good"):
        assert alarm not in said


def with_iteration(state: State, **change: Any) -> State:
    first, *rest = state.iterations
    return state.model_copy(update={"iterations": [first.model_copy(update=change), *rest]})


def test_notes_of_what_went_wrong(finished_state: State) -> None:
    first = finished_state.iterations[0]
    summary = {**first.summary, "structure": False, "gap": 0.08, "unanalysed": 2, "struck": 1, "dropped": 1}
    assert "no structure (bend 0.08" in noted(with_iteration(finished_state, summary=summary))
    assert "no structure" in render(with_iteration(finished_state, summary=summary))
    lost = noted(with_iteration(finished_state, summary=summary))
    assert "2 failures without an analysis" in lost and "1 draft struck" in lost and "1 pattern dropped" in lost
    shaky = {**first.summary, "stability": 0.2}
    assert "groups the failures differently (agreement 0.20" in noted(with_iteration(finished_state, summary=shaky))
    lazy = [first.batches[0].model_copy(update={"id": f"b{i}"}) for i in range(6)]
    assert "all 6 batches the same scores (utility 8)" in noted(with_iteration(finished_state, batches=lazy))
    both = [
        b.model_copy(update={"scores": {"adherence": 8.0, "utility": 8.0} if i % 2 else b.scores}) for i, b in enumerate(lazy)
    ]
    assert "(adherence 8, utility 8)" in noted(with_iteration(finished_state, batches=both))
    assert "same scores" not in noted(
        with_iteration(finished_state, batches=[*lazy[1:], both[1].model_copy(update={"scores": {"utility": 7.0}})])
    )
    spent = {
        "generate_data": Usage(
            calls=9, failed=4, unrecovered={"no JSON": 12}, silences=2, capped="the cap budget.calls: 100 is reached", unasked=7
        )
    }
    said = noted(with_iteration(finished_state, usage=spent))
    assert "cut short: the cap budget.calls: 100 is reached; requests not sent: 7" in said
    assert "4 requests to the LLMs ended without a usable reply: no JSON 12." in said
    assert "gave no reply for so long that the run stopped, 2 times" in said


def test_a_run_without_new_data_is_not_called_finished(finished_state: State) -> None:
    first = finished_state.iterations[0]
    over = Decision(go_on=False, reason="nothing to learn from: none of 5 written rows passed quality control")
    nothing = finished_state.model_copy(update={"iterations": [first.model_copy(update={"accepted": 0})], "decision": over})
    assert facts(nothing)["empty"] == over.reason
    assert '<span class="pill bad">no new data</span>' in render(nothing) and '"pill good">finished' not in render(nothing)
    assert facts(finished_state)["empty"] == "" and '<span class="pill good">finished</span>' in render(finished_state)
    perfect = first.model_copy(update={"accepted": 0, "wanted": 0, "summary": {"failures": 0}})
    assert facts(nothing.model_copy(update={"iterations": [perfect]}))["empty"] == "", "there was nothing to write against"


def test_rows_that_were_never_written_are_on_the_page(finished_state: State) -> None:
    batch = finished_state.iterations[0].batches[0].model_copy(update={"unwritten": {"too few": 2, "no reply": 3}})
    assert "never arrived: too few 5" not in render(finished_state)
    assert "never arrived: too few 4 · no reply 6" in render(with_iteration(finished_state, batches=[batch, batch]))


def checked(*passed: tuple[str, float]) -> JudgeCheck:
    rows = [{"kind": kind, "branch": "error", "mean": mean, "passed": mean >= 7} for kind, mean in passed]
    return JudgeCheck.model_validate({"batches": rows})


def test_how_well_the_judge_judges_is_shown_and_a_judge_that_cannot_is_a_warning(finished_state: State) -> None:
    assert facts(finished_state)["judge_check"] is None and "judge measured" not in render(finished_state)
    able = with_iteration(finished_state, judge_check=checked(*[("good", 8)] * 4, *[("exchanged", 2)] * 4))
    page = render(able)
    assert '<span class="pill good">judge measured</span> The judge tells good from bad: 100' in page
    assert "with the answers of other rows 0 of 4" in page
    assert not any("judge" in sentence for sentence in facts(able)["verdict"]["details"])
    unable = with_iteration(finished_state, judge_check=checked(*[("good", 8)] * 4, *[("exchanged", 8)] * 4))
    assert '<span class="pill warn">judge measured</span> The judge gives good and bad' in render(unable)
    warned = facts(unable)["verdict"]["details"][-1]
    assert warned == "Warning: The judge gives good and bad batches the same score (8.0): it does not tell one from the other."
    assert warned in Page(render(unable)).text
    assert facts(unable)["shipped"] == facts(finished_state)["shipped"]


def test_who_scored_by_a_rubric_is_named_and_what_it_is_swayed_by_told(finished_state: State) -> None:
    assert facts(finished_state)["scorer_check"] is None and "scorer measured" not in render(finished_state)
    run = finished_state.run.model_copy(update={"scorer": "third"})
    judged = finished_state.model_copy(update={"run": run})
    assert (
        "third scored the answers by a rubric, which was not measured: a difference is one in its eyes." in facts(judged)["notes"]
    )
    fair = ScorerCheck(rows=9, orders=[("first", "second")] * 9, lengths=[(0.5, 0.5)] * 9)
    page = Page(render(judged.model_copy(update={"scorer_check": fair}))).text
    assert "scorer measured third scored all answers by the rubric" in page and "On 9 training rows:" in page
    assert "Order: of 9 pairs of answers, 0 (0" in page and "scorer third" in page
    swayed = ScorerCheck(rows=9, orders=[("first", "first")] * 9, lengths=[(0.5, 1.0)] * 9)
    found = facts(judged.model_copy(update={"scorer_check": swayed}))
    assert found["scorer_check"]["flips"] == 9
    assert [note for note in found["notes"] if note.startswith("The scorer")] == found["scorer_check"]["warnings"]
    assert len(found["scorer_check"]["warnings"]) == 2
    assert '<span class="pill warn">scorer measured' in render(judged.model_copy(update={"scorer_check": swayed}))


def test_costs_stand_beside_what_was_expected(finished_state: State) -> None:
    expected = {"analyze_patterns": Usage(calls=50, input_tokens=23_000, output_tokens=3_100, usd=0.07)}
    found = facts(finished_state.model_copy(update={"expected": expected}))
    assert found["usage"]["expected"]["all"]["calls"] == 50
    text = Page(render(finished_state.model_copy(update={"expected": expected}))).text
    assert re.search(r"52 expected 50\s*24.000 expected 23.000\s*3.000 expected 3.100\s*0.00 expected 0.07", text)
    assert "expected 50" not in Page(render(finished_state)).text


def test_cached_input_is_shown_where_there_is_some(finished_state: State) -> None:
    assert "cached" not in Page(render(finished_state)).text
    iteration = finished_state.iterations[0]
    usage = {"analyze_patterns": iteration.usage["analyze_patterns"].model_copy(update={"cached_input_tokens": 9_000})}
    text = Page(render(with_iteration(finished_state, usage=usage))).text
    assert re.search(r"24.000 cached 9.000", text)


def with_test(model: ModelRecord, **change: Any) -> dict[str, Any]:
    return {**model.metrics, "test": model.metrics["test"].model_copy(update=change)}


def test_models_that_answered_by_different_engines_are_noted(finished_state: State) -> None:
    same = finished_state
    for name in (m.name for m in finished_state.models):
        same = with_model(same, name, engine="transformers")
    assert "same engine" not in noted(same)
    said = noted(with_model(same, "untuned", engine="server, model m"))
    assert "Not all models answered by the same engine (server, model m for Untuned model, transformers for " in said


def test_notes_of_models(finished_state: State) -> None:
    vanilla, first = finished_state.start, finished_state.model("iteration-1")
    collapsed = with_model(
        finished_state, "vanilla", metrics=with_test(vanilla, collapsed=True, invalid=50, histogram={"A": 150})
    )
    said = noted(collapsed)
    assert (
        "Vanilla fine-tuning has collapsed: nearly all its answers are the same (A)" in said
        and "from 25.0\u00a0% of its outputs" in said
    )
    assert "collapsed" in Page(render(collapsed)).text
    assert "does harm" in noted(with_model(finished_state, "untuned", metrics=vanilla.metrics | with_test(vanilla, accuracy=0.9)))
    assert "no step-matched model" in noted(without(finished_state, "step-matched"))
    overfit = {**first.metrics, "validation": first.metrics["validation"].model_copy(update={"accuracy": 0.99})}
    assert "specific to the validation split" in noted(with_model(finished_state, "iteration-1", metrics=overfit))
    assert "2 rows longer than the maximum" in noted(with_model(finished_state, "vanilla", dropped_rows=2))


def test_a_model_without_test_rows_is_left_out_of_the_table(finished_state: State) -> None:
    untuned = finished_state.model("untuned")
    only = {"metrics": {"selection": untuned.metrics["selection"]}, "outcomes": {"selection": untuned.outcomes["selection"]}}
    page = Page(render(with_model(finished_state, "untuned", **only)))
    assert "Untuned model" not in page.text and "Iteration 1" in page.text


def links_of(page: Page) -> set[str | None]:
    """Addresses of the page's links, each of which is found in it."""
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    links = {value for name, value in page.attributes if name == "href"}
    assert links <= {f"#{i}" for i in ids}
    assert {value for name, value in page.attributes if name == "aria-labelledby"} <= set(ids)
    return links


def test_every_link_leads_somewhere(finished_state: State, shown: list[ShownRow]) -> None:
    whole = links_of(Page(render(finished_state, shown)))
    assert {"#result", "#notes", "#changes", "#samples", "#cost", "#pattern-it2-p1", "#sample-0"} <= whole
    begun = finished_state.model_copy(update={"models": [], "iterations": [], "incumbent": ""})
    assert links_of(Page(render(begun))) == {"#result", "#notes"}
    idle = with_iteration(
        begun.model_copy(update={"iterations": finished_state.iterations[:1]}), batches=[], usage={}, patterns=[]
    )
    assert "#samples" not in links_of(Page(render(idle)))


def test_selection_and_test_rows_are_not_shown(finished_state: State, shown: list[ShownRow]) -> None:
    html = render(finished_state, shown)
    assert "validation-17" in html and not re.search(r"(test|selection)-\d", html)


def test_what_a_newcomer_asks_first(finished_state: State) -> None:
    found = facts(finished_state)
    first = {g["question"]: f"{g['answer']} {g['note']}" for g in found["glance"]}
    over, vanilla = model_of(found, "iteration-1")["over_baseline"], model_of(found, "vanilla")
    assert f"{100 * vanilla['test']['accuracy']:.1f}\u00a0% → 8" in first["Did it help?"]
    assert f"+{100 * over['low']:.1f} to +{100 * over['high']:.1f} points over step-matched" in first["How sure is that?"]
    assert "unlikely to be chance" in first["How sure is that?"]
    left = sum(not right for right in finished_state.model("iteration-2").outcomes["validation"].values())
    assert (
        first["What did it not understand?"]
        == f"2 patterns behind 24 validation failures; {left} are left after the last iteration"
    )
    assert first["What was done about it?"] == "4 rows let in of 6 written by the teacher, in 2 iterations"
    assert "0.00 USD 52 LLM calls; 3 min 5 s" in first["What did it cost?"]
    early = finished_state.model_copy(update={"models": [], "iterations": [], "incumbent": ""})
    assert [g["answer"] for g in facts(early)["glance"]] == ["–", "–", "0.00 USD"]


def test_what_changed_is_counted_row_by_row(finished_state: State) -> None:
    found = facts(finished_state)["changes"]
    old, new = (finished_state.model(m).outcomes["validation"] for m in ("vanilla", "iteration-1"))
    step = found["steps"][0]
    assert (step["of"], step["to"], step["n"]) == ("vanilla", "iteration-1", 80)
    assert step["fixed"] == sum(new[r] and not old[r] for r in old) and step["broken"] == sum(old[r] and not new[r] for r in old)
    assert step["right"] + step["fixed"] == sum(new.values()) and step["wrong"] + step["broken"] == 80 - sum(new.values())
    (line,) = found["lines"]
    assert [cell["id"] for cell in line["cells"]] == ["it1-p1", "it2-p1"], "it2-p1 continues it1-p1"
    second = finished_state.iterations[1]
    other = second.model_copy(update={"patterns": [second.patterns[0].model_copy(update={"previous_id": ""})]})
    apart = finished_state.model_copy(update={"iterations": [finished_state.iterations[0], other]})
    assert [[bool(c) for c in line["cells"]] for line in facts(apart)["changes"]["lines"]] == [[True, False], [False, True]]


def grown(state: State, iterations: int, samples: int, text: str) -> State:
    """As many iterations as may be, each with many samples and patterns, in which every text is a long one."""
    first = state.iterations[0]
    batch = first.batches[0]
    records = []
    for number in range(1, iterations + 1):
        ids = [f"it{number}-p{k}" for k in range(10)]
        said = {"name": text, "description": text, "previous_id": ""}
        written = {"pattern_name": text, "text": text}
        rows = [
            with_row(batch.samples[k % 3], id=f"{number}-{k}", fields={"a": text, "b": text}).model_copy(update={"reason": text})
            for k in range(samples)
        ]
        change = {
            "number": number,
            "patterns": [first.patterns[0].model_copy(update={"id": i, **said}) for i in ids],
            "strategies": [first.strategies[0].model_copy(update={"id": f"s-{i}", "pattern_id": i, **written}) for i in ids],
            "analyses": [a.model_copy(update={"root_cause": text, "scenario": text}) for a in first.analyses],
            "batches": [batch.model_copy(update={"strategy_id": f"s-{ids[0]}", "samples": rows})],
            "progress": {},
        }
        records.append(first.model_copy(update=change))
    return state.model_copy(update={"iterations": records})


def with_row(sample: Sample, **change: Any) -> Sample:
    return sample.model_copy(update={"row": sample.row.model_copy(update=change)})


@pytest.mark.parametrize("character", ['"', "\U0001f600"], ids=["five bytes by escaping", "four bytes in utf-8"])
def test_a_huge_run_stays_below_2_mb_and_says_what_is_left_out(
    finished_state: State, shown: list[ShownRow], character: str
) -> None:
    text = Excerpt.of(character * 5000)
    answers = {m: shown[0].answers["vanilla"].model_copy(update={"output": text}) for m in ("vanilla", "iteration-1")}
    change = {"title": text, "question": text, "reference": text, "answers": answers}
    rows = [
        shown[0].model_copy(update={**change, "id": f"{split}-{k}", "split": split})
        for split in ("validation", "train")
        for k in range(PLACES)
    ]
    small = without(finished_state, "untuned", "step-matched", "iteration-2")
    vanilla = small.start
    many = {s: m.model_copy(update={"n": 12000, "correct": 7000}) for s, m in vanilla.metrics.items() if s != "test"}
    metrics = {**many, "test": vanilla.metrics["test"]}
    html = render(with_model(grown(small, 20, 100, character * 5000), "vanilla", metrics=metrics), rows)
    assert 200_000 < len(html.encode()) < 2_000_000
    assert "#sample-0" in links_of(Page(html))
    text_of_page = " ".join(Page(html).text.split())
    assert re.search(r"Showing \d+ of 100, drawn by the seed", text_of_page)
    assert re.search(r"Drawn by the seed: \d+ of 5.000 that vanilla fine-tuning got wrong", text_of_page)
    assert re.search(r"5.000 characters in all\]", text_of_page)


def test_comparisons_run_once_for_page_and_json(finished_state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four models against step-matched vanilla and four against vanilla, each with one test and one bootstrap."""
    calls: Counter[str] = Counter()
    for name in ("paired_test", "paired_bootstrap"):
        real = getattr(gathering, name)
        monkeypatch.setattr(gathering, name, lambda *a, _real=real, _name=name, **k: calls.update([_name]) or _real(*a, **k))
    known = gather(finished_state)
    assert calls == {"paired_test": 8, "paired_bootstrap": 8}
    page = render(finished_state, (), known)
    assert calls == {"paired_test": 8, "paired_bootstrap": 8}, "a page from facts computes nothing again"
    assert render(finished_state) == page and calls == {"paired_test": 16, "paired_bootstrap": 16}


def test_the_keys_of_report_json_stay(finished_state: State) -> None:
    """Programs read them."""
    found = facts(finished_state)
    assert list(found) == [
        "run", "finished", "reason", "shipped", "shipped_uri", "baseline", "grouped", "models", "iterations", "usage",
        "judge_check", "scorer_check", "axis", "changes", "taken_over", "earlier", "prompts", "glance", "verdict", "empty",
        "notes",
    ]  # fmt: skip
    assert list(found["models"][0]) == [
        "name", "kind", "iteration", "adapter_uri", "steps", "rows", "synthetic_rows", "dropped_rows", "train_seconds",
        "evaluate_seconds", "label", "shipped", "test", "splits", "over_baseline", "over_start", "losses", "engine",
    ]  # fmt: skip
    test, over = found["models"][0]["test"], found["models"][0]["over_baseline"]
    assert [*test][-1] == "invalid_share" and "invalid_share" not in found["models"][0]["splits"]["test"]
    assert list(over) == ["to", "difference", "low", "high", "gains", "losses", "p", "p_holm"]
    assert list(found["iterations"][0]) == [
        "number", "summary", "training_errors", "patterns", "wanted", "accepted", "shortfall", "written", "rejected", "reasons",
        "unwritten", "judged", "model", "promotion",
    ]  # fmt: skip
    assert list(found["usage"]) == ["stages", "total", "expected", "train_seconds", "evaluate_seconds"]


def test_an_earlier_run_s_patterns_are_told_in_words(finished_state: State) -> None:
    outcomes = {"gone": ("fixed", 0), "smaller": ("shrinking", 1), "still there": ("persistent", 4), "not known": (None, 0)}
    patterns = [
        EarlierPattern(
            name=f"<script>{words}</script>", prints=list("abcde"), rows=4 * bool(outcome), failing=failing, outcome=outcome
        )
        for words, (outcome, failing) in outcomes.items()
    ]
    earlier = Earlier(uri="gs://bucket/adapter", patterns=patterns)
    html = render(finished_state.model_copy(update={"earlier": earlier}))
    page = Page(html)
    section = html[html.index('id="earlier"') :].partition("</section>")[0]
    rows = [Page(row).text.split() for row in re.findall(r"<tr><th scope=\"row\">.*?</tr>", section, re.DOTALL)]
    assert [row[-len(words.split()) :] for row, words in zip(rows[:3], outcomes, strict=False)] == [
        words.split() for words in list(outcomes)[:3]
    ]
    assert "its rows are not among the validation rows any more" in Page(section.partition("</h2>")[2]).text
    assert "the earlier adapter and its synthetic rows are not trained on" in page.text
    assert facts(finished_state.model_copy(update={"earlier": earlier}))["earlier"]["patterns"][1] == {
        "name": "<script>smaller</script>", "description": "", "then": 5, "rows": 4, "failing": 1, "outcome": "shrinking",
    }  # fmt: skip
    assert page.tags.count("script") == Page(render(finished_state)).tags.count("script")
    away = finished_state.model_copy(update={"earlier": Earlier(uri="gs://bucket/adapter", problem="nothing <b>there</b>")})
    assert "could not be looked up: nothing <b>there</b>" in Page(render(away)).text
    assert 'id="earlier"' not in render(finished_state)


def test_patterns_of_another_run_are_said_to_be_those(finished_state: State) -> None:
    origin = {"run": "gs://exports/other", "task": "gsm8k", "slm": "org/other-slm", "iteration": 2}
    summary = {"failures": 24, "analysed": 0, "taken_from": origin, "struck": 1, "redrafted": 0, "dropped": 0}
    taken = [
        i.model_copy(
            update={
                "summary": summary,
                "analyses": [],
                "progress": {},
                "patterns": [p.model_copy(update={"size": 0, "row_ids": [], "features": []}) for p in i.patterns],
            }
        )
        for i in finished_state.iterations
    ]
    state = finished_state.model_copy(update={"iterations": taken})
    said = noted(state)
    assert "patterns and strategies are those of iteration 2 of the run at gs://exports/other (task gsm8k, org/other-slm)" in said
    page = Page(render(state))
    assert "24 validation failures, patterns taken from another run" in page.text
    assert "Taken from" in page.text and "0 analysed" not in page.text and "0 failures" not in page.text
    assert "taken from another run, for 24 validation failures" in page.text
    assert "Taken from" not in Page(render(finished_state)).text


@pytest.mark.parametrize(
    ("branch", "parents", "said"),
    [
        ("row", ["train-5"], "Written fromWhat about train-5"),
        ("error", ["train-5", "train-0"], "Training errorWhat about train-5"),
        ("pattern", ["train-3"], "Written againstthe task at large of iteration 1"),
    ],
)
def test_a_method_is_named_and_its_rows_say_what_they_were_written_from(finished_state: State, shown, branch, parents, said):
    first, run = finished_state.iterations[0], finished_state.run.model_copy(update={"method": "auggpt", "verdict": "none"})
    strategies = [s.model_copy(update={"pattern_id": "", "pattern_name": "the task at large"}) for s in first.strategies]
    own = {"branch": branch, "scores": {}} if branch == "pattern" else {"branch": branch, "strategy_id": "", "scores": {}}

    def written(sample: Sample) -> Sample:
        source = sample.row.provenance.model_copy(update={"branch": branch, "parent_ids": parents, "request_hash": ""})
        return sample.model_copy(update={"row": sample.row.model_copy(update={"provenance": source})})

    batches = [b.model_copy(update={**own, "samples": [written(s) for s in b.samples]}) for b in first.batches]
    state = with_iteration(finished_state, batches=batches, patterns=[], strategies=strategies)
    page = Page(render(state.model_copy(update={"run": run}), shown))
    text = " ".join(page.text.split())
    assert "method auggpt" in text and "Without quality control" in text and said in text
    assert "no call" in text and "#pattern-" not in [value for name, value in page.attributes if name == "href"]
    assert "Training errorWhat about train-0" not in text, "a row that was answered rightly is no error"
    assert "method" not in Page(render(finished_state, shown)).text.split("seed 0")[0]


def test_a_graded_run_reports_mean_scores_and_a_permutation_test(finished_state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grades that are a little above or below the threshold that made the outcomes."""

    def graded(model: ModelRecord) -> ModelRecord:
        grades = {
            split: {row: (0.6 if right else 0.3) + i / 5000 for i, (row, right) in enumerate(rows.items())}
            for split, rows in model.outcomes.items()
        }
        metrics = {
            split: found.model_copy(update={"grade": mean_interval(list(grades[split].values()), list(grades[split]))})
            for split, found in model.metrics.items()
            if split in grades
        }
        return model.model_copy(update={"metrics": metrics, "grades": grades})

    state = finished_state.model_copy(update={"models": [graded(m) for m in finished_state.models]})
    found = gather(State.model_validate_json(state.model_dump_json()))
    shipped = next(m for m in found.models if m.shipped)
    mean = shipped.test.main.mean if shipped.test else 0
    assert shipped.test and mean == pytest.approx(sum(state.model(shipped.name).grades["test"].values()) / 200)
    assert f"has a mean score of {100 * mean:.1f}" in found.verdict.headline and "correctly" not in found.verdict.headline
    over = shipped.over_baseline
    assert over and over.difference < shipped.test.accuracy - model_of(facts(state), "step-matched")["test"]["accuracy"]
    page = Page(render(state)).text
    for words in ("Mean score", "permutation test", "170 of 200 reach the threshold", "higher,", "mean score on the test rows"):
        assert words in page or words.replace("170", str(shipped.test.correct)) in page
    assert "McNemar" not in page and "mean score" not in render(finished_state).lower()
    assert "test mean score: shipped" in summary(found) and "test accuracy: shipped" in summary(gather(finished_state))
