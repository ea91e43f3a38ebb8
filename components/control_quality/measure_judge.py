"""Measures the judge on training rows: as they are, wrong by one detail, and spoilt so that nobody could miss it.

No LLM writes them, none is kept. They go before the judge as the teacher's do, in both branches, beside other training rows as
parents and with what running the answers gives; nobody has solved them. What a row needs (`features`) makes the plan of the
pattern branch: rows that show it are on the pattern, rows that do not are off it.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from pada_agent.components.control_quality.judge import Item, item, judge_request, parent_items, room
from pada_agent.components.core.llm_interface import Llm
from pada_agent.components.core.quality.judge_check import BadKind, CheckedBatch, JudgeCheck, Kind
from pada_agent.components.core.quality.rules import let_in, mean_score
from pada_agent.components.core.records import Branch, Fields, TrainRow
from pada_agent.components.core.settings import ControlSettings
from pada_agent.components.core.tasks.task import Task

WORDS_LEFT = 2  # of a question that is cut
PARENTS = 3  # training rows shown beside a batch
NO_ANSWER = "-"  # where all rows have one answer
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
    parents: list[Item]


def measure_judge(
    task: Task, train: Sequence[TrainRow], settings: ControlSettings, size: int, seed: int, judge: Llm
) -> JudgeCheck:
    """What the judge makes of `settings.judge_checks` good and as many bad batches of up to `size` rows."""
    known = known_batches(task, train, settings.judge_checks, size, seed)
    requests = [
        judge_request(task, f"check/{k.kind}/{number}", k.branch, k.strategy, k.items, k.parents, len(k.items), settings)
        for number, k in enumerate(known, 1)
    ]
    judged = []
    for k, reply in zip(known, judge.ask_all("checks of the judge", requests), strict=True):
        mean = mean_score(reply.value.scores) if reply.value is not None else None
        verdicts = let_in(reply.value.rows, settings) if reply.value is not None else []
        passed = 2 * sum(verdicts) > len(verdicts)
        judged.append(CheckedBatch(kind=k.kind, branch=k.branch, mean=mean, passed=passed))
    return JudgeCheck(batches=judged)


def known_batches(task: Task, train: Sequence[TrainRow], number: int, size: int, seed: int) -> list[KnownBatch]:
    """`number` good and `number` bad batches; none from fewer than two rows. The same rows and seed give the same batches."""
    if len(train) < 2:
        return []
    draw = _Draw(task, train, size, seed)
    # What is hard to see first and twice. Only every second batch has a plan that a row can be off.
    cycle: list[BadKind] = ["subtle", "exchanged", "subtle", "cut", "off_task"]
    if draw.feature:
        cycle = ["subtle", "off_pattern", "exchanged", "cut", "subtle", "off_task"]
    if not draw.spoils:
        cycle = [kind for kind in cycle if kind != "subtle"]
    good: list[Kind] = ["good"] * number
    bad: list[Kind] = [cycle[i % len(cycle)] for i in range(number)]
    return [draw.batch(kind, on_pattern=i % 2 == 1) for kinds in (good, bad) for i, kind in enumerate(kinds)]


class _Draw:
    """Draws batches from the training rows."""

    def __init__(self, task: Task, train: Sequence[TrainRow], size: int, seed: int) -> None:
        self._task, self._train = task, train
        self._features = {row.id: task.features(row.fields) for row in train}
        self._references = sorted({task.reference(row.fields) for row in train})
        self._size = min(size, len(train))
        self._random = random.Random(f"{seed}/judge")
        self.spoils = any(task.spoil(row.fields, random.Random(seed)) for row in train)
        self.feature = self._telling()

    def batch(self, kind: Kind, on_pattern: bool) -> KnownBatch:
        feature = self.feature if on_pattern else ""
        strategy = f"Write varied examples whose answer needs {feature}, from simple to hard, no two alike." if feature else ""
        rows = self._rows(kind, feature)
        others = [row for row in self._train if row not in rows]
        parents = self._random.sample(others, min(PARENTS, len(others)))
        shown = parent_items(self._task, [row.fields for row in parents])
        return KnownBatch(kind, "pattern" if feature else "error", strategy, self._items(kind, rows), shown)

    def _items(self, kind: Kind, rows: Sequence[TrainRow]) -> list[Item]:
        if kind == "off_task":
            chosen = self._random.sample(OFF_TASK, min(self._size, len(OFF_TASK)))
            return [{"question": question, "reference": answer, "result": "", "solved": ""} for question, answer in chosen]
        if kind in ("subtle", "exchanged"):
            return [self._item(row, self._wrong(kind, row.fields)) for row in rows]
        items = [self._item(row) for row in rows]
        return [{**i, "question": " ".join(i["question"].split()[:WORDS_LEFT])} for i in items] if kind == "cut" else items

    def _item(self, row: TrainRow, reference: str = "") -> Item:
        return item(self._task, row.fields, reference, length=room(self._size))

    def _rows(self, kind: Kind, feature: str) -> list[TrainRow]:
        """Rows that show the feature, where there is one, or that lack it."""
        fitting = [r for r in self._train if not feature or (feature in self._features[r.id]) != (kind == "off_pattern")]
        return self._random.sample(fitting, min(self._size, len(fitting)))

    def _wrong(self, kind: Kind, fields: Fields) -> str:
        """A reference that is wrong by a detail, where the task knows one, or that of a row that is answered otherwise."""
        if kind == "subtle" and (spoilt := self._task.spoil(fields, self._random)):
            return spoilt
        others = [other for other in self._references if other != self._task.reference(fields)]
        return self._random.choice(others) if others else NO_ANSWER

    def _telling(self) -> str:
        """A feature that a whole batch of rows shows and a whole batch does not, '' if there is none."""
        shown = list(self._features.values())
        counts = {f: sum(f in features for features in shown) for f in set().union(*shown)}
        telling = sorted(f for f, n in counts.items() if self._size <= n <= len(shown) - self._size)
        return self._random.choice(telling) if telling else ""
