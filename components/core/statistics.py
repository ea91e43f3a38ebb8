"""How sure a number is: intervals, paired tests, and the metrics of one split. Standard library only.

The metrics of 200 test rows, as evaluate_slm writes them:

    {"n": 200, "correct": 140, "accuracy": 0.7, "low": 0.633, "high": 0.759, "invalid": 3, "histogram": {}, "collapsed": false}

Rows of one group (a SQuAD article, a HellaSwag source) are not independent; what takes `groups` resamples or flips whole
groups (Miller, arXiv 2411.00640). The oracle in the tests is scipy.

A graded task (`Score.grade`) is measured by its mean grade, and models are compared by that: `paired_test` is a permutation test
and not McNemar's, beside the same paired bootstrap. What counts as a failure is still right or wrong, by the task's threshold.
"""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import compress
from statistics import NormalDist

from pydantic import BaseModel, ConfigDict, Field

from pada_agent.components.core.records import Prediction, check_scored

RESAMPLES = 2000
RANDOM_FLIPS = 9999
ALL_WAYS = 13  # graded differences up to which all 2^n ways are tried: fewer than random ones
ZERO_AND_ONE = bytes.maketrans(b"01", bytes((0, 1)))
MIN_FOR_COLLAPSE = 10  # answers below which "nearly all the same" says nothing
HISTOGRAM_LABELS = 12
LABEL_LENGTH = 40


@dataclass(frozen=True)
class Interval:
    """A mean with its interval."""

    mean: float
    low: float
    high: float


class SplitMetrics(BaseModel):
    """One model on one split. `low` and `high` are the Wilson interval of `accuracy`; all three are shares, 0 to 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n: int = Field(ge=0)
    correct: int = Field(ge=0)
    accuracy: float
    low: float
    high: float
    grade: Interval | None = Field(default=None, description="mean of a graded task's scores, 0 to 1, with its interval")
    invalid: int = Field(default=0, ge=0, description="rows whose output held no answer; they count as wrong")
    histogram: dict[str, int] = Field(default_factory=dict, description="the most frequent answers")
    collapsed: bool = Field(default=False, description="nearly all answers are the same one, and not because it is right")
    extra: dict[str, float] = Field(default_factory=dict, description="means of the task's secondary metrics, 0 to 1")

    @property
    def invalid_share(self) -> float:
        """Invalid rows over all rows."""
        return self.invalid / self.n if self.n else 0.0

    @property
    def main(self) -> Interval:
        """What models are measured by: the mean grade where the task is graded, else the accuracy."""
        return self.grade or Interval(self.accuracy, self.low, self.high)

    @property
    def measure(self) -> str:
        """What `main` is called."""
        return measure(self.grade is not None)


def measure(graded: bool) -> str:
    """What models are compared by, in words: where answers are right or wrong, or where they are graded."""
    return "mean score" if graded else "accuracy"


def summarise(predictions: Sequence[Prediction], confidence: float = 0.95, collapse_share: float = 0.9) -> SplitMetrics:
    """Metrics of the predictions of one split. Raises InputError where one is not scored yet."""
    check_scored(predictions, "metrics")
    n, correct = len(predictions), sum(p.score.correct for p in predictions)
    low, high = wilson_interval(correct, n, confidence)
    answers = Counter(p.score.predicted[:LABEL_LENGTH] for p in predictions if p.score.valid and p.score.predicted)
    extra = {name for p in predictions for name in p.score.extra}
    grades = grades_of(predictions)
    groups = [p.group or f"row {p.id}" for p in predictions]
    return SplitMetrics(
        n=n,
        correct=correct,
        accuracy=correct / n if n else 0.0,
        low=low,
        high=high,
        grade=mean_interval(list(grades.values()), groups, confidence) if grades else None,
        invalid=sum(not p.score.valid for p in predictions),
        histogram=dict(sorted(answers.items(), key=lambda item: (-item[1], item[0]))[:HISTOGRAM_LABELS]),
        collapsed=_collapsed(predictions, answers, collapse_share),
        extra={name: sum(p.score.extra.get(name, 0.0) for p in predictions) / n for name in sorted(extra)},
    )


def grades_of(predictions: Sequence[Prediction]) -> dict[str, float]:
    """By row id; empty unless every prediction is graded."""
    grades = {p.id: p.score.grade for p in predictions if p.score.grade is not None}
    return grades if len(grades) == len(predictions) else {}


def _collapsed(predictions: Sequence[Prediction], answers: Counter[str], share: float) -> bool:
    total = answers.total()
    if total < MIN_FOR_COLLAPSE:
        return False
    label, count = answers.most_common(1)[0]
    right = sum(p.score.correct for p in predictions if p.score.predicted[:LABEL_LENGTH] == label)
    return count > share * total and right <= share * count  # where one label is the truth, giving it is no collapse


def wilson_interval(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share, 0 to 1. Without rows it is (0, 1). An effective number of rows need not be whole."""
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, spread = successes / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    # At the ends the formula is exact on paper and off by rounding here.
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == n else centre + half)


