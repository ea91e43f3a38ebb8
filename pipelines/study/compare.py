"""From a study's verdicts to the facts that its tables and figures show. All statistics are of `statistics/`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from pada_agent.components.core.errors import InputError
from pada_agent.pipelines.study.outcomes import REPORTED, StudyFacts
from pada_agent.pipelines.study.places import MATCHED, Models, Place
from pada_agent.pipelines.study.statistics import across_tasks, cells, power
from pada_agent.pipelines.study.statistics.validation_gaps import Gap, validation_gaps

ALPHA = 0.05
SOUGHT = 0.03  # the difference that the power table asks about


@dataclass(frozen=True)
class Accuracy:
    """A row of the tables at one task and regime, with its model of each seed. `cell` is about the test split."""

    task: str
    regime: int
    row: str
    models: Models
    cell: cells.Cell


@dataclass(frozen=True)
class Comparison:
    """A method against a baseline; `asked`: it is one of those that the study is about. `p_holm` is corrected for these, of
    another one for the others.
    """

    task: str
    regime: int
    method: str
    baseline: str
    asked: bool
    found: cells.Comparison
    p_holm: float


@dataclass(frozen=True)
class OverTasks:
    """A method against a baseline over all tasks of a regime."""

    regime: int
    method: str
    baseline: str
    found: across_tasks.AcrossTasks


@dataclass(frozen=True)
class Gaps:
    """Validation minus test accuracy of a method's models, by iteration; 0 is the start."""

    task: str
    regime: int
    method: str
    by_iteration: dict[int, Gap]


@dataclass(frozen=True)
class Sight:
    """What differences the design could see at a task, with a chance of 80 %; None where no difference of this size.

    `sees`: for one comparison alone; `sees_first`: for the largest of those that the study is about, under Holm. `rows_for`: by
    number of seeds, test rows to see SOUGHT.
    """

    task: str
    rows: int
    seeds: int
    sees: float | None
    sees_first: float | None
    rows_for: dict[int, int | None]


@dataclass(frozen=True)
class Results:
    """What renderers are given."""

    study: StudyFacts
    regimes: list[int]
    accuracies: list[Accuracy]
    comparisons: list[Comparison]
    over_tasks: list[OverTasks]
    gaps: list[Gaps]
    sights: list[Sight]
    notes: list[str] = field(default_factory=list)


def compare(study: StudyFacts) -> Results:
    """All results of what is there; a cell that is missing is in no mean. Raises InputError for rows too few to compare."""
    regimes = sorted({r for of in study.regimes.values() for r in of}, key=lambda regime: (regime == 0, regime))
    places = [Place(study, t, r) for r in regimes for t, of in study.regimes.items() if r in of and t in study.tasks]
    try:
        comparisons = _comparisons(places)
        return Results(
            study=study,
            regimes=regimes,
            accuracies=[one for place in places for one in _accuracies(place)],
            comparisons=comparisons,
            over_tasks=[one for regime in regimes for one in _over_tasks([p for p in places if p.regime == regime])],
            gaps=[one for place in places for one in _gaps(place)],
            sights=[one for task in study.tasks for one in _sight(task, comparisons)],
            notes=[note for place in places for note in place.notes()],
        )
    except ValueError as e:
        raise InputError(f"the study's test rows cannot be compared: {e}") from e


def _confidence(place: Place) -> float:
    return place.study.tasks[place.task].confidence


def _accuracies(place: Place) -> Iterator[Accuracy]:
    for row, models in place.rows():
        cell = cells.summarise_cell(place.scores(models), _confidence(place), place.groups)
        yield Accuracy(place.task, place.regime, row, models, cell)


def _comparisons(places: Sequence[Place]) -> list[Comparison]:
    found, asked = {}, set()
    for p in places:
        for method, baseline, models, others in p.pairs():
            where = (p.task, p.regime, method, baseline)
            found[where] = cells.compare_cells(p.scores(models), p.scores(others), p.groups, _confidence(p))
            if p.asks(method, baseline):
                asked.add(where)
    families = ({where: c for where, c in found.items() if (where in asked) is of_it} for of_it in (True, False))
    corrected = {where: p for family in families for where, p in cells.holm_over(family).items()}
    return [Comparison(*where, where in asked, compared, corrected[where]) for where, compared in found.items()]


def _over_tasks(places: Sequence[Place]) -> Iterator[OverTasks]:
    """Of pairs that all tasks have; of one task there is nothing to average."""
    if len(places) < 2 or len(places) < len(places[0].study.tasks):
        return
    pairs = {p.task: {(method, baseline): (a, b) for method, baseline, a, b in p.pairs()} for p in places}
    groups, chance = {p.task: p.groups for p in places}, {p.task: p.study.tasks[p.task].chance for p in places}
    for pair in pairs[places[0].task]:
        if all(pair in of for of in pairs.values()):
            ours, theirs = ({p.task: p.scores(pairs[p.task][pair][side]) for p in places} for side in (0, 1))
            found = across_tasks.macro(ours, theirs, groups, chance, min(map(_confidence, places)))
            yield OverTasks(places[0].regime, *pair, found)


def _gaps(place: Place) -> Iterator[Gaps]:
    for method, by_iteration in place.steered():
        if by_iteration:
            validation, test = ({k: place.scores(m, s) for k, m in by_iteration.items()} for s in ("validation", REPORTED))
            found = validation_gaps(validation, test, place.groups, _confidence(place))
            yield Gaps(place.task, place.regime, method, found)


def _sight(task: str, comparisons: Sequence[Comparison]) -> Iterator[Sight]:
    """From the noise of all comparisons with step-matched vanilla at the task."""
    own = [c.found for c in comparisons if c.task == task and c.baseline == MATCHED]
    if all(c.noise.discordance == 0 for c in own):  # no two models differed anywhere: that says nothing of how much they may
        return
    noise, rows, seeds = power.pooled([c.noise for c in own]), own[0].rows, max(len(c.seeds) for c in own)
    wanted = power.seeds_and_rows_for(noise, SOUGHT) if noise.seeds is not None else {}
    first = ALPHA / max(1, sum(c.asked for c in comparisons))
    yield Sight(task, rows, seeds, _seen(rows, seeds, noise, ALPHA), _seen(rows, seeds, noise, first), wanted)


def _seen(rows: int, seeds: int, noise: power.Noise, alpha: float) -> float | None:
    try:
        seen = power.design_power(rows, seeds, noise, alpha)
    except ValueError:  # too few rows for any
        return None
    return seen if seen <= 1 else None


def mean_accuracy(results: Results, regime: int, row: str) -> float | None:
    """Mean over tasks of a table's row, each task as much as another; None where a task has none, or there is but one."""
    means = [a.cell.mean.mean for a in results.accuracies if (a.regime, a.row) == (regime, row)]
    return fmean(means) if len(means) == len(results.study.tasks) > 1 else None
