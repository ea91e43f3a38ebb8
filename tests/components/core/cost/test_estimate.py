import json
from pathlib import Path

import pytest

from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.cost.estimate import attempts, estimate
from pada_agent.components.core.cost.prompt_sizes import WORK
from pada_agent.components.core.cost.tokens import token_count
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.methods.registry import METHODS
from pada_agent.components.core.settings import Settings
from pada_agent.components.core.tasks.registry import load_task

TEXT_TO_SQL = Path(__file__).parents[4] / "pipelines" / "examples" / "text_to_sql"
SQL = load_task("text_to_sql", {"database": str(TEXT_TO_SQL / "shop.sql")})
ROWS = [SQL.read(json.loads(line)) for line in (TEXT_TO_SQL / "train.jsonl").open()]
CHOICE = load_task("arc_challenge", {})
CHOICES = [{"question": "What boils?", "options": ["water", "sand"], "answer": "A"}] * 9


def settings(**sections):
    llm = {"model": "m", "usd_per_million_input": 1.0, "usd_per_million_output": 10.0}
    rows = {"name": "text_to_sql", "train": "t", "validation": "v", "test": "e"}
    values = {"control": {"judge_checks": 0, "solve": "off"}, **sections}
    return Settings.model_validate(
        {"task": rows, "slm": {"model": "s"}, "teacher": llm, "judge": {**llm, "model": "j"}, **values}
    )


def by_stage(config, train=120, validation=80, task=SQL, rows=ROWS):
    return {s.stage: s for s in estimate(config, task, rows, train, validation)}


def test_calls_follow_from_the_settings():
    config = settings(
        loop={"iterations": 1},
        analyze={"sample": 24, "k_min": 2, "k_max": 6, "redrafts": 2},
        generate={"batch": 5, "regenerations": 3, "refills": 1},
    )
    got = by_stage(config, validation=100)
    analysis = got["analyze_patterns"]
    assert analysis.low.calls == 24 + 2 * 2
    assert analysis.expected.calls == 24 + 2 * 4
    assert analysis.high.calls == 24 + 2 * 6 * 3
    # 60 rows: 30 on patterns, 30 on errors (6 calls); two patterns are 3 + 3 calls, five of 6 rows each, the worst, 5 x 2
    assert got["generate_data"].low.calls == 6 + 6
    assert got["generate_data"].high.calls == (10 + 6) * 4 * 2
    assert got["control_quality"].low.calls == 12 * 2 / 3, "the rules leave nothing of a third"
    assert got["control_quality"].high.calls == 128
    # four patterns of 8, 8, 7, 7 rows: 8 calls; two of three go back at each of 8 attempts, a third is not judged
    written = (8 + 6) * sum((2 / 3) ** n for n in range(8))
    assert got["generate_data"].expected.calls == round(written)
    assert got["control_quality"].expected.calls == round(written * 2 / 3)


def test_what_is_expected_lies_between_the_ends():
    for again, solving in ((0, "off"), (1, "once"), (1, "off"), (2, "vote"), (3, "once")):
        control = {"judge_checks": 0, "solve": solving}
        config = settings(generate={"regenerations": again, "batch": 10}, loop={"iterations": 1}, control=control)
        for stage in by_stage(config).values():
            for name in ("calls", "input_tokens", "output_tokens", "usd"):
                low, expected, high = (getattr(end, name) for end in (stage.low, stage.expected, stage.high))
                assert low <= expected <= high, (again, solving, stage.stage, name)


def test_each_attempt_is_of_fewer_batches_and_of_half_their_rows():
    config = settings(generate={"regenerations": 1, "refills": 0})
    assert [(a.batches, a.rows) for a in attempts(config, "expected")] == [(1, 1), (2 / 3, 1 / 2)]
    assert [(a.batches, a.rows) for a in attempts(config, "high")] == [(1, 1), (1, 1)]
    assert [(a.batches, a.rows) for a in attempts(config, "low")] == [(1, 1)]


