"""The gap between validation and test, against scipy and made-up truths."""

import numpy as np
import pytest
from scipy import stats
from study_worlds import scores

from pada_agent.pipelines.study.statistics.validation_gaps import validation_gaps


def test_a_gap_and_its_growth() -> None:
    """Validation is harder from the start on; one iteration in, it gains what test does not."""
    validation = {0: scores(np.array([[1.0, 0, 0, 0], [1, 0, 0, 0]])), 2: scores(np.array([[1.0, 1, 1, 0], [1, 1, 0, 0]]))}
    test = {0: scores(np.array([[1.0, 1, 0], [1, 1, 0]])), 2: scores(np.array([[1.0, 1, 0], [1, 1, 0]]))}
    found = validation_gaps(validation, test)
    assert found[0].growth is None and found[2].growth is not None
    assert found[0].gap.mean == pytest.approx(1 / 4 - 2 / 3)
    assert found[2].growth.mean == pytest.approx(5 / 8 - 1 / 4)
    assert found[0].gap.low < -0.5 < 0 < found[0].gap.high


def test_one_seed_is_welchs_test_of_two_sets_of_rows() -> None:
    rng = np.random.default_rng(2)
    one, other = rng.integers(0, 2, 80).astype(float), rng.integers(0, 2, 50).astype(float)
    found = validation_gaps({1: scores(one[None])}, {1: scores(other[None])}, confidence=0.9)[1].gap
    theirs = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize("only_on_validation", [False, True])
def test_the_gap_of_equal_splits_is_seldom_seen(only_on_validation: bool) -> None:
    """Three runs of which one is better than another, on both splits or, by chance, on validation alone: neither is a gap."""
    rng, missed = np.random.default_rng(3), 0
    for _ in range(400):
        luck = rng.normal(0, 0.4, (3, 1))
        splits = [rng.normal(0, 1.5, 120) + rng.normal(0, 0.5, (3, 120)) + luck * share for share in (1, not only_on_validation)]
        gap = validation_gaps({0: scores((splits[0] > 0) * 1.0)}, {0: scores((splits[1] > 0) * 1.0)})[0].gap
        missed += not gap.low <= 0 <= gap.high
    assert 0.02 < missed / 400 < 0.09


def test_what_is_refused() -> None:
    one = scores(np.eye(3))
    with pytest.raises(ValueError, match="iterations differ"):
        validation_gaps({0: one}, {1: one})
    with pytest.raises(ValueError, match="seeds differ"):
        validation_gaps({0: one}, {0: {0: one[0]}})
