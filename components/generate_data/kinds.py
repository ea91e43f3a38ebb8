"""Which kinds of row one strategy has and lacks, so that its batches spread instead of writing the same.

Kinds are the task's features. {"covered": ["COUNT", "WHERE"], "lacking": ["HAVING"], "share": "AVG"}
"""

import random
from collections import Counter
from collections.abc import Sequence

from pada_agent.components.core.patterns.feature_pairs import pairs, together, with_pairs
from pada_agent.components.core.records import Batch, Strategy, TrainRow
from pada_agent.components.core.tasks.task import Task

COVERED_SHOWN = 12
Kinds = dict[str, list[str] | str]


class KindsWritten:
    """Looks at all batches of a link at once."""

    def __init__(self, task: Task, train: Sequence[TrainRow], batches: Sequence[Batch]) -> None:
        self._batches = batches
        self._by_row = {r.id: task.features(r.fields) for r in train}
        self._all = sorted({feature for features in self._by_row.values() for feature in features})
        # A label is all that a row has of features: it cannot be combined with another.
        self._combined = {f for features in self._by_row.values() if len(features) > 1 for f in features}
        self._written: dict[str, Counter[str]] = {}  # by strategy
        self._served: dict[str, set[str]] = {}  # of what a strategy may ask for, pairs of features too
        for b in batches:
            counts = self._written.setdefault(b.strategy_id, Counter())
            counts.update(f for row in b.accepted for f in task.features(row.fields))
            self._served.setdefault(b.strategy_id, set()).update(*(with_pairs(task.features(row.fields)) for row in b.accepted))

    def of(self, batch: Batch, strategy: Strategy) -> Kinds:
        """What one batch is told: kinds it need not repeat, those the strategy still lacks, its own share of the rest."""
        written = self._written[strategy.id]
        siblings = [b for b in self._batches if b.strategy_id == strategy.id and b.status == "open"]
        asked = {b.focus for b in siblings if b.focus and b.id != batch.id}
        shown = {f for i in batch.seed_ids for f in self._by_row.get(i, ())}
        covered = (set(written) | shown | asked) - self._within([batch.focus])
        return {
            "covered": sorted(covered, key=lambda f: (-written[f], f))[:COVERED_SHOWN],
            "lacking": [f for f in strategy.features if f not in self._served[strategy.id] and f not in asked],
            "share": self._share(batch, strategy, siblings, written),
        }

    def _share(self, batch: Batch, strategy: Strategy, siblings: Sequence[Batch], written: Counter[str]) -> str:
        """A kind to combine the aim with, another for each sibling until all have had one.

        What was written least goes first, then what the fewest of the strategy's training rows have.
        """
        own = self._within(strategy.features)
        others = [f for f in self._all if f in self._combined and f not in own]
        random.Random(strategy.id).shuffle(others)  # or every strategy begins with the same
        trained = Counter(f for i in strategy.seed_ids for f in self._by_row.get(i, ()))
        others.sort(key=lambda f: (written[f], trained[f]))
        place = [b.id for b in siblings].index(batch.id)
        return others[(place + batch.attempt * len(siblings)) % len(others)] if others else ""

    def _within(self, aims: Sequence[str]) -> set[str]:
        """What one is asked for by asking for `aims`: these, and both features of a pair."""
        return {*aims, *(f for pair in pairs(self._all) if together(pair) in aims for f in pair)}