def test_patterns_of_another_run_are_paid_for_nowhere():
    config, taken = settings(), settings(analyze={"patterns_from": "gs://b/other"})
    own, got = by_stage(config), by_stage(taken)
    for end in ("low", "expected", "high"):
        assert getattr(got["analyze_patterns"], end) == Usage()
    assert got["generate_data"] == own["generate_data"] and own["analyze_patterns"].low.calls > 50


def test_more_iterations_share_the_rows_but_not_the_analysis():
    one, three = by_stage(settings(loop={"iterations": 1})), by_stage(settings(loop={"iterations": 3}))
    assert three["analyze_patterns"].low.calls == 3 * one["analyze_patterns"].low.calls
    assert three["generate_data"].low.calls < 2 * one["generate_data"].low.calls
    each = by_stage(settings(loop={"iterations": 3}, generate={"scope": "per_iteration"}))
    assert each["generate_data"].low.calls == 3 * one["generate_data"].low.calls


def test_a_brief_teacher_says_less_and_its_strategies_are_shorter_in_every_prompt():
    full, brief = by_stage(settings()), by_stage(settings(analyze={"detail": "brief"}))
    for stage in full:
        assert brief[stage].low.calls == full[stage].low.calls
        assert brief[stage].low.input_tokens < full[stage].low.input_tokens, stage
    assert brief["analyze_patterns"].low.output_tokens < 0.7 * full["analyze_patterns"].low.output_tokens
    assert brief["generate_data"].low.output_tokens == full["generate_data"].low.output_tokens


def test_few_validation_rows_mean_few_analyses():
    assert by_stage(settings(loop={"iterations": 1}), validation=3)["analyze_patterns"].high.calls == 3 + 3 * 2 * 3
    few = by_stage(settings(loop={"iterations": 1}, analyze={"k_max": 2}), validation=40)["analyze_patterns"]
    assert [end.calls for end in (few.low, few.expected)] == [10 + 2 * 2, 16 + 2 * 2], "a quarter and two fifths of them fail"


@pytest.mark.parametrize(("solving", "calls"), [({"solve": "once"}, 40), ({"solve": "vote", "votes": 5}, 200)])
@pytest.mark.parametrize(("data", "answer"), [({}, 20), ({"task": CHOICE, "rows": CHOICES}, 1)], ids=["sql", "choice"])
def test_each_row_is_also_solved_blind_at_the_solver_s_price(solving, calls, data, answer):
    control = {"judge_checks": 0, "verdict": "checks", **solving}
    free = {"judge": {"model": "j"}, "loop": {"iterations": 1}}
    solved = by_stage(settings(**free, control=control), **data)["control_quality"].low
    assert (solved.calls, solved.usd) == (calls, 0)
    teacher = by_stage(settings(**free, control={**control, "solver": "teacher"}), **data)["control_quality"].low
    assert teacher.usd == pytest.approx((solved.input_tokens + 10 * solved.output_tokens) / 1e6, rel=1e-3)
    assert solved.input_tokens > calls * 100
    assert solved.output_tokens == pytest.approx(calls * (WORK + answer), rel=0.1)
    judged = by_stage(settings(**free, control={**control, "verdict": "sample"}), **data)["control_quality"].low
    plain = by_stage(settings(**free), **data)["control_quality"].low
    assert judged.calls == plain.calls + calls and judged.input_tokens > plain.input_tokens + solved.input_tokens


def test_a_judge_is_shown_parents_and_what_answers_give(monkeypatch):
    def judged(shots):
        return by_stage(settings(loop={"iterations": 1}, generate={"shots": shots}))["control_quality"].low

    row = token_count(f"{SQL.question(ROWS[0])} {SQL.reference(ROWS[0])}")
    few, many = judged(1), judged(5)
    assert few.calls == many.calls and many.input_tokens - few.input_tokens > 4 * few.calls * row
    monkeypatch.setattr(type(SQL), "gives", lambda task, answer: "")
    assert few.input_tokens - judged(1).input_tokens > 60 * 5


