import pytest

from components.core.estimate import estimate
from components.core.settings import Settings


def settings(task="text_to_sql", **sections):
    llm = {"model": "m", "usd_per_million_input": 1.0, "usd_per_million_output": 10.0}
    rows = {"name": task, "train": "t", "validation": "v", "test": "e"}
    return Settings.model_validate(
        {"task": rows, "slm": {"model": "s"}, "teacher": llm, "judge": {**llm, "model": "j"}, **sections}
    )


def by_stage(config, train=120, validation=80):
    return {s.stage: s for s in estimate(config, train, validation)}


def test_calls_follow_from_the_settings():
    config = settings(
        loop={"iterations": 1},
        analyze={"sample": 24, "k_min": 2, "k_max": 6, "redrafts": 2},
        generate={"batch": 5, "regenerations": 3, "refills": 1},
    )
    got = by_stage(config)
    analysis = got["analyze_patterns"]
    assert analysis.calls_low == 24 + 2 * 2
    assert analysis.calls_high == 24 + 2 * 6 * 3
    # 60 rows: 30 on patterns, 30 on errors (6 calls); two patterns are 3 + 3 calls, five of 6 rows each, the worst, 5 x 2
    assert got["generate_data"].calls_low == 6 + 6
    assert got["generate_data"].calls_high == (10 + 6) * 4 * 2
    assert got["control_quality"].calls_low == 12
    assert got["control_quality"].calls_high == 128


def test_more_iterations_share_the_rows_but_not_the_analysis():
    one, three = by_stage(settings(loop={"iterations": 1})), by_stage(settings(loop={"iterations": 3}))
    assert three["analyze_patterns"].calls_low == 3 * one["analyze_patterns"].calls_low
    assert three["generate_data"].calls_low < 2 * one["generate_data"].calls_low
    each = by_stage(settings(loop={"iterations": 3}, generate={"scope": "per_iteration"}))
    assert each["generate_data"].calls_low == 3 * one["generate_data"].calls_low


def test_few_validation_rows_mean_few_analyses():
    assert by_stage(settings(loop={"iterations": 1}), validation=3)["analyze_patterns"].calls_high == 3 + 3 * 2 * 3


def test_multiple_choice_is_also_solved_blind_row_by_row():
    choice = by_stage(settings("arc_challenge", loop={"iterations": 1}))["control_quality"]
    plain = by_stage(settings("squad", loop={"iterations": 1}))["control_quality"]
    assert choice.calls_low == plain.calls_low + 60
    own = settings("custom", loop={"iterations": 1})
    own = own.model_copy(update={"task": own.task.model_copy(update={"options": {"scorer": "multiple_choice"}})})
    assert by_stage(own)["control_quality"].calls_low == plain.calls_low + 60


def test_money_is_tokens_at_the_stage_s_own_prices():
    got = by_stage(settings(judge={"model": "j"}))
    for stage in got.values():
        assert stage.tokens_in_low <= stage.tokens_in
        assert stage.tokens_out_low <= stage.tokens_out
        assert stage.usd_low <= stage.usd
    assert got["control_quality"].usd == 0
    written = got["generate_data"]
    assert written.usd == pytest.approx((written.tokens_in + 10 * written.tokens_out) / 1e6)
    assert written.tokens_out_low == pytest.approx(60 * 34, rel=0.02), "60 rows of 34 tokens"


def test_nothing_to_learn_from_costs_nothing():
    for stage in estimate(settings(), 0, 0):
        assert (stage.calls_high, stage.tokens_in, stage.usd) == (0, 0, 0)
