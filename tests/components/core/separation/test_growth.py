"""Twice the rows take about twice the time, where a look at all rows for each row would take four times."""

import time
from collections.abc import Callable

import pytest
from made_rows import squad_rows

from pada_agent.components.core.separation.duplicates import NearDuplicates
from pada_agent.components.core.separation.leakage import Fingerprints
from pada_agent.components.core.separation.nearest import NearestRows
from pada_agent.components.core.tasks.registry import load_task

SQUAD = load_task("squad", {})
FEW = 1000
ROWS = {split: [SQUAD.read(row) for row in squad_rows(2 * FEW, split)] for split in ("train", "test")}
MOST = 3.0  # times as long


def repeated(count: int) -> None:
    """Each row compared with those before it, as quality control does."""
    seen = NearDuplicates(0.9)
    for i, row in enumerate(ROWS["train"][:count]):
        texts = SQUAD.question(row), SQUAD.messages(row)[-1]["content"]
        assert seen.closest(*texts) is None
        seen.add(str(i), *texts)


def fingerprints(count: int) -> None:
    """As prepare_data makes them, and each training row looked up."""
    rows = {split: [SQUAD.private_texts(row) for row in rows[:count]] for split, rows in ROWS.items()}
    prints = Fingerprints.build({"test": rows["test"]}, rows["train"])
    assert not any(map(prints.hits, rows["train"]))


@pytest.mark.parametrize("work", [repeated, fingerprints])
def test_twice_the_rows_take_about_twice_the_time(work: Callable[[int], None]) -> None:
    def seconds(count: int) -> float:
        started = time.process_time()
        work(count)
        return time.process_time() - started

    ratios = (seconds(2 * FEW) / seconds(FEW) for _ in range(3))
    assert any(ratio < MOST for ratio in ratios)


def test_few_rows_are_compared_with_a_question() -> None:
    near = NearestRows(SQUAD, ROWS["train"])
    asked = [near._asked(row) for row in ROWS["test"][:50]]
    assert max(len(near._candidates(words, 3)) for words in asked) < FEW / 10