def test_answers_first_cost_two_calls_for_a_batch():
    one, two = (
        by_stage(settings(loop={"iterations": 1}, generate={"order": order})) for order in ("question_first", "answer_first")
    )
    for end in ("low", "expected", "high"):
        once, twice = getattr(one["generate_data"], end), getattr(two["generate_data"], end)
        assert twice.calls == pytest.approx(2 * once.calls, abs=1)
        assert twice.input_tokens > 1.7 * once.input_tokens
        assert once.output_tokens < twice.output_tokens < 1.3 * once.output_tokens, "the same rows, in two parts"
    assert one["control_quality"] == two["control_quality"]


def test_a_second_attempt_is_shown_what_was_refused():
    first, again = (settings(loop={"iterations": 1}, generate={"regenerations": n, "refills": 0}) for n in (0, 1))
    once, twice = by_stage(first)["generate_data"].high, by_stage(again)["generate_data"].high
    assert twice.calls == 2 * once.calls
    refused = 60 * token_count(SQL.sample_of(ROWS[0]).model_dump_json()) / 2
    assert twice.input_tokens > 2 * once.input_tokens + refused


def test_where_rows_are_solved_what_was_refused_is_told_with_both_answers():
    for again in (0, 1):
        one = {"loop": {"iterations": 1}, "generate": {"regenerations": again, "order": "question_first"}}
        off, once = (
            by_stage(settings(**one, control={"judge_checks": 0, "solve": s}))["generate_data"].high for s in ("off", "once")
        )
        more = 60 * token_count(SQL.reference(ROWS[0])) / 2
        assert (once.calls, once.output_tokens) == (off.calls, off.output_tokens)
        assert again * more <= once.input_tokens - off.input_tokens <= again * 20 * more


def test_known_batches_for_the_judge_are_counted_once_a_run():
    without, four = by_stage(settings()), by_stage(settings(control={"judge_checks": 4, "solve": "off"}))
    for end in ("low", "expected", "high"):
        more = getattr(four["control_quality"], end).calls - getattr(without["control_quality"], end).calls
        assert more == 8
    assert four["generate_data"] == without["generate_data"]


def test_prompts_are_measured_with_the_users_own_rows_and_description():
    got = by_stage(settings(loop={"iterations": 1}), validation=125)["analyze_patterns"]
    assert got.expected.input_tokens > got.expected.calls * token_count(SQL.description)
    long = [{**row, "question": row["question"] + " please" * 200} for row in ROWS]
    more = by_stage(settings(loop={"iterations": 1}), rows=long, validation=125)["analyze_patterns"].expected.input_tokens
    assert more - got.expected.input_tokens == pytest.approx(50 * 200, rel=0.01)
    assert by_stage(settings(), rows=ROWS[::-1]) == by_stage(settings()), "the order of the rows does not matter"


def test_money_is_tokens_at_the_stage_s_own_prices():
    got = by_stage(settings(judge={"model": "j"}))
    assert got["control_quality"].high.usd == 0
    for end in (got["generate_data"].low, got["generate_data"].expected, got["generate_data"].high):
        assert end.usd == pytest.approx((end.input_tokens + 10 * end.output_tokens) / 1e6, rel=1e-4)


def test_batches_cost_less_by_the_discount():
    teacher = {"model": "m", "usd_per_million_input": 1.0, "usd_per_million_output": 10.0, "mode": "batch"}
    full = by_stage(settings())
    half = by_stage(settings(teacher=teacher))
    less = by_stage(settings(teacher={**teacher, "batch_discount": 0.2}))
    for stage, share in (("analyze_patterns", 1.0), ("generate_data", 1.0), ("control_quality", 0.0)):
        usd, tokens = full[stage].expected.usd, full[stage].expected.tokens
        assert half[stage].expected.usd == pytest.approx(usd * (1 - 0.5 * share))
        assert less[stage].expected.usd == pytest.approx(usd * (1 - 0.2 * share))
        assert half[stage].expected.tokens == tokens


def test_nothing_to_learn_from_costs_nothing():
    for stage in estimate(settings(), SQL, [], 0, 0):
        assert stage.low == stage.expected == stage.high == Usage()


