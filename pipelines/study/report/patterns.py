"""What became of the failures behind each pattern: the paper's Figure 8, of one run for each task and training size."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pada_agent.pipelines.study.compare import Results
from pada_agent.pipelines.study.outcomes import RIGHT, VANILLA, CellFacts, ModelFacts, PatternFacts, StudyFacts, regime_name
from pada_agent.pipelines.study.report.lines import Columns, Line, Row, Title

STEERED = "validation"


@dataclass(frozen=True)
class Left:
    """A pattern, and how many of its rows fail by iteration, from the one whose failures it was found in; 0 is the start."""

    pattern: PatternFacts
    failing: Mapping[int, int]


@dataclass(frozen=True)
class PatternRun:
    """The run that is shown. `failures` are all of each iteration's on validation rows, in a pattern or not."""

    cell: CellFacts
    failures: Mapping[int, int]
    left: list[Left]


def pattern_runs(results: Results) -> list[PatternRun]:
    """Of each task and training size: the first method that found patterns, with its first seed."""
    found = []
    for regime in results.regimes:
        for task in results.study.tasks:
            for method in results.study.methods:
                where = (task, regime, method)
                cells = [c for c in results.study.cells if (c.task, c.regime, c.method) == where and c.patterns]
                if cells:
                    found.append(_run(results.study, cells[0]))
                    break
    return found


def _run(study: StudyFacts, cell: CellFacts) -> PatternRun:
    where = (cell.task, cell.regime, cell.seed, VANILLA)
    start = next((m for c in study.cells if (c.task, c.regime, c.seed, c.method) == where if (m := c.model(VANILLA))), None)
    models = {0: start} if start else {}
    models |= {model.iteration: model for model in cell.iterations}
    wrong = {k: _wrong(study, cell.task, model) for k, model in models.items() if STEERED in model.outcomes}
    left = [
        Left(pattern, {k: len(rows.intersection(pattern.rows)) for k, rows in wrong.items() if k >= pattern.iteration - 1})
        for pattern in cell.patterns
    ]
    return PatternRun(cell, {k: len(rows) for k, rows in wrong.items()}, left)


def _wrong(study: StudyFacts, task: str, model: ModelFacts) -> set[str]:
    ids = study.tasks[task].rows[STEERED].ids
    return {row for row, verdict in zip(ids, model.outcomes[STEERED], strict=True) if verdict != RIGHT}


def stages(runs: list[PatternRun]) -> list[str]:
    """The names of all runs' iterations, from the start on."""
    most = max((k for run in runs for k in run.failures), default=0)
    return ["start", *(f"after iteration {k}" for k in range(1, most + 1))]


def patterns_left(results: Results) -> Iterator[Line]:
    """The numbers."""
    runs = pattern_runs(results)
    if not runs:
        return
    names = stages(runs)
    yield Title("Failures left of each pattern", "patterns")
    yield "Validation rows that fail, of those that a pattern was found in, by iteration; of one run for each task and training"
    yield "size, with the first seed of the first method that found patterns. These rows steered what was written: the test rows"
    yield "say what was gained."
    yield ""
    yield Columns(("rows", "task", "run", "pattern", "found in", *names))
    for run in runs:
        where = (regime_name(run.cell.regime), run.cell.task, f"{run.cell.method}, seed {run.cell.seed}")
        for left in run.left:
            counts = (str(left.failing.get(k, "")) for k in range(len(names)))
            yield Row((*where, left.pattern.name, f"iteration {left.pattern.iteration}", *counts))
        yield Row((*where, "all failures, in a pattern or not", "", *(str(run.failures.get(k, "")) for k in range(len(names)))))
