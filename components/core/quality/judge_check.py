"""Whether the judge tells good from bad: what it said of batches whose worth is known.

    {"batches": [{"kind": "good", "branch": "error", "mean": 8.0, "passed": true},
                 {"kind": "exchanged", "branch": "error", "mean": 3.5, "passed": false}]}

control_quality measures it on training rows, as they are and spoilt; it is a warning to readers and changes nothing else.
"""

from collections import Counter
from typing import Literal

from pydantic import Field

from pada_agent.components.core.figures import percent, plural
from pada_agent.components.core.records import Branch, Record
from pada_agent.components.core.statistics import Interval, balanced_accuracy

JUDGE_CHECK_FILE = "judge_check.json"
BadKind = Literal["subtle", "exchanged", "cut", "off_task", "off_pattern"]
Kind = Literal["good", "subtle", "exchanged", "cut", "off_task", "off_pattern"]
LABELS: dict[Kind, str] = {
    "good": "training rows as they are",
    "subtle": "with one detail of each answer wrong",
    "exchanged": "with the answers of other rows",
    "cut": "with questions cut to two words",
    "off_task": "text of another kind",
    "off_pattern": "rows that lack what the plan asks for",
}


class CheckedBatch(Record):
    """One batch of known worth. `mean` is None when the judge gave no answer that could be used."""

    kind: Kind
    branch: Branch
    mean: float | None = Field(default=None, description="of its scores, 1 to 10")
    passed: bool = Field(default=False, description="whether more than half of it would have been let in")


class JudgeCheck(Record):
    """What the judge said of all batches of known worth."""

    batches: list[CheckedBatch]

    @property
    def answered(self) -> list[CheckedBatch]:
        """Those that were judged."""
        return [b for b in self.batches if b.mean is not None]

    @property
    def constant(self) -> bool:
        """One score for everything, good or bad. The branches are judged by different scores, so each may have its own."""
        known = {(b.branch, b.kind == "good") for b in self.answered}
        sides = {branch for branch, _ in known if (branch, True) in known and (branch, False) in known}
        return bool(sides) and all(len({b.mean for b in self.answered if b.branch == branch}) == 1 for branch in sides)

    def accuracy(self, confidence: float = 0.95) -> Interval:
        """Balanced accuracy of letting in and refusing, a share of 0 to 1 with its interval."""
        good = [b.passed for b in self.answered if b.kind == "good"]
        bad = [not b.passed for b in self.answered if b.kind != "good"]
        return balanced_accuracy(sum(good), len(good), sum(bad), len(bad), confidence)

    def facts(self, confidence: float) -> "JudgeFacts":
        """The facts for reports."""
        accuracy, answered = self.accuracy(confidence), self.answered
        good, bad = ([b for b in answered if (b.kind == "good") == side] for side in (True, False))
        kinds = Counter(b.kind for b in answered)
        passed = Counter(b.kind for b in answered if b.passed)
        facts = JudgeFacts(
            batches=len(self.batches),
            answered=len(answered),
            good=len(good),
            good_passed=sum(b.passed for b in good),
            bad=len(bad),
            bad_refused=sum(not b.passed for b in bad),
            accuracy=accuracy.mean,
            low=accuracy.low,
            high=accuracy.high,
            gap=_mean(good) - _mean(bad) if good and bad else None,
            constant=self.constant,
            weak=self.constant or accuracy.low <= 0.5,
            kinds=[KindFacts(kind=LABELS[k], batches=n, passed=passed[k]) for k, n in kinds.items()],
        )
        return facts.model_copy(update={"sentence": _sentence(facts, answered)})


class KindFacts(Record):
    """How many answered batches of one kind there were, and how many of them the judge would have accepted."""

    kind: str
    batches: int
    passed: int


class JudgeFacts(Record):
    """What a report says of the judge. `weak`: not shown to be better than chance; `gap`: between mean scores, 1 to 10."""

    batches: int
    answered: int
    good: int
    good_passed: int
    bad: int
    bad_refused: int
    accuracy: float
    low: float
    high: float
    gap: float | None
    constant: bool
    weak: bool
    kinds: list[KindFacts]
    sentence: str = ""


def _mean(batches: list[CheckedBatch]) -> float:
    return sum(b.mean or 0.0 for b in batches) / len(batches)


def _sentence(facts: JudgeFacts, answered: list[CheckedBatch]) -> str:
    if not facts.good or not facts.bad:
        return f"The judge was not measured: of {plural(facts.batches, 'check')}, {facts.answered} came back with an answer."
    passed = (
        f"{facts.good_passed} of {facts.good} known-good batches pass, "
        f"{facts.bad_refused} of {facts.bad} known-bad ones are refused"
    )
    if facts.constant:
        scores = " or ".join(sorted({f"{b.mean:.1f}" for b in answered}))
        return f"The judge gives good and bad batches the same score ({scores}): it does not tell one from the other."
    told = f"{percent(facts.accuracy, 0)} ({percent(facts.low, 0)} to {percent(facts.high, 0)})"
    gap = f"their mean scores are {facts.gap:.1f} apart"
    if facts.weak:
        return f"The judge is not shown to tell good from bad: {told}; {passed}; {gap}."
    return f"The judge tells good from bad: {told}; {passed}; {gap}."
