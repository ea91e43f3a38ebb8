"""From a study's verdicts to what its tables say: accuracies, differences with intervals, means over tasks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean, stdev

from pada_agent.pipelines.study.inference import Difference, adjusted, compare_cells
from pada_agent.pipelines.study.outcomes import (
    REPORTED,
    STEP_MATCHED,
    UNTUNED,
    VANILLA,
    CellFacts,
    ModelFacts,
    StudyFacts,
    right,
)

MATCHED = "step-matched vanilla"
SHIPPED = "shipped"


@dataclass(frozen=True)
class Accuracy:
    """A row of the tables at one task and regime: its model of each seed. Shares; `over` is against step-matched vanilla."""

    task: str
    regime: int
    row: str
    models: Mapping[int, ModelFacts]  # by seed
    over: Difference | None = None

    @property
    def by_seed(self) -> dict[int, float]:
        """Accuracy on the reported split."""
        return {seed: model.accuracy() for seed, model in self.models.items()}

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return fmean(self.by_seed.values())

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds; None of one."""
        return stdev(self.by_seed.values()) if len(self.models) > 1 else None


@dataclass(frozen=True)
class Comparison:
    """A method against a baseline, on the seeds that both have."""

    task: str
    regime: int
    method: str
    baseline: str
    seeds: int
    rows: int
    difference: Difference
    p_adjusted: float = 1.0  # for all comparisons of the method


@dataclass(frozen=True)
class OverTasks:
    """Means over all tasks of one regime: of accuracy, and of the gain relative to vanilla (the paper's "averaged")."""

    regime: int
    row: str
    accuracy: float
    relative_gain: float


@dataclass(frozen=True)
class Results:
    """What renderers are given."""

    study: StudyFacts
    accuracies: list[Accuracy]
    comparisons: list[Comparison]
    over_tasks: list[OverTasks]
    notes: list[str] = field(default_factory=list)

    @cached_property
    def regimes(self) -> list[int]:
        """All of them, smallest first; all rows come last."""
        return sorted({a.regime for a in self.accuracies}, key=lambda regime: (regime == 0, regime))

    def at(self, task: str, regime: int) -> list[Accuracy]:
        """The rows of one task and regime."""
        return [a for a in self.accuracies if (a.task, a.regime) == (task, regime)]


def compare(study: StudyFacts) -> Results:
    """All results of what is there; a cell that is missing is in no mean, and the means say over how many seeds they are."""
    places = [_Place(study, task, regime) for task, regimes in study.regimes.items() for regime in regimes if task in study.tasks]
    comparisons = _family([one for place in places for one in place.comparisons()], study.methods)
    over = {(c.task, c.regime, c.method): c.difference for c in comparisons if c.baseline == MATCHED}
    rows = [replace(a, over=over.get((a.task, a.regime, a.row))) for place in places for a in place.accuracies()]
    return Results(study, rows, comparisons, list(_over_tasks(rows, len(study.tasks))), [n for p in places for n in p.notes()])