def test_where_the_checks_decide_a_judge_costs_nothing():
    control = {"judge_checks": 4, "solve": "once", "verdict": "checks"}
    decided, judged = by_stage(settings(control=control)), by_stage(settings(control={**control, "verdict": "sample"}))
    solving = by_stage(settings(control={**control, "verdict": "sample", "judge_checks": 0}))["control_quality"].low.calls
    assert 0 < decided["control_quality"].low.calls < solving < judged["control_quality"].low.calls
    assert decided["generate_data"] == judged["generate_data"]
    unchecked = by_stage(settings(control={**control, "judge_checks": 0}))
    assert decided == unchecked, "no judge is measured that is not needed"


def test_rows_shown_to_a_solver_are_counted():
    few, many = (by_stage(settings(control={"solve": "once", "solve_shots": n}))["control_quality"].low for n in (0, 6))
    assert few.calls == many.calls and few.input_tokens < many.input_tokens


def method(name, **sections):
    given = {"loop": {"iterations": 1}, "control": {"judge_checks": 0, "solve": "once"}, **sections}
    return by_stage(settings(**{**given, "generate": {"method": name, **given.get("generate", {})}}))


@pytest.mark.parametrize("name", METHODS)
def test_each_method_has_an_estimate_whose_ends_are_in_order_and_pays_for_patterns_only_if_it_finds_some(name):
    got = method(name)
    for stage in got.values():
        for what in ("calls", "input_tokens", "output_tokens", "usd"):
            low, expected, high = (getattr(end, what) for end in (stage.low, stage.expected, stage.high))
            assert low <= expected <= high, (stage.stage, what)
    assert (got["analyze_patterns"].low.calls > 0) == (name == "pada")
    assert [got[s].high.calls == 0 for s in ("generate_data", "control_quality")] == [name == "duplicate"] * 2


def test_calls_of_methods_that_write_from_one_row():
    once = {"regenerations": 0, "refills": 0, "batch": 5}
    calls = {n: method(n, generate=once)["generate_data"] for n in ("auggpt", "llm2llm", "learning_from_error")}
    assert [(e.low.calls, e.expected.calls, e.high.calls) for e in calls.values()] == [(60,) * 3, (60,) * 3, (12, 30, 60)]
    six = method("auggpt", generate={**once, "per_row": 6})["generate_data"]
    assert six.low.calls == 10 and six.low.output_tokens == calls["auggpt"].low.output_tokens
    contrast = method("learning_by_contrast", generate=once)["generate_data"].low
    assert contrast.calls == 12 and contrast.input_tokens > calls["learning_from_error"].low.input_tokens


def test_a_batch_of_one_row_that_goes_back_is_asked_for_whole():
    got = method("llm2llm", generate={"regenerations": 1})["generate_data"]
    assert got.expected.calls == 60 + round(60 * 2 / 3 / 2) and got.high.calls == 120
    assert got.expected.output_tokens == pytest.approx(got.low.output_tokens * 80 / 60, rel=0.01)


def test_ablations_cost_less():
    whole, no_patterns = by_stage(settings()), by_stage(settings(generate={"pattern_share": 0}))
    assert whole["analyze_patterns"].low.calls and no_patterns["analyze_patterns"].high == Usage()
    assert no_patterns["generate_data"].low.calls > 0
    control = {"verdict": "none", "solve": "vote", "judge_checks": 4}
    assert by_stage(settings(control=control))["control_quality"].high == Usage()
    free, once = (
        by_stage(settings(control={"verdict": "none"}, generate={"regenerations": n}))["generate_data"].expected for n in (3, 0)
    )
    checked = by_stage(settings(control={"verdict": "checks"}))["generate_data"].expected
    assert free == once and free.calls < checked.calls, "hardly anything is refused"


def test_a_task_that_the_method_cannot_do_has_no_estimate():
    task = load_task("custom", {"prompt": "{a} {b}", "answer": "c", "scorer": "exact", "description": "d"})
    with pytest.raises(InputError, match="say which: a, b"):
        estimate(settings(generate={"method": "auggpt"}), task, [{"inputs": {"a": "x", "b": "y"}, "answer": "z"}], 9, 9)
