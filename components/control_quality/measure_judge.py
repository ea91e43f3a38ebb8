"""Measures the judge on training rows: as they are, and spoilt so that nobody could miss it. No LLM writes them, none is kept.

The batches go before the judge as the teacher's do, in both branches. What a row needs (`features`) makes the plan of the pattern
branch: rows that show it are on the pattern, rows that do not are off it.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pada_agent.components.control_quality.judge import Item, item, judge_request
from pada_agent.components.core.llm_interface import Llm
from pada_agent.components.core.quality.judge_check import BadKind, CheckedBatch, JudgeCheck, Kind
from pada_agent.components.core.quality.rules import mean_score
from pada_agent.components.core.records import Branch, TrainRow
from pada_agent.components.core.settings import ControlSettings
from pada_agent.components.core.tasks.task import Task

WORDS_LEFT = 2  # of a question that is cut
OFF_TASK = (
    ("What shall we call the grey cat?", "Smoky, because of her fur."),
    ("Could you water the plants on Thursday?", "Yes, I will do it after lunch."),
    ("How was the concert last night?", "Loud, but I liked the second half."),
    ("Is there any soup left?", "A little, in the blue pot."),
    ("Which scarf goes with my coat?", "The green one."),
)


@dataclass(frozen=True)
class KnownBatch:
    """A batch of known worth, as the judge sees it."""

    kind: Kind
    branch: Branch
    strategy: str
    items: list[Item]


def measure_judge(
    task: Task, train: Sequence[TrainRow], settings: ControlSettings, size: int, seed: int, judge: Llm
) -> JudgeCheck:
    """What the judge makes of `settings.judge_checks` good and as many bad batches of up to `size` rows."""
    known = known_batches(task, train, settings.judge_checks, size, seed)
    requests = [
        judge_request(task, f"check/{k.kind}/{number}", k.branch, k.strategy, k.items, settings)
        for number, k in enumerate(known, 1)
    ]
    judged = []
    for k, reply in zip(known, judge.ask_all("checks of the judge", requests), strict=True):
        mean = mean_score(reply.value.scores) if reply.value is not None else None
        passed = mean is not None and mean >= settings.threshold
        judged.append(CheckedBatch(kind=k.kind, branch=k.branch, mean=mean, passed=passed))
    return JudgeCheck(batches=judged)


def known_batches(task: Task, train: Sequence[TrainRow], number: int, size: int, seed: int) -> list[KnownBatch]:
    """`number` good and `number` bad batches; none from fewer than two rows. The same rows and seed give the same batches."""
    if len(train) < 2:
        return []
    draw = _Draw(task, train, size, seed)
    cycle: tuple[BadKind, ...] = (
        ("exchanged", "off_pattern", "cut", "off_task") if draw.feature else ("exchanged", "cut", "off_task")
    )
    good: list[Kind] = ["good"] * number
    bad: list[Kind] = [cycle[i % len(cycle)] for i in range(number)]
    return [draw.batch(kind, on_pattern=i % 2 == 1) for kinds in (good, bad) for i, kind in enumerate(kinds)]


class _Draw:
    """Draws batches from the training rows."""

    def __init__(self, task: Task, train: Sequence[TrainRow], size: int, seed: int) -> None:
        self._items = [item(task, row.fields) for row in train]
        self._features = [task.features(row.fields) for row in train]
        self._size = min(size, len(train))
        self._random = random.Random(f"{seed}/judge")
        self.feature = self._telling()

    def batch(self, kind: Kind, on_pattern: bool) -> KnownBatch:
        feature = self.feature if on_pattern else ""
        strategy = f"Write varied examples whose answer needs {feature}, from simple to hard, no two alike." if feature else ""
        return KnownBatch(kind, "pattern" if feature else "error", strategy, self._spoilt(kind, feature))

    def _spoilt(self, kind: Kind, feature: str) -> list[Item]:
        if kind == "off_task":
            chosen = self._random.sample(OFF_TASK, min(self._size, len(OFF_TASK)))
            return [{"question": question, "reference": answer} for question, answer in chosen]
        if kind == "off_pattern":
            return self._rows(lambda features: feature not in features)
        items = self._rows(lambda features: not feature or feature in features)
        if kind == "exchanged":
            return [{**i, "reference": self._other_answer(i)} for i in items]
        if kind == "cut":
            return [{**i, "question": " ".join(i["question"].split()[:WORDS_LEFT])} for i in items]
        return items

    def _rows(self, fits: Callable[[set[str]], bool]) -> list[Item]:
        fitting = [i for i, features in zip(self._items, self._features, strict=True) if fits(features)]
        return self._random.sample(fitting, min(self._size, len(fitting)))

    def _other_answer(self, own: Item) -> str:
        """Of a row that is answered otherwise; '' where all rows have one answer."""
        others = sorted({i["reference"] for i in self._items} - {own["reference"]})
        return self._random.choice(others) if others else ""

    def _telling(self) -> str:
        """A feature that a whole batch of rows shows and a whole batch does not, '' if there is none."""
        counts = {f: sum(f in features for features in self._features) for f in set().union(*self._features)}
        telling = sorted(f for f, n in counts.items() if self._size <= n <= len(self._items) - self._size)
        return self._random.choice(telling) if telling else ""
