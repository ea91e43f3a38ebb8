"""The chain of generation and quality control: which batches still have work, and which get a refill."""

from collections.abc import Sequence

from pada_agent.components.core.records import Batch
from pada_agent.components.core.settings import GenerateSettings

REFILL = ".refill"


def links(generate: GenerateSettings) -> int:
    """How many generate/control pairs an iteration may need: a batch with its regenerations, then the same for each refill."""
    return (1 + generate.regenerations) * (1 + generate.refills)


def refillable(batches: Sequence[Batch], refills: int) -> list[Batch]:
    """Exhausted batches that may be replaced by one with other seeds, once each and at most `refills` deep."""
    replaced = {b.refill_of for b in batches}
    return [b for b in batches if b.status == "exhausted" and b.id not in replaced and b.id.count(REFILL) < refills]


def work_left(batches: Sequence[Batch], refills: int) -> int:
    """Batches the next link of the chain would write to; at 0 the chain may end."""
    return sum(b.status == "open" for b in batches) + len(refillable(batches, refills))