def mean_interval(scores: Sequence[float], groups: Sequence[str], confidence: float = 0.95) -> Interval:
    """The mean of scores from 0 to 1, with Wilson's interval for as many independent right or wrong rows as would be as sure.

    That number is mean (1 - mean) / variance of the mean, that between groups (Korn and Graubard 1998): the interval stays
    within 0 and 1, has a width at both, and is Wilson's own where scores are 0 or 1 and each row is its own group.
    """
    n = len(scores)
    if not n:
        return Interval(0.0, 0.0, 1.0)
    mean = sum(scores) / n
    off: dict[str, float] = defaultdict(float)
    for score, group in zip(scores, groups, strict=True):
        off[group] += score - mean
    variance, effective = sum(total * total for total in off.values()) / (n * n), float(len(off))
    if variance > 0 and 0 < mean < 1:
        effective = mean * (1 - mean) / variance
    low, high = wilson_interval(mean * effective, effective, confidence)
    return Interval(mean, low, high)


def mcnemar_exact(gains: int, losses: int) -> float:
    """Two-sided p of the exact McNemar test on the rows where two models differ; 1 where they never do."""
    n = gains + losses
    tail = sum(math.comb(n, i) for i in range(min(gains, losses) + 1))
    return min(1.0, 2 * tail / (1 << n))


