import pytest
from hypothesis import given
from hypothesis import strategies as st

from pada_agent.components.core.row_quotas import Allocation, allocation, even_split, iteration_rows
from pada_agent.components.core.settings import GenerateSettings

PAPER = GenerateSettings()


def test_rows_spread_evenly_with_the_remainder_to_the_first():
    # 0.5 x 120 rows in one iteration: 30 on four patterns, 30 on errors
    assert allocation(PAPER, 120, 1, 1, patterns=4, errors=9) == Allocation([8, 8, 7, 7], 30)


def test_total_is_split_over_the_iterations_and_per_iteration_is_not():
    assert [iteration_rows(PAPER, 101, i, 3) for i in (1, 2, 3)] == [17, 17, 17]
    assert [iteration_rows(PAPER, 100, i, 3) for i in (1, 2, 3)] == [17, 17, 16]
    each = PAPER.model_copy(update={"scope": "per_iteration"})
    assert [iteration_rows(each, 100, i, 3) for i in (1, 2, 3)] == [50, 50, 50]


def test_a_branch_without_anything_to_work_on_gives_its_rows_to_the_other():
    assert allocation(PAPER, 100, 1, 1, patterns=0, errors=5) == Allocation([], 50)
    assert allocation(PAPER, 100, 1, 1, patterns=3, errors=0) == Allocation([17, 17, 16], 0)
    assert allocation(PAPER, 100, 1, 1, patterns=0, errors=0) == Allocation([], 0)


def test_more_patterns_than_rows_serves_the_first():
    assert allocation(PAPER, 8, 1, 1, patterns=5, errors=0).per_strategy == [1, 1, 1, 1, 0]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_pattern_share_at_its_ends(share):
    got = allocation(PAPER.model_copy(update={"pattern_share": share}), 100, 1, 1, patterns=2, errors=2)
    assert got == (Allocation([25, 25], 0) if share else Allocation([0, 0], 50))


@pytest.mark.parametrize("patterns", [0, 2])
@pytest.mark.parametrize("errors", [0, 2])
def test_a_share_of_none_is_none_also_where_there_is_nothing_else(patterns, errors):
    without_patterns, without_errors = (PAPER.model_copy(update={"pattern_share": share}) for share in (0.0, 1.0))
    none = [0] * patterns
    assert allocation(without_patterns, 100, 1, 1, patterns, errors) == Allocation(none, 50 if errors else 0)
    assert allocation(without_errors, 100, 1, 1, patterns, errors) == Allocation([25, 25] if patterns else [], 0)


@pytest.mark.parametrize("iteration", [0, 4])
def test_an_iteration_that_is_none_is_refused(iteration):
    with pytest.raises(ValueError, match=r"not within 1\.\.3"):
        iteration_rows(PAPER, 100, iteration, 3)


@given(st.integers(0, 3000), st.integers(1, 6), st.integers(0, 12), st.integers(0, 50), st.floats(0.05, 3), st.floats(0, 1))
def test_no_row_is_lost_or_invented(train, iterations, patterns, errors, share, pattern_share):
    settings = GenerateSettings(share=share, pattern_share=pattern_share)
    parts = [allocation(settings, train, i, iterations, patterns, errors) for i in range(1, iterations + 1)]
    served = (patterns and pattern_share > 0) or (errors and pattern_share < 1)
    expected = int(share * train + 0.5) if served else 0
    assert sum(p.total for p in parts) == expected
    for p in parts:
        assert len(p.per_strategy) == patterns
        assert max(p.per_strategy, default=0) - min(p.per_strategy, default=0) <= 1
        assert p.per_strategy == sorted(p.per_strategy, reverse=True)


def test_even_split():
    assert even_split(7, 3) == [3, 2, 2]
