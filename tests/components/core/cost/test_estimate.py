import json
from pathlib import Path

import pytest

from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.cost.estimate import attempts, estimate
from pada_agent.components.core.cost.tokens import token_count
from pada_agent.components.core.settings import Settings
from pada_agent.components.core.tasks.registry import load_task

QUICKSTART = Path(__file__).parents[4] / "pipelines" / "quickstart"
SQL = load_task("text_to_sql", {"database": str(QUICKSTART / "shop.sql")})
ROWS = [SQL.read(json.loads(line)) for line in (QUICKSTART / "train.jsonl").open()]
CHOICE = load_task("arc_challenge", {})
CHOICES = [{"question": "What boils?", "options": ["water", "sand"], "answer": "A"}] * 9


def settings(**sections):
    llm = {"model": "m", "usd_per_million_input": 1.0, "usd_per_million_output": 10.0}
    rows = {"name": "text_to_sql", "train": "t", "validation": "v", "test": "e"}
    values = {"control": {"judge_checks": 0}, **sections}
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
    got = by_stage(config)
    analysis = got["analyze_patterns"]
    assert analysis.low.calls == 24 + 2 * 2
    assert analysis.expected.calls == 24 + 2 * 4
    assert analysis.high.calls == 24 + 2 * 6 * 3
    # 60 rows: 30 on patterns, 30 on errors (6 calls); two patterns are 3 + 3 calls, five of 6 rows each, the worst, 5 x 2
    assert got["generate_data"].low.calls == 6 + 6
    assert got["generate_data"].high.calls == (10 + 6) * 4 * 2
    assert got["control_quality"].low.calls == 12
    assert got["control_quality"].high.calls == 128
    # four patterns of 8, 8, 7, 7 rows: 8 calls; two of three go back at each of 8 attempts, a third is not judged
    written = (8 + 6) * sum((2 / 3) ** n for n in range(8))
    assert got["generate_data"].expected.calls == round(written)
    assert got["control_quality"].expected.calls == round(written * 2 / 3)


def test_what_is_expected_lies_between_the_ends():
    for config in (settings(), settings(generate={"regenerations": 0, "refills": 0}), settings(loop={"iterations": 1})):
        for stage in by_stage(config).values():
            for name in ("calls", "output_tokens", "usd"):
                low, expected, high = (getattr(end, name) for end in (stage.low, stage.expected, stage.high))
                assert low <= expected <= high


def test_each_attempt_is_of_fewer_batches_and_of_half_their_rows():
    config = settings(generate={"regenerations": 1, "refills": 0})
    assert [(a.batches, a.rows) for a in attempts(config, "expected")] == [(1, 1), (2 / 3, 1 / 2)]
    assert [(a.batches, a.rows) for a in attempts(config, "high")] == [(1, 1), (1, 1)]
    assert [(a.batches, a.rows) for a in attempts(config, "low")] == [(1, 1)]


def test_more_iterations_share_the_rows_but_not_the_analysis():
    one, three = by_stage(settings(loop={"iterations": 1})), by_stage(settings(loop={"iterations": 3}))
    assert three["analyze_patterns"].low.calls == 3 * one["analyze_patterns"].low.calls
    assert three["generate_data"].low.calls < 2 * one["generate_data"].low.calls
    each = by_stage(settings(loop={"iterations": 3}, generate={"scope": "per_iteration"}))
    assert each["generate_data"].low.calls == 3 * one["generate_data"].low.calls


def test_few_validation_rows_mean_few_analyses():
    assert by_stage(settings(loop={"iterations": 1}), validation=3)["analyze_patterns"].high.calls == 3 + 3 * 2 * 3


def test_multiple_choice_is_also_solved_blind_row_by_row():
    choice = by_stage(settings(loop={"iterations": 1}), task=CHOICE, rows=CHOICES)["control_quality"]
    plain = by_stage(settings(loop={"iterations": 1}))["control_quality"]
    assert choice.low.calls == plain.low.calls + 60


def test_known_batches_for_the_judge_are_counted_once_a_run():
    without, four = by_stage(settings()), by_stage(settings(control={"judge_checks": 4}))
    for end in ("low", "expected", "high"):
        more = getattr(four["control_quality"], end).calls - getattr(without["control_quality"], end).calls
        assert more == 8
    assert four["generate_data"] == without["generate_data"]


def test_prompts_are_measured_with_the_users_own_rows_and_description():
    got = by_stage(settings(loop={"iterations": 1}))["analyze_patterns"]
    assert got.expected.input_tokens > got.expected.calls * token_count(SQL.description)
    long = [{**row, "question": row["question"] + " please" * 200} for row in ROWS]
    more = by_stage(settings(loop={"iterations": 1}), rows=long)["analyze_patterns"].expected.input_tokens
    assert more - got.expected.input_tokens == pytest.approx(50 * 200, rel=0.01)
    assert by_stage(settings(), rows=ROWS[::-1]) == by_stage(settings()), "the order of the rows does not matter"


def test_money_is_tokens_at_the_stage_s_own_prices():
    got = by_stage(settings(judge={"model": "j"}))
    assert got["control_quality"].high.usd == 0
    for end in (got["generate_data"].low, got["generate_data"].expected, got["generate_data"].high):
        assert end.usd == pytest.approx((end.input_tokens + 10 * end.output_tokens) / 1e6, rel=1e-4)


def test_nothing_to_learn_from_costs_nothing():
    for stage in estimate(settings(), SQL, [], 0, 0):
        assert stage.low == stage.expected == stage.high == Usage()
