"""Grounds patterns in counts: which task features the model fails at, as its failures and successes on validation show."""

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pada_agent.components.core.patterns.feature_pairs import pairs, together, with_pairs
from pada_agent.components.core.records import Analysis, FeatureCount, TrainRow
from pada_agent.components.core.statistics import wilson_interval
from pada_agent.components.core.tasks.task import Task

CONFIDENCE = 0.8  # of the interval whose lower end must lie above the failure rate of all rows
PAIR_CONFIDENCE = 0.95  # the same for two features against the failure rate of each alone: there are many pairs to be lucky with
FEATURE_WEIGHT = 0.7  # of the squared length of a clustered vector; the rest is the text
UNCOVERED = 1 / 3  # share of a cluster that may show none of the chosen features
LIMIT = 3
VALUE = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|\d+(?:[.,]\d+)*")
WORDS_OF_A_FORM = 4  # a shorter answer is a label or a number, alike in rows that are not

Vectors = NDArray[np.floating[Any]]
H = TypeVar("H", bound=Hashable)


@dataclass(frozen=True)
class Dossier:
    """One cluster of failures with the counts that ground it."""

    members: list[Analysis]
    counts: list[FeatureCount]
    features: list[str]
    passed: int


@dataclass(frozen=True)
class Grounds:
    """What the failures and successes of a whole validation split say of its features."""

    passed: Sequence[set[str]]
    telling: Mapping[str, float]
    likely: Iterable[str]

    @classmethod
    def of(cls, failed: Sequence[set[str]], passed: Sequence[set[str]]) -> "Grounds":
        """From the features of the rows of each kind."""
        return cls(passed, telling_features(failed, passed), telling_features(failed, passed, confidence=0).keys())

    def dossier(self, members: list[Analysis]) -> Dossier:
        """One cluster, grounded."""
        failed = [set(a.features) for a in members]
        chosen = covering_features(failed, self.passed, self.telling, self.likely)
        return Dossier(members, count_features(failed, self.passed, chosen), chosen, len(self.passed))


def telling_features(failed: Sequence[set[str]], passed: Sequence[set[str]], confidence: float = CONFIDENCE) -> dict[str, float]:
    """Features whose rows fail clearly more often than rows do at large, with the excess of the failure rate (0 to 1).

    A companion that the model also masters without them (GROUP BY beside the HAVING that fails) is not telling. Two features
    together are, where rows with both fail clearly more often than rows with either.
    """
    in_failed, in_passed = _count(failed), _count(passed)
    base = len(failed) / max(len(failed) + len(passed), 1)
    lows = {f: wilson_interval(n, n + in_passed[f], confidence)[0] for f, n in in_failed.items()}
    both_failed, both_passed = _count(map(pairs, failed)), _count(map(pairs, passed))
    for pair, n in both_failed.items():
        alone = max(in_failed[f] / (in_failed[f] + in_passed[f]) for f in pair)
        if wilson_interval(n, n + both_passed[pair], PAIR_CONFIDENCE)[0] > alone:
            lows[together(pair)] = wilson_interval(n, n + both_passed[pair], confidence)[0]
    return {f: low - base for f, low in sorted(lows.items()) if low > base}


def count_features(failed: Sequence[set[str]], passed: Sequence[set[str]], chosen: Iterable[str] = ()) -> list[FeatureCount]:
    """Each feature of the failures, and each `chosen` pair, with its counts, most telling first (contrast of the shares)."""
    named = {*chain(*failed), *chosen}
    in_failed, in_passed = _count(map(with_pairs, failed)), _count(map(with_pairs, passed))
    counts = [FeatureCount(feature=f, failed=in_failed[f], passed=in_passed[f]) for f in named]

    def contrast(count: FeatureCount) -> float:
        return count.failed / max(len(failed), 1) - count.passed / max(len(passed), 1)

    return sorted(counts, key=lambda c: (-contrast(c), c.feature))


