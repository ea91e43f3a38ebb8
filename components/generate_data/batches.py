"""Cuts the budget of an iteration into batches and decides which batches the next link of the chain writes."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pada_agent.components.core.methods.method import FromRow, TrainingRows, load_method
from pada_agent.components.core.patterns.feature_pairs import with_pairs
from pada_agent.components.core.quality.chain import REFILL, refillable
from pada_agent.components.core.records import Batch, Fields, Strategy, TrainingError, TrainRow
from pada_agent.components.core.row_quotas import Allocation
from pada_agent.components.core.settings import GenerateSettings
from pada_agent.components.core.tasks.task import Task
from pada_agent.components.generate_data.seeds import Likeness, unlike


@dataclass(frozen=True)
class Sources:
    """What batches are made from. The types leave no room for a held-out row."""

    task: Task
    train: Sequence[TrainRow]
    strategies: Sequence[Strategy]
    errors: Sequence[TrainingError]

    @cached_property
    def rows(self) -> dict[str, Fields]:
        """The fields of each training row, by its id."""
        return {r.id: r.fields for r in self.train}


def first_batches(sources: Sources, allocation: Allocation, settings: GenerateSettings, iteration: int, seed: int) -> list[Batch]:
    """The batches of a new iteration by a plan: the rows of each strategy, then those of the training errors, cut into calls."""
    plan = [(s, n) for s, n in zip(sources.strategies, allocation.per_strategy, strict=True) if n]
    batches = [
        _batch(sources, settings, f"{s.id}-b{j + 1}", wanted, s, j, seed)
        for s, rows in plan
        for j, wanted in enumerate(_cut(rows, settings.batch))
    ]
    errors = _cut(allocation.error_rows, settings.batch)
    return batches + [
        _batch(sources, settings, f"it{iteration}-e-b{j + 1}", wanted, None, j, seed) for j, wanted in enumerate(errors)
    ]


class RowBatches:
    """Batches of a method that writes each from one training row; they take turns with the rows, in an order drawn."""

    def __init__(self, sources: Sources, method: FromRow, settings: GenerateSettings, iteration: int, seed: int) -> None:
        self._method, self._settings, self._iteration = method, settings, iteration
        rows = sources.rows
        self._train = TrainingRows(sources.task, rows, {e.id for e in sources.errors})
        self._origins = [i for i in rows if method.branch == "row" or i in self._train.wrong]
        random.Random(f"{seed}/{iteration}").shuffle(self._origins)

    def first(self, rows: int) -> list[Batch]:
        """Those of a new iteration; none where there is no row to write from."""
        sizes = self._method.sizes(rows, len(self._origins), self._settings)
        name = f"it{self._iteration}-{self._method.branch[0]}"
        return [self.batch(f"{name}-b{j + 1}", wanted, j) for j, wanted in enumerate(sizes)]

    def batch(self, batch_id: str, wanted: int, number: int) -> Batch:
        """The batch of this number, from 0."""
        origin = self._origins[number % len(self._origins)]
        seeds = [origin, *self._method.beside(origin, self._train, self._settings.shots)]
        return Batch(id=batch_id, branch=self._method.branch, seed_ids=seeds, wanted=wanted)


def next_batches(
    sources: Sources, batches: Sequence[Batch], settings: GenerateSettings, iteration: int, seed: int
) -> list[Batch]:
    """Batches of the next link: an open one goes to its next attempt, an exhausted one gets one refill.

    Both have new seeds, but for an attempt around training errors, from a row or on its context: it mends what was written there.
    """
    method, strategies = load_method(settings.method), {s.id: s for s in sources.strategies}
    row_batches = RowBatches(sources, method, settings, iteration, seed) if isinstance(method, FromRow) else None

    def again(number: int, batch: Batch) -> Batch:
        change: dict[str, Any] = {"attempt": batch.attempt + 1, "refused": []}
        if batch.branch == "pattern" and settings.context == "written":
            # Other seeds than in the last attempt, or the teacher writes what it has written.
            turn = number + change["attempt"]
            change["seed_ids"] = _seeds(sources, settings, strategies[batch.strategy_id], batch.focus, turn, seed)
        return batch.model_copy(update=change)

    result = [again(i, b) if b.status == "open" else b for i, b in enumerate(batches)]
    for number, old in enumerate(refillable(batches, settings.refills), len(batches)):
        if row_batches:
            new = row_batches.batch(old.id + REFILL, old.missing, number)
        else:
            new = _batch(sources, settings, old.id + REFILL, old.missing, strategies.get(old.strategy_id), number, seed)
        result.append(new.model_copy(update={"refill_of": old.id}))
    return result


def _cut(rows: int, size: int) -> list[int]:
    return [size] * (rows // size) + ([rows % size] if rows % size else [])


def _batch(
    sources: Sources,
    settings: GenerateSettings,
    batch_id: str,
    wanted: int,
    strategy: Strategy | None,
    number: int,
    seed: int,
) -> Batch:
    if strategy is None:
        errors = list(sources.errors)
        random.Random(seed).shuffle(errors)
        start = number * settings.shots
        ids = [errors[(start + i) % len(errors)].id for i in range(min(settings.shots, len(errors)))]
        return Batch(id=batch_id, branch="error", seed_ids=ids, wanted=wanted)
    focus = strategy.features[number % len(strategy.features)] if strategy.features else ""
    seeds = _seeds(sources, settings, strategy, focus, number, seed)
    return Batch(id=batch_id, branch="pattern", strategy_id=strategy.id, seed_ids=seeds, wanted=wanted, focus=focus)


def _seeds(sources: Sources, settings: GenerateSettings, strategy: Strategy, focus: str, number: int, seed: int) -> list[str]:
    rows, shots = sources.rows, min(settings.shots, len(sources.rows))
    near = [i for i in strategy.seed_ids if i in rows]
    if settings.seed_choice == "random" or not near:
        return random.Random(f"{seed}/{strategy.id}/{number}").sample(list(rows), shots)
    showing = [i for i in near if focus in with_pairs(sources.task.features(rows[i]))] if focus else near
    # Seeds take turns: one that is shown in every call gives the same sample in every reply. Variations are made of the nearest
    # few; who composes is shown what the pattern's rows have in all.
    pool = showing[:] if settings.freedom == "compose" or settings.context == "kept" else showing[: 3 * shots]
    draw = random.Random(f"{seed}/{strategy.id}/{focus}")
    draw.shuffle(pool)
    if settings.context == "kept":  # what the pattern needs can be asked on any context, once those near to it are used up
        for more in (near, list(rows)):
            pool += draw.sample(others := [i for i in more if i not in pool], len(others))
    start = number * shots % len(pool) if pool else 0
    turn = pool[start:] + pool[:start]
    likeness = Likeness(sources.task, {i: rows[i] for i in {*near, *turn}})
    fitting = unlike(likeness, turn, shots, diverse=settings.freedom == "compose")
    return unlike(likeness, near, shots, chosen=fitting)
