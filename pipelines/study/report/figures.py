"""What the figures of a study show. Each stands in the section whose table has its numbers."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from pada_agent.components.core.figures import count, points
from pada_agent.components.core.statistics import Interval
from pada_agent.pipelines.study.compare import ALPHA, Comparison, Results
from pada_agent.pipelines.study.outcomes import CellFacts, StudyFacts, regime_name
from pada_agent.pipelines.study.places import MATCHED
from pada_agent.pipelines.study.report.costs import gains_by_place, kilotokens, runs_by_place, usd
from pada_agent.pipelines.study.report.marks import (
    Axis,
    Bar,
    Figure,
    Mark,
    Panel,
    Point,
    Scatter,
    Series,
    Tick,
    dot,
    slots,
    stacked,
)
from pada_agent.pipelines.study.report.patterns import PatternRun, pattern_runs, stages

PATTERNS = 12  # of a run that are drawn; its table has all
LINE = 1.7  # rem between two names of a scatter plot
SHORTEST = 13.0  # rem, its height
DOTS = f"A filled dot: the two are told apart (Holm, level {ALPHA:g}); a hollow one: they are not."
KEPT, MENDED, THROWN = "kept", "mended", "thrown"


def figures(results: Results) -> dict[str, list[Figure]]:
    """By the key of the section they stand in."""
    drawn: Mapping[str, Sequence[Callable[[Results], Figure | None]]] = {
        "comparisons": [gains],
        "patterns": [patterns],
        "counts": [samples],
        "costs": [costs],
    }
    return {key: [figure for draw in of if (figure := draw(results))] for key, of in drawn.items()}


def gains(results: Results) -> Figure | None:
    """Gain over step-matched vanilla with its interval: a panel for each task, a line for each method, columns by regime."""
    found = gains_by_place(results)
    if not found:
        return None
    axis = Axis.over(100 * x for c in found.values() for x in (c.found.difference.low, c.found.difference.high))

    def marked(task: str, regime: int, method: str) -> Mark | None:
        if (c := found.get((task, regime, method))) is None:
            return None
        interval = _in_points(c.found.difference)
        alt = f"{method}, {_rows(regime)}: {_gain(c)}"
        return dot(axis, interval, alt, points(c.found.difference.mean), _hollow(c))

    ticks = [Tick(axis.at(t), f"{t:+g}".replace("-", "\u2212") if t else "0", not t) for t in axis.ticks]
    return Figure(
        f"Gain over {MATCHED} on the test rows, in points, with interval. Right of the line at 0 the method is better. {DOTS} In "
        f"colour: {results.study.methods[0]}.",
        _panels(results.study, marked, ticks),
    )


def samples(results: Results) -> Figure | None:
    """What became of the synthetic rows, by method and regime."""
    cells = runs_by_place(results.study)
    if not cells:
        return None
    counts = {place: _samples(of) for place, of in cells.items()}
    axis = Axis.over(max(sum(parts.values()), asked) for parts, asked in counts.values())

    def marked(task: str, regime: int, method: str) -> Mark | None:
        if (task, regime, method) not in counts:
            return None
        parts, asked = counts[task, regime, method]
        told = f"{parts[KEPT]:.0f} at once, {parts[MENDED]:.0f} repaired, {parts[THROWN]:.0f} rejected"
        alt = f"{method}, {_rows(regime)}: of {asked:.0f} rows asked for, {told}"
        bars = [*stacked(axis, parts.items()), Bar("asked", axis.at(asked), 0)]
        return Mark(alt, f"{parts[KEPT] + parts[MENDED]:.0f}", bars=bars, told=told)

    keys = {KEPT: "let in at once", MENDED: "let in after it was sent back", THROWN: "rejected", "asked": "asked for"}
    return Figure(
        "Synthetic rows of a run, means over seeds. The number at the end is of those let in.",
        _panels(results.study, marked, [Tick(axis.at(t), count(t), not t) for t in axis.ticks]),
        keys=keys,
    )


def patterns(results: Results) -> Figure | None:
    """How many failures of each pattern are left, by iteration: a panel for each run that is shown."""
    runs = pattern_runs(results)
    if not runs:
        return None
    axis = Axis.over(float(len(left.pattern.rows)) for run in runs for left in run.left)
    return Figure(
        "Validation rows that fail, of those that each pattern was found in. The whole bar is all of these rows.",
        [_pattern_panel(run, axis) for run in runs],
        keys={"failing": "still failing", "gone": "right now"},
    )


def _pattern_panel(run: PatternRun, axis: Axis) -> Panel:
    names = stages([run])
    shown = sorted(run.left, key=lambda left: len(left.pattern.rows), reverse=True)[:PATTERNS]
    series = []
    for left in sorted(shown, key=lambda left: left.pattern.iteration):
        rows = len(left.pattern.rows)
        marks = [
            Mark(
                f"{left.pattern.name}, {name}: {now} of {rows} rows fail",
                f"{now}",
                bars=stacked(axis, [("failing", now), ("gone", rows - now)]),
            )
            if (now := left.failing.get(k)) is not None
            else None
            for k, name in enumerate(names)
        ]
        series.append(Series(left.pattern.name, marks, note=f"found in iteration {left.pattern.iteration}, {rows} rows"))
    cell, omitted = run.cell, len(run.left) - len(shown)
    all_ = ", ".join(f"{names[k]} {n}" for k, n in sorted(run.failures.items()))
    return Panel(
        f"{cell.task}, {_rows(cell.regime)}: {cell.method}, seed {cell.seed}",
        names,
        series,
        note=f"All failures on validation rows, in a pattern or not: {all_}."
        + (f" The {PATTERNS} largest patterns; {omitted} more are in the table." if omitted else ""),
    )


def costs(results: Results) -> Figure | None:
    """Gain against what was paid for it: a scatter plot for each task and regime."""
    runs, found = runs_by_place(results.study), gains_by_place(results)
    places = [place for place in found if place in runs]
    if not places:
        return None
    money = any(usd(runs[place]) for place in places) and all(usd(runs[p]) or not kilotokens(runs[p]) for p in places)
    price = {place: usd(runs[place]) if money else kilotokens(runs[place]) for place in places}
    across = Axis.over(price.values())
    up = Axis.over(100 * x for c in found.values() for x in (c.found.difference.low, c.found.difference.high))
    unit = "USD" if money else "thousand tokens"
    drawn = [
        _scatter(results, where, {p[2]: (price[p], found[p]) for p in places if p[:2] == where}, across, up, unit)
        for where in dict.fromkeys((task, regime) for task, regime, _ in places)
    ]
    of = "price (USD)" if money else "thousand tokens"
    return Figure(
        f"Upwards the gain over {MATCHED} in points, with interval; to the right the {of} of a run, mean over seeds. Above the "
        f"line at 0 the method is better, further left it is cheaper. {DOTS}",
        scatters=drawn,
    )


def _scatter(
    results: Results, where: tuple[str, int], of: Mapping[str, tuple[float, Comparison]], across: Axis, up: Axis, unit: str
) -> Scatter:
    height = max(SHORTEST, LINE * (len(of) + 1))
    tops = {method: 100 - up.at(100 * c.found.difference.mean) for method, (_, c) in of.items()}
    labels = dict(zip(tops, slots(list(tops.values()), 100 * LINE / height), strict=True))
    drawn, said = [], []
    for method, (price, c) in of.items():
        ends = _in_points(c.found.difference)
        interval = (100 - up.at(ends.high), 100 - up.at(ends.low))
        first, value = method == results.study.methods[0], points(c.found.difference.mean)
        drawn.append(Point(method, value, across.at(price), tops[method], interval, labels[method], first, _hollow(c)))
        said.append(f"{method}: {price:,.2f} {unit}, {_gain(c)}")
    return Scatter(
        f"{where[0]}, {_rows(where[1])}",
        "; ".join(said),
        drawn,
        [Tick(across.at(t), f"{t:,g}", not t) for t in across.ticks],
        [Tick(100 - up.at(t), f"{t:+g}".replace("-", "\u2212") if t else "0", not t) for t in up.ticks],
        unit,
        height,
    )


def _panels(study: StudyFacts, marked: Callable[[str, int, str], Mark | None], ticks: Sequence[Tick]) -> list[Panel]:
    """For each task: a line for each method that has a mark, a column for each regime."""
    panels = []
    for task in study.tasks:
        regimes = sorted(study.regimes[task], key=lambda regime: (regime == 0, regime))
        marks = {method: [marked(task, regime, method) for regime in regimes] for method in study.methods}
        series = [Series(method, of, method == study.methods[0]) for method, of in marks.items() if any(of)]
        if series:
            panels.append(Panel(task, [f"{regime_name(regime)} rows" for regime in regimes], series, ticks))
    return panels


def _samples(cells: Sequence[CellFacts]) -> tuple[dict[str, float], float]:
    of = [cell.samples for cell in cells]
    parts = {
        KEPT: fmean(s.accepted - s.repaired for s in of),
        MENDED: fmean(s.repaired for s in of),
        THROWN: fmean(sum(s.rejected.values()) for s in of),
    }
    return parts, fmean(s.wanted for s in of)


def _in_points(found: Interval) -> Interval:
    return Interval(100 * found.mean, 100 * found.low, 100 * found.high)


def _hollow(c: Comparison) -> bool:
    return c.p_holm >= ALPHA


def _gain(c: Comparison) -> str:
    found, apart = c.found.difference, "not told apart" if _hollow(c) else "told apart"
    return f"{points(found.mean)} points, interval {points(found.low)} to {points(found.high)}, {apart}"


def _rows(regime: int) -> str:
    return f"{regime_name(regime)} training rows"
