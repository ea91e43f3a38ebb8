"""What a report says, typed: gathered from a state once, then shown as page, table and report.json.

Shares are 0 to 1, differences are differences of shares, times are seconds. The field names are the keys of report.json.
"""

from typing import Any

from pydantic import Field, computed_field

from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.patterns.pattern_rules import Trend
from pada_agent.components.core.quality.judge_check import JudgeFacts
from pada_agent.components.core.quality.scorer_check import ScorerFacts
from pada_agent.components.core.records import FeatureCount, Record
from pada_agent.components.core.state import Kind, Promotion, RunFacts
from pada_agent.components.core.statistics import SplitMetrics


class ReportedMetrics(SplitMetrics):
    """The metrics of the reported split."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def invalid_share(self) -> float:
        """Invalid rows over all rows."""
        return super().invalid_share


class Comparison(Record):
    """The paired difference between two models on the test rows; `p` is two-sided."""

    to: str
    difference: float
    low: float
    high: float
    gains: int
    losses: int
    p: float
    p_holm: float | None = None


class ModelFacts(Record):
    """One model of the result table. A comparison is None where one of the two was not evaluated on the test rows."""

    name: str
    kind: Kind
    iteration: int
    adapter_uri: str
    steps: int
    rows: int
    synthetic_rows: int
    dropped_rows: int
    train_seconds: float
    evaluate_seconds: float
    label: str
    shipped: bool
    test: ReportedMetrics | None
    splits: dict[str, SplitMetrics]
    over_baseline: Comparison | None
    over_start: Comparison | None
    losses: list[float]
    engine: str = ""


class Cause(Record):
    """What the teacher said about one failure."""

    root_cause: str
    scenario: str


class PatternFacts(Record):
    """A pattern, the strategy against it and what became of both."""

    id: str
    name: str
    description: str
    size: int
    features: list[FeatureCount]
    previous_id: str
    row_count: int
    passed: int | None
    trend: Trend
    continues: str
    failing: int | None
    outcome: Trend | None
    strategy: str
    must_show: list[str]
    accepted: int
    analyses: list[Cause]


class IterationFacts(Record):
    """What one iteration analysed, wrote and accepted. `judged` holds the scores of each judged batch."""

    number: int
    summary: dict[str, Any]
    training_errors: int
    patterns: list[PatternFacts]
    wanted: int
    accepted: int
    shortfall: int
    written: int
    rejected: int
    reasons: list[tuple[str, int]]
    unwritten: dict[str, int]
    judged: list[dict[str, float]]
    model: str
    promotion: Promotion | None


class UsageFacts(Record):
    """What the LLMs were asked, by stage and in all, beside what was expected of them; `expected` has `all` too."""

    stages: dict[str, Usage]
    total: Usage
    expected: dict[str, Usage]
    train_seconds: float
    evaluate_seconds: float


class Axis(Record):
    """The ends and ticks of the result chart's axis."""

    low: float
    high: float
    ticks: list[float]


class Step(Record):
    """Validation rows from one analysed model to the next, by whether each got them right."""

    of: str
    to: str
    n: int
    right: int
    fixed: int
    broken: int
    wrong: int


class Cell(Record):
    """A pattern in one iteration."""

    id: str
    name: str
    size: int
    rows: int
    trend: Trend
    failing: int | None
    outcome: Trend | None


class Line(Record):
    """One pattern through the iterations; None where an iteration did not find it."""

    name: str
    cells: list[Cell | None]


class Changes(Record):
    """What changed from model to model."""

    steps: list[Step]
    lines: list[Line]


class EarlierPatternFacts(Record):
    """A pattern of an earlier run: rows that failed `then`, how many of them are `rows` now, how many are `failing`."""

    name: str
    description: str
    then: int
    rows: int
    failing: int
    outcome: Trend | None


class EarlierFacts(Record):
    """An earlier run whose patterns were looked up, or the `problem` with that."""

    uri: str
    shipped: str
    patterns: list[EarlierPatternFacts]
    problem: str


class PromptFacts(Record):
    """A prompt of the user's own; `text` may be cut, `sha256` is of all of it."""

    name: str
    stage: str
    sha256: str
    text: str


class Glance(Record):
    """A question with its answer in one line, and the section with the rest ('' if the page has none)."""

    question: str
    section: str
    answer: str
    note: str


class Verdict(Record):
    """The headline and the sentences below it."""

    headline: str
    details: list[str]


class Lead(Record):
    """What stands above everything else: how a run ended that did not end well, or what a page is a snapshot of."""

    headline: str
    details: list[str] = Field(default_factory=list)
    failed: bool = False


class Measured(Record):
    """The facts that the report's sentences are written from."""

    run: RunFacts
    finished: bool
    reason: str
    shipped: str
    shipped_uri: str
    baseline: str
    grouped: bool
    models: list[ModelFacts]
    iterations: list[IterationFacts]
    usage: UsageFacts
    judge_check: JudgeFacts | None
    scorer_check: ScorerFacts | None
    axis: Axis
    changes: Changes
    taken_over: dict[str, str]
    earlier: EarlierFacts | None
    prompts: list[PromptFacts]


class Facts(Measured):
    """Everything the report says."""

    glance: list[Glance]
    verdict: Verdict
    empty: str
    notes: list[str]
