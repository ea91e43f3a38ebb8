"""Which batches still have work."""

from pada_agent.components.core.quality.chain import refillable, work_left
from pada_agent.components.core.records import Batch


def batch(identity: str, status: str = "open", refill_of: str = "") -> Batch:
    return Batch(id=identity, branch="error", seed_ids=["t1"], wanted=2, status=status, refill_of=refill_of)


def test_open_batches_are_work_and_done_ones_are_not():
    assert work_left([batch("a"), batch("b", "done")], refills=0) == 1


def test_an_exhausted_batch_is_refilled_once_and_not_deeper_than_asked():
    exhausted = batch("a", "exhausted")
    assert work_left([exhausted], refills=0) == 0
    assert [b.id for b in refillable([exhausted], refills=1)] == ["a"]
    replaced = [exhausted, batch("a.refill", "exhausted", refill_of="a")]
    assert refillable(replaced, refills=1) == []
    assert [b.id for b in refillable(replaced, refills=2)] == ["a.refill"]
