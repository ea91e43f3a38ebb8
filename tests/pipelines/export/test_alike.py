"""When an exported form is still the adapter's model."""

import pytest

from pada_agent.components.core.errors import ModelError
from pada_agent.pipelines.export.alike import judge


def answers(count, equal, right):
    """Of `count` rows, the first `equal` answered as the adapter does, the first `right` rightly."""
    return [f"a{i}" if i < equal else f"b{i}" for i in range(count)], {f"r{i}": i < right for i in range(count)}


@pytest.mark.parametrize(
    ("equal", "right", "least", "refused"),
    [
        (40, 30, 0.5, ""),
        (25, 30, 0.5, ""),
        (24, 30, 0.5, "24 of 50 answers are the adapter's own .48 %.*; 50 % must be equal"),
        (24, 30, 0.4, ""),
        (45, 24, 0.5, ""),  # 6 lost, none won: p is 0.016
        (45, 22, 0.5, "answers fewer rows rightly than the adapter, by more than chance"),
        (45, 22, 0.0, "answers fewer rows rightly"),
        (25, 45, 0.5, ""),
    ],
)
def test_half_must_be_equal_and_none_be_lost(equal, right, least, refused):
    adapter = answers(50, 50, 30)
    if refused:
        with pytest.raises(ModelError, match=refused):
            judge("--gguf q2_k", adapter, answers(50, equal, right), least)
    else:
        found = judge("--gguf q2_k", adapter, answers(50, equal, right), least)
        assert (found.rows, found.equal, found.right, found.right_before) == (50, equal, right, 30)


def test_nothing_is_said_of_right_answers_where_none_are_known():
    found = judge("--merge", (["a"] * 8, {}), (["a"] * 8, {}), 0.5)
    assert str(found) == "8 of 8 answers are the adapter's own (100 %)"
