"""Whether a scorer of answers can be relied on: what it said of training rows whose answers differ in order or length alone.

    {"rows": 20, "orders": [["first", "second"], ["first", "first"]], "lengths": [[0.75, 1.0]], "people": [[4, 0.75]]}

score_answers measures it once a run, on training rows; readers are told, and nothing else changes.
"""

from statistics import StatisticsError, correlation
from typing import Literal

from pydantic import Field

from pada_agent.components.core.figures import percent, plural, points
from pada_agent.components.core.records import Record, Share
from pada_agent.components.core.statistics import paired_bootstrap, wilson_interval

SCORER_CHECK_FILE = "scorer_check.json"
Better = Literal["first", "second", "tie"]
SAME: dict[Better, Better] = {"first": "second", "second": "first", "tie": "tie"}  # one verdict, of the other order
FEWEST = 5  # people's scores from which a correlation is told
WEAK_AGREEMENT = 0.3


class ScorerCheck(Record):
    """What was asked and answered; what got no usable reply is not in it."""

    rows: int = Field(description="training rows that it was asked about")
    orders: list[tuple[Better, Better]] = Field(
        default_factory=list, description="of two answers, which is better: in one order, and in the other"
    )
    lengths: list[tuple[Share, Share]] = Field(
        default_factory=list, description="scores of a right answer, and of the same that says everything twice"
    )
    people: list[tuple[float, Share]] = Field(
        default_factory=list, description="a person's score of the row's own answer, on any scale, and the scorer's"
    )

    def facts(self, confidence: float, seed: int) -> "ScorerFacts":
        """The facts for reports."""
        flips = sum(other != SAME[one] for one, other in self.orders)
        low, high = wilson_interval(flips, len(self.orders), confidence)
        before, after = ([pair[i] for pair in self.lengths] for i in (0, 1))
        longer = paired_bootstrap(before, after, confidence=confidence, seed=seed)
        facts = ScorerFacts(
            rows=self.rows,
            pairs=len(self.orders),
            flips=flips,
            flips_low=low,
            flips_high=high,
            first=sum(pair == ("first", "first") for pair in self.orders),
            padded=len(self.lengths),
            longer=longer.mean,
            longer_low=longer.low,
            longer_high=longer.high,
            people=len(self.people),
            agreement=spearman(self.people) if len(self.people) >= FEWEST else None,
        )
        return facts.model_copy(update={"sentences": _sentences(facts), "warnings": _warnings(facts)})


class ScorerFacts(Record):
    """What a report says of the scorer. `flips` of `pairs` verdicts change with the order; `longer` is a difference of scores."""

    rows: int
    pairs: int
    flips: int
    flips_low: float
    flips_high: float
    first: int
    padded: int
    longer: float
    longer_low: float
    longer_high: float
    people: int
    agreement: float | None
    sentences: list[str] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)


def spearman(pairs: list[tuple[float, Share]]) -> float | None:
    """Rank correlation, ties at their mean rank; None where one side is all the same."""
    ours, theirs = (_ranks([pair[i] for pair in pairs]) for i in (0, 1))
    try:
        return correlation(ours, theirs)
    except StatisticsError:
        return None


def _ranks(values: list[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values]


def _sentences(facts: ScorerFacts) -> list[str]:
    said = []
    if facts.pairs:
        share = percent(facts.flips / facts.pairs, 0)
        interval = f"{percent(facts.flips_low, 0)} to {percent(facts.flips_high, 0)}"
        said.append(
            f"Order: of {plural(facts.pairs, 'pair')} of answers, {facts.flips} ({share}, {interval}) get another verdict when "
            f"they change places; in {facts.first} the first is preferred both times."
        )
    if facts.padded:
        interval = f"{points(facts.longer_low)} to {points(facts.longer_high)}"
        said.append(
            f"Length: {plural(facts.padded, 'right answer')} that say everything twice score {points(facts.longer)} points "
            f"beside themselves ({interval}); 0 is no bias."
        )
    if facts.people:
        agreement = "cannot be told" if facts.agreement is None else f"is {facts.agreement:.2f}"
        rows = plural(facts.people, "row")
        said.append(f"People: on {rows} that a person scored, the rank correlation (Spearman) {agreement}.")
    return said or ["The scorer's bias was not measured."]


def _warnings(facts: ScorerFacts) -> list[str]:
    found = []
    if facts.pairs and facts.flips_low > 0.5:
        found.append("The scorer's choice between two answers depends on their order more often than not.")
    if facts.padded and facts.longer_low > 0:
        found.append("The scorer favours longer answers: part of a gain may come from length alone.")
    if facts.agreement is not None and facts.agreement < WEAK_AGREEMENT:
        found.append(f"The scorer hardly agrees with the people who scored rows (rank correlation {facts.agreement:.2f}).")
    return found