def covering_features(
    failed: Sequence[set[str]], passed: Sequence[set[str]], telling: Iterable[str], likely: Iterable[str] = ()
) -> list[str]:
    """Features of which most failures of a cluster show one; at most three, none if nothing sets the failures apart.

    Each next one has the most excess failures: many of the failures left show it, and few right answers. It is `telling` over
    all failures or, where it covers the cluster alone, at least a `likely` one (rows with it fail more often than others).
    """
    telling, likely = set(telling), set(likely)
    in_passed = _count(map(with_pairs, passed))
    chosen: list[str] = []
    left = [with_pairs(features) for features in failed]
    enough = UNCOVERED * len(failed)
    while len(left) > enough and len(chosen) < LIMIT:
        base = len(left) / (len(left) + len(passed))
        excess = {
            f: n * (wilson_interval(n, n + in_passed[f], CONFIDENCE)[0] - base)
            for f, n in _count(left).items()
            if f in telling or (f in likely and n >= len(failed) - enough)
        }
        if not excess:
            break
        best = max(excess, key=lambda f: (excess[f], f))
        chosen.append(best)
        left = [features for features in left if best not in features]
    # What few of them show must not become the aim of all: such a cluster is what is left over, and its texts say more.
    return chosen if 2 * len(left) < len(failed) else []


def grounded_vectors(text: Vectors, rows: Sequence[set[str]], telling: Mapping[str, float]) -> Vectors:
    """Unit vectors (n x d + features + 1) to cluster: embedded texts beside what each row needs, weighted by how telling it is.

    A teacher's words about a failure are opinion, and a small teacher's are noise; what the row needs is a fact. That a row
    needs nothing telling is one too, the last coordinate. Where nothing tells, text alone is clustered, as in the paper.
    """
    if not telling:
        return text
    names = sorted(telling)
    facts = np.array([[telling[f] if f in row else 0.0 for f in names] for row in map(with_pairs, rows)])
    facts = np.column_stack([facts, ~facts.any(axis=1)])
    facts /= np.linalg.norm(facts, axis=1, keepdims=True)
    return np.hstack([text * np.sqrt(1 - FEATURE_WEIGHT), facts * np.sqrt(FEATURE_WEIGHT)])


def form_of(question: str, answer: str) -> str:
    """A row without its values, alike for "the stock of product 17" and "of product 8". Of the answer, if it has words for it."""
    form = VALUE.sub("?", answer)
    return form if len(form.split()) >= WORDS_OF_A_FORM else VALUE.sub("?", question)


def rank_seeds(
    features: Sequence[str], train_features: Sequence[set[str]], forms: Sequence[str], similarity: Vectors
) -> list[int]:
    """Indices of the training rows that show one of `features`, best first; of all of them where none does.

    Best is the row that shows most, then the one of a form (`forms`: the answer without its values) that was not there yet,
    then the one nearest to the failures. The features take turns: none has all of the first places.
    """
    shown = [with_pairs(row) & set(features) for row in train_features]
    nth, copies = {}, Counter[str]()
    for i in sorted(range(len(forms)), key=lambda i: (-float(similarity[i]), i)):
        nth[i] = copies[forms[i]]
        copies[forms[i]] += 1
    ranked = sorted(nth, key=lambda i: (-len(shown[i]), nth[i], -float(similarity[i]), i))
    turns = zip_longest(*([i for i in ranked if f in shown[i]] for f in features))
    fitting = [i for i in dict.fromkeys(chain.from_iterable(turns)) if i is not None]
    return fitting or ranked


class SeedRanking:
    """Ranks training rows for patterns; embeds their questions once."""

    def __init__(self, task: Task, train: Sequence[TrainRow], embed: Callable[[Sequence[str]], Vectors]) -> None:
        self._ids = [r.id for r in train]
        self._features = [task.features(r.fields) for r in train]
        self._forms = [form_of(task.question(r.fields), task.target(r.fields)) for r in train]
        self._vectors = embed([task.question(r.fields) for r in train]) if train else np.empty((0, 0))

    def nearest(self, features: Sequence[str], centre: Vectors) -> list[str]:
        """Ids of training rows as in `rank_seeds`, near a vector (d); none where there are no rows."""
        if not self._ids:
            return []
        return [self._ids[i] for i in rank_seeds(features, self._features, self._forms, self._vectors @ centre)]


def _count(rows: Iterable[Iterable[H]]) -> Counter[H]:
    return Counter(chain.from_iterable(rows))