@dataclass(frozen=True)
class _Place:
    """One task at one regime."""

    study: StudyFacts
    task: str
    regime: int

    @cached_property
    def _cells(self) -> dict[str, dict[int, CellFacts]]:
        """By method and seed; a method's without vanilla's cannot be there, since they begin with it."""
        found: dict[str, dict[int, CellFacts]] = {name: {} for name in (VANILLA, *self.study.methods)}
        for cell in self.study.cells:
            if (cell.task, cell.regime) == (self.task, self.regime) and cell.method in found:
                found[cell.method][cell.seed] = cell
        return found

    def _before(self, name: str) -> dict[int, ModelFacts]:
        """The untuned or the vanilla model by seed."""
        return {seed: model for seed, cell in self._cells[VANILLA].items() if (model := cell.model(name))}

    def _of(self, method: str, which: str = "") -> dict[int, ModelFacts]:
        """A method's last model by seed, or the step-matched or the shipped one; vanilla where it trained none."""
        vanilla = self._before(VANILLA)
        found = {}
        for seed, cell in self._cells[method].items():
            names = {"": cell.iterations[-1].name if cell.iterations else VANILLA, MATCHED: STEP_MATCHED, SHIPPED: cell.shipped}
            found[seed] = cell.model(names[which]) or vanilla[seed]
        return found

    def accuracies(self) -> Iterator[Accuracy]:
        """Its rows; the step-matched one is that of the first method."""
        first, *_ = self.study.methods
        rows = {UNTUNED: self._before(UNTUNED), VANILLA: self._before(VANILLA), MATCHED: self._of(first, MATCHED)}
        rows |= {method: self._of(method) for method in self.study.methods}
        rows |= {f"{method}, {SHIPPED}": self._of(method, SHIPPED) for method in self.study.methods}
        yield from (Accuracy(self.task, self.regime, row, models) for row, models in rows.items() if models)

    def comparisons(self) -> Iterator[Comparison]:
        """Each method with vanilla and with its own step-matched vanilla, the first one with all others too."""
        first, *others = self.study.methods
        for method in self.study.methods:
            baselines = {MATCHED: self._of(method, MATCHED), VANILLA: self._before(VANILLA)}
            if method == first:
                baselines |= {other: self._of(other) for other in others}
            for name, baseline in baselines.items():
                yield from self._compared(method, name, self._of(method), baseline)

    def _compared(
        self, method: str, name: str, models: Mapping[int, ModelFacts], baseline: Mapping[int, ModelFacts]
    ) -> Iterator[Comparison]:
        seeds = sorted(models.keys() & baseline.keys())
        if not seeds:
            return
        facts = self.study.tasks[self.task]
        rows = facts.rows[REPORTED]
        groups = dict(zip(rows.ids, rows.groups, strict=True)) if rows.groups else {}
        after, before = ({s: right(of[s].outcomes[REPORTED], rows) for s in seeds} for of in (models, baseline))
        difference = compare_cells(after, before, groups, facts.confidence)
        yield Comparison(self.task, self.regime, method, name, len(seeds), len(rows.ids), difference)

    def notes(self) -> Iterator[str]:
        """What a reader of the numbers must know."""
        for method in self.study.methods:
            for _, cell in sorted(self._cells[method].items()):
                if not cell.iterations:
                    yield f"{cell.name}: no iteration was trained ({cell.ended}); vanilla stands in for it."
        for cell in list(self._cells[VANILLA].values())[:1]:
            if cell.train_rows < self.regime:
                yield f"{self.task}: it has {cell.train_rows} training rows; {self.regime} were asked for."


def _family(found: Sequence[Comparison], methods: Sequence[str]) -> list[Comparison]:
    """With p values corrected: the family of a method are its comparisons, over tasks, regimes and baselines."""
    corrected: dict[int, float] = {}
    for method in methods:
        own = [i for i, one in enumerate(found) if one.method == method]
        corrected |= dict(zip(own, adjusted([found[i].difference.p for i in own]), strict=True))
    return [replace(one, p_adjusted=corrected[i]) for i, one in enumerate(found)]


def _over_tasks(rows: Sequence[Accuracy], tasks: int) -> Iterator[OverTasks]:
    """Of each regime and row that all tasks have."""
    means: dict[tuple[int, str], dict[str, float]] = {}
    for a in rows:
        means.setdefault((a.regime, a.row), {})[a.task] = a.mean
    for (regime, row), by_task in means.items():
        vanilla = means.get((regime, VANILLA), {})
        if len(by_task) == tasks > 1:
            gains = [mean / vanilla[task] - 1 for task, mean in by_task.items() if vanilla.get(task)]
            yield OverTasks(regime, row, fmean(by_task.values()), fmean(gains) if len(gains) == tasks else float("nan"))
