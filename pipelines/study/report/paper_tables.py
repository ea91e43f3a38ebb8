"""The paper's Tables 1, 2 and 3 of one's own study, with the paper's numbers where the setting is the same."""

from collections.abc import Iterator, Sequence

from pada_agent.components.core.statistics import Interval
from pada_agent.pipelines.study.compare import Accuracy, Results, mean_accuracy
from pada_agent.pipelines.study.methods import PADA
from pada_agent.pipelines.study.outcomes import VANILLA, regime_name
from pada_agent.pipelines.study.places import MATCHED, SHIPPED
from pada_agent.pipelines.study.report.lines import Cell, Columns, Line, Row, Title
from pada_agent.pipelines.study.report.numbers import gain, percent, points
from pada_agent.pipelines.study.report.paper import paper
from pada_agent.pipelines.study.report.patterns import pattern_runs

VARIANT = f"{PADA}_"  # how the names of ablations begin


def table_1(results: Results) -> Iterator[Line]:
    """Training size and method by task, and the gain averaged over tasks."""
    study = results.study
    several = len(study.tasks) > 1
    yield Title(f"Table 1. {study.measure.capitalize()} by training size and method", "table-1")
    yield f"Test {study.measure} in percent: mean ± SD over seeds, of a method's last iteration; with it the gain over"
    yield f"{MATCHED} and its interval, in points."
    if several:
        yield "Averaged gain: the mean over tasks of the gain relative to vanilla, in percent, as the paper has it; a task"
        yield "at chance level dominates it."
    yield ""
    yield from paper().beside(study)
    yield ""
    yield Columns(("rows", "method", *study.tasks, *(["mean", "averaged gain, %"] if several else [])))
    for regime in results.regimes:
        for row in _rows(results, regime):
            if not row.startswith(VARIANT):
                averaged = (_mean(results, regime, row), _averaged(results, regime, row)) if several else ()
                yield Row((regime_name(regime), row, *_accuracies(results, regime, row), *averaged))


def table_2(results: Results) -> Iterator[Line]:
    """The method and what is left of it without one of its parts."""
    study = results.study
    variants = [method for method in study.methods if method.startswith(VARIANT)]
    yield Title("Table 2. Ablations", "table-2")
    if PADA not in study.methods or not variants:
        yield f"This study has no method whose name begins with {VARIANT}, which ablations of {PADA} are called by."
        return
    yield f"Test {study.measure} in percent, mean ± SD over seeds; with it the difference from {PADA} and its interval, in"
    yield "points."
    there = ", ".join(f"{number} on {paper().tasks[task]}" for task, number in paper().full_method.items())
    yield f"The paper's Table 2 gives its full method {there}, but not its training size, so it is not set beside these."
    yield ""
    yield Columns(("rows", "method", *study.tasks))
    for regime in results.regimes:
        for row in _rows(results, regime):
            if row == PADA or row in variants:
                yield Row((regime_name(regime), row, *_accuracies(results, regime, row, against=PADA)))


def table_3(results: Results) -> Iterator[Line]:
    """The largest pattern of the first and of the last iteration that found any, and the strategy against it."""
    runs = pattern_runs(results)
    yield Title("Table 3. Patterns and strategies, as examples", "table-3")
    if not runs:
        yield "No run of this study has found a pattern."
        return
    yield "The largest pattern of the first and of the last iteration, of the first run of each task and training size. The texts"
    yield "are the teacher's. The paper's own examples could not be obtained."
    yield ""
    yield Columns(("rows", "task", "iteration", "failures", "pattern", "strategy"))
    for run in runs:
        iterations = sorted({pattern.iteration for pattern in run.cell.patterns})
        for iteration in dict.fromkeys((iterations[0], iterations[-1])):
            largest = max((p for p in run.cell.patterns if p.iteration == iteration), key=lambda p: len(p.rows))
            where = (regime_name(run.cell.regime), run.cell.task, str(iteration), str(len(largest.rows)))
            yield Row((*where, f"{largest.name}: {largest.description}", largest.strategy or "none"))


def _rows(results: Results, regime: int) -> Sequence[str]:
    names = dict.fromkeys(a.row for a in results.accuracies if a.regime == regime)
    return [name for name in names if not name.endswith(f", {SHIPPED}")]


def _accuracies(results: Results, regime: int, row: str, against: str = MATCHED) -> Iterator[Cell]:
    of = {a.task: a for a in results.accuracies if (a.regime, a.row) == (regime, row)}
    yield from (_accuracy(results, of[task], against) if task in of else Cell("-") for task in results.study.tasks)


def _accuracy(results: Results, a: Accuracy, against: str) -> Cell:
    spread = f" ± {percent(a.cell.sd)}" if a.cell.sd is not None else ""
    seeds, beside = len(results.study.seeds), []
    if found := _difference(results, a, against):
        beside.append(gain(found))
    known = paper().accuracy_of(results.study.tasks[a.task], a.regime, a.row) if against == MATCHED else None
    if known is not None:
        beside.append(f"paper {known}")
    if len(a.models) < seeds:
        beside.append(f"{len(a.models)} of {seeds} seeds")
    return Cell(f"{percent(a.cell.mean.mean)}{spread}", tuple(beside))


def _difference(results: Results, a: Accuracy, against: str) -> Interval | None:
    """What was compared the other way round counts too: the first method against each other one."""
    for c in results.comparisons:
        found = c.found.difference
        if (c.task, c.regime) == (a.task, a.regime) and (c.method, c.baseline) == (a.row, against):
            return found
        if (c.task, c.regime) == (a.task, a.regime) and (c.baseline, c.method) == (a.row, against):
            return Interval(-found.mean, -found.high, -found.low)
    return None


def _mean(results: Results, regime: int, row: str) -> str:
    mean = mean_accuracy(results, regime, row)
    return percent(mean) if mean is not None else "-"


def _averaged(results: Results, regime: int, row: str) -> Cell:
    place = (regime, row, VANILLA)
    over = next((o.found for o in results.over_tasks if (o.regime, o.method, o.baseline) == place), None)
    known = paper().averaged_gain(results.study, regime, row)
    beside = (f"paper {points(known / 100)}",) if known is not None else ()
    return Cell(gain(over.relative_gain) if over and over.relative_gain else "-", beside)