def detectable_difference(n: int, differing: float = 0.2, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest difference of two accuracies, 0 to 1, that the exact McNemar test on `n` rows shows with chance `power`.

    `differing`: the share of rows on which the two models differ, at least the difference. Infinite where `n` rows show none.
    """
    if _mcnemar_power(n, 1.0, 1.0, alpha) < power:
        return math.inf
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        shown = _mcnemar_power(n, max(differing, middle), middle, alpha) >= power
        low, high = (low, middle) if shown else (middle, high)
    return high


def _mcnemar_power(n: int, differing: float, difference: float, alpha: float) -> float:
    """The chance that the test shows a gain; how many rows differ is drawn too."""
    gained = (1 + difference / differing) / 2
    spread = 6 * math.sqrt(n * differing * (1 - differing)) + 1
    near = range(max(0, math.floor(n * differing - spread)), min(n, math.ceil(n * differing + spread)) + 1)
    shown = {d: sum(_binomial(g, d, gained) for g in range(_least_gains(d, alpha), d + 1)) for d in near}
    return sum(_binomial(d, n, differing) * chance for d, chance in shown.items())


@cache
def _least_gains(differing: int, alpha: float) -> int:
    """How many of so many rows must be gains for the test to show it; more than there are where none would do."""
    tail = 0.0
    for gains in range(differing, -1, -1):
        tail += _binomial(gains, differing, 0.5)
        if 2 * tail > alpha:
            return gains + 1
    return differing + 1


def _binomial(k: int, n: int, chance: float) -> float:
    """By logarithms: a thousand trials have coefficients beyond any float."""
    if chance in (0.0, 1.0):
        return float(k == n * chance)
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(chance) + (n - k) * math.log1p(-chance))


@dataclass(frozen=True)
class Paired:
    """Two models on the same rows. `gains` and `losses` count rows that the second scores higher and lower.

    `p` is two-sided, `p_better` one-sided (small: the second is better).
    """

    n: int
    gains: int
    losses: int
    difference: float
    p: float
    p_better: float


def paired_test(before: Mapping[str, float], after: Mapping[str, float], groups: Mapping[str, str] | None = None) -> Paired:
    """Test that `after` (row id -> score, 0 to 1, or correct) differs from `before`. Raises ValueError if the rows differ.

    Under the null a group's net gain is as likely as the same net loss, so each group's sign is flipped (`sign_flip_tails`).
    With right and wrong, and every row its own group, this is exactly McNemar's test.
    """
    if before.keys() != after.keys():
        raise ValueError("the two models were not evaluated on the same rows")
    net: dict[str, float] = defaultdict(int)
    for row in before:
        net[(groups or {}).get(row) or f"row {row}"] += after[row] - before[row]
    gains, losses = (sum(sign * (after[row] - before[row]) > 0 for row in before) for sign in (1, -1))
    above, below = sign_flip_tails(list(net.values()))
    difference = sum(net.values()) / len(before) if before else 0.0
    return Paired(len(before), gains, losses, difference, min(1.0, 2 * min(above, below)), above)


def sign_flip_tails(differences: Sequence[float]) -> tuple[float, float]:
    """Chance of a sum at least, and at most, as large as the one seen, when every sign is a coin toss.

    Whole numbers, and up to 13 others: exact, over all 2^n ways. Else 9,999 random ways and the one seen, so neither is below
    0.0001.
    """
    sizes = [abs(d) for d in differences if d]
    if not all(float(size).is_integer() for size in sizes):
        tails = _all_flip_tails if len(sizes) <= ALL_WAYS else _random_flip_tails
        return tails(sizes, sum(differences))
    ways: dict[int, int] = {0: 1}
    for size, count in Counter(map(int, sizes)).items():
        flipped: dict[int, int] = defaultdict(int)
        for up in range(count + 1):
            step, times = size * (2 * up - count), math.comb(count, up)
            for total, ways_there in ways.items():
                flipped[total + step] += times * ways_there
        ways = flipped
    seen, all_ways = sum(differences), 1 << len(sizes)
    above = sum(count for total, count in ways.items() if total >= seen) / all_ways
    below = sum(count for total, count in ways.items() if total <= seen) / all_ways
    return above, below


def _all_flip_tails(sizes: Sequence[float], seen: float) -> tuple[float, float]:
    totals, slack = [0.0], 1e-9 * sum(sizes)
    for size in sizes:
        totals = [total + sign * size for total in totals for sign in (1, -1)]
    above, below = sum(total >= seen - slack for total in totals), sum(total <= seen + slack for total in totals)
    return above / len(totals), below / len(totals)


def _random_flip_tails(sizes: Sequence[float], seen: float) -> tuple[float, float]:
    rng, all_sizes = random.Random(0), sum(sizes)
    slack = 1e-9 * all_sizes  # the same total, added up in another order
    above = below = 1
    for _ in range(RANDOM_FLIPS):
        ups = f"{rng.getrandbits(len(sizes)):0{len(sizes)}b}".encode().translate(ZERO_AND_ONE)
        total = 2 * sum(compress(sizes, ups)) - all_sizes
        above += total >= seen - slack
        below += total <= seen + slack
    return above / (RANDOM_FLIPS + 1), below / (RANDOM_FLIPS + 1)


def paired_bootstrap(
    before: Sequence[float],
    after: Sequence[float],
    groups: Sequence[str] = (),
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Percentile interval of mean(after) - mean(before) over the same rows, whole groups drawn at once."""
    differences = {str(i): float(a) - float(b) for i, (b, a) in enumerate(zip(before, after, strict=True))}
    by_row = dict(zip(differences, groups, strict=True)) if groups else {}
    return hierarchical_bootstrap([differences], by_row, confidence, resamples, seed)


def balanced_accuracy(good_right: int, good: int, bad_right: int, bad: int, confidence: float = 0.95) -> Interval:
    """Mean of the shares of good and of bad cases judged right, with the interval that their Wilson intervals give.

    Method of variance estimates recovery (Zou and Donner, Statistics in Medicine 27, 2008): it has a width also at 0 and 1, and a
    class that was never asked about is not taken as known. With four cases of each kind 95 % are 88 % at worst.
    """
    shares = (good_right / good if good else 0.5, bad_right / bad if bad else 0.5)
    ends = (wilson_interval(good_right, good, confidence), wilson_interval(bad_right, bad, confidence))
    below = math.hypot(*(share - low for share, (low, _) in zip(shares, ends, strict=True)))
    above = math.hypot(*(high - share for share, (_, high) in zip(shares, ends, strict=True)))
    mean = sum(shares) / 2
    return Interval(mean, max(0.0, mean - below / 2), min(1.0, mean + above / 2))


def hierarchical_bootstrap(
    differences: Sequence[Mapping[str, float]],
    groups: Mapping[str, str] | None = None,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Percentile interval of the mean of `differences` (one mapping row id -> difference for each training seed).

    Seeds and rows (by group) are drawn anew each time, the same rows for all seeds: seeds share the test rows, so pooling
    them as independent items would make the interval too narrow. Raises ValueError if the seeds' rows are not the same.
    """
    if not differences or not differences[0]:
        return Interval(0.0, 0.0, 0.0)
    if any(d.keys() != differences[0].keys() for d in differences):
        raise ValueError("the seeds were not evaluated on the same rows")
    members: dict[str, list[str]] = defaultdict(list)
    for row in differences[0]:
        members[(groups or {}).get(row) or f"row {row}"].append(row)
    sizes = [len(rows) for rows in members.values()]
    sums = [[sum(d[row] for row in rows) for rows in members.values()] for d in differences]
    rng, means = random.Random(seed), []
    for _ in range(resamples):
        units = rng.choices(range(len(sizes)), k=len(sizes))
        seeds = rng.choices(sums, k=len(sums))
        weight = sum(map(sizes.__getitem__, units)) * len(seeds)
        means.append(sum(sum(map(s.__getitem__, units)) for s in seeds) / weight)
    means.sort()
    mean = sum(map(sum, sums)) / (sum(sizes) * len(sums))
    return Interval(mean, _quantile(means, (1 - confidence) / 2), _quantile(means, (1 + confidence) / 2))


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given."""
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = running
    return adjusted
