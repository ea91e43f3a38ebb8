"""What a study's results say, for study.md and study.html.

| rows | method | sql |
|---|---|---|
| 300 | vanilla | 62.4 ± 1.5 |
| 300 | pada | 65.0 ± 1.6 (+0.6; -3.2 to +4.4) |
"""

from collections.abc import Iterator, Sequence
from statistics import fmean

from pada_agent.pipelines.study.compare import ALPHA, SOUGHT, Comparison, Results
from pada_agent.pipelines.study.outcomes import REPORTED, CellFacts, regime_name
from pada_agent.pipelines.study.places import MATCHED
from pada_agent.pipelines.study.report.costs import cost_and_gain
from pada_agent.pipelines.study.report.lines import Columns, Item, Line, Row, Title, in_markdown
from pada_agent.pipelines.study.report.numbers import ends, gain, percent, points
from pada_agent.pipelines.study.report.paper_tables import table_1, table_2, table_3
from pada_agent.pipelines.study.report.patterns import patterns_left

TEACHER_STAGES = ("analyze_patterns", "generate_data")
CONTROL_STAGES = ("control_quality",)


def markdown(results: Results) -> str:
    """The whole of study.md."""
    return in_markdown(lines(results))


def lines(results: Results) -> Iterator[Line]:
    """All of it, in order."""
    parts = (_head, _notes, table_1, _comparisons, _over_tasks, table_2, table_3, patterns_left, _counts, cost_and_gain)
    rest = (_by_seed, _gaps, _trouble, _leakage, _sight)
    yield from (line for part in (*parts, *rest) for line in part(results))


def _head(results: Results) -> Iterator[Line]:
    study = results.study
    yield Title(f"Study of {', '.join(study.tasks) or 'nothing yet'}")
    yield ""
    yield f"Methods: {', '.join(study.methods)}. Seeds: {', '.join(map(str, study.seeds))}."
    yield ""
    for name, task in study.tasks.items():
        chance = f", {percent(task.chance)} % by guessing" if task.chance else ""
        sure = f"{100 * task.confidence:g} % intervals"
        said = task.measure if task.graded else task.metric or task.measure
        yield Item(f"{name}: {len(task.rows[REPORTED].ids)} test rows, {said}{chance}; {sure}.")


def _comparisons(results: Results) -> Iterator[Line]:
    if not results.comparisons:
        return
    yield Title("Comparisons", "comparisons")
    asked, first = sum(c.asked for c in results.comparisons), results.study.methods[0]
    yield "Differences in points. p is two-sided, about new rows and new runs (of one seed, about new rows). Holm's is corrected"
    yield f"for the {asked} comparisons that the study is about, {first} against {MATCHED} and each other method; of the other"
    yield f"{len(results.comparisons) - asked} for these. Of each seed alone: {_test(results)}, beside the others."
    yield "The interval is Student's over rows and runs. Beside it the bootstrap's over both, often too narrow with few seeds."
    yield ""
    found = ("difference", "interval", "bootstrap", "p", "p, Holm", "each seed's p")
    yield Columns(("rows", "task", "method", "against", *found))
    for c in results.comparisons:
        yield Row((regime_name(c.regime), c.task, c.method, c.baseline, *_difference(c)))


def _test(results: Results) -> str:
    """By whose p one run is compared."""
    tests = {task.graded: "the permutation test's" if task.graded else "McNemar's" for task in results.study.tasks.values()}
    return f"{' or '.join(tests[graded] for graded in sorted(tests))} p"


def _difference(c: Comparison) -> Sequence[str]:
    interval = c.found.difference
    alone = ", ".join(f"{p:.2g}" for p in c.found.p_by_seed.values())
    return points(interval.mean), ends(interval), ends(c.found.bootstrap), f"{c.found.p:.2g}", f"{c.p_holm:.2g}", alone


def _over_tasks(results: Results) -> Iterator[Line]:
    if not results.over_tasks:
        return
    yield Title("Over all tasks", "over-tasks")
    yield "Each task counts as much as another. Relative: the paper's way, which a task at chance level dominates. Corrected for"
    yield "chance: 0 is guessing, 100 is always right."
    yield ""
    yield Columns(("rows", "method", "against", "points", "p", "relative, %", "corrected for chance"))
    for o in results.over_tasks:
        relative = gain(o.found.relative_gain) if o.found.relative_gain else "-"
        gains = (gain(o.found.gain), f"{o.found.p:.2g}", relative, gain(o.found.chance_corrected_gain))
        yield Row((regime_name(o.regime), o.method, o.baseline, *gains))


def _by_seed(results: Results) -> Iterator[Line]:
    study = results.study
    yield Title("By seed", "seeds")
    yield f"Test {study.measure} in percent."
    yield ""
    yield Columns(("rows", "task", "model", "mean", "SD", *(f"seed {seed}" for seed in study.seeds)))
    for a in results.accuracies:
        each = [percent(a.cell.by_seed[seed]) if seed in a.cell.by_seed else "-" for seed in study.seeds]
        spread = percent(a.cell.sd) if a.cell.sd is not None else "-"
        name = f"{a.row}, last iteration" if a.row in study.methods else a.row
        yield Row((regime_name(a.regime), a.task, name, percent(a.cell.mean.mean), spread, *each))


def _counts(results: Results) -> Iterator[Line]:
    yield Title("Synthetic rows and what they cost", "counts")
    yield "Means over seeds. Repaired: of the rows let in, those that had been sent back. Tokens in thousands, in / out."
    yield ""
    counted = ("asked for", "never written", "written", "let in", "repaired", "rejected")
    asked = [f"{who}: {what}" for who in ("teacher", "control") for what in ("calls", "tokens")]
    yield Columns(("rows", "task", "method", *counted, *asked, "USD"))
    for regime, task, method, cells in _groups(results):
        samples = [cell.samples for cell in cells]
        made = [[s.wanted, s.unwritten, s.written, s.accepted, s.repaired, sum(s.rejected.values())] for s in samples]
        spent = [text for stages in (TEACHER_STAGES, CONTROL_STAGES) for text in _spent(cells, stages)]
        usd = fmean(sum(stage.usd for stage in cell.spent.values()) for cell in cells)
        yield Row((regime, task, method, *(f"{fmean(column):.0f}" for column in zip(*made, strict=True)), *spent, f"{usd:.2f}"))


def _spent(cells: Sequence[CellFacts], stages: Sequence[str]) -> tuple[str, str]:
    def mean(name: str) -> float:
        return fmean(sum(getattr(cell.spent[s], name) for s in stages if s in cell.spent) for cell in cells)

    return f"{mean('calls'):.0f}", f"{mean('input_tokens') / 1000:.1f} / {mean('output_tokens') / 1000:.1f}"


def _gaps(results: Results) -> Iterator[Line]:
    most = max((k for g in results.gaps for k in g.by_iteration), default=0)
    yield Title("Validation minus test, by iteration", "gaps")
    yield "In points. Validation rows steer what is written; in brackets, by how much the gap grew since the start, which is what"
    yield "that steering did: a gain there alone is no gain."
    yield ""
    yield Columns(("rows", "task", "method", "start", *(f"iteration {k}" for k in range(1, most + 1))))
    for g in results.gaps:
        found = [g.by_iteration.get(k) for k in range(most + 1)]
        texts = [f"{points(f.gap.mean)}{f' ({gain(f.growth)})' if f.growth else ''}" if f else "" for f in found]
        yield Row((regime_name(g.regime), g.task, g.method, *texts))


def _trouble(results: Results) -> Iterator[Line]:
    yield Title("Outputs without an answer, and collapse", "trouble")
    yield "Share of the test rows without an answer, which count as wrong; seeds in which nearly all answers are the same one."
    yield ""
    yield Columns(("rows", "task", "model", "no answer", "collapsed"))
    for a in results.accuracies:
        invalid = fmean(model.invalid() for model in a.models.values())
        collapsed = ", ".join(f"seed {seed}" for seed, model in a.models.items() if REPORTED in model.collapsed)
        yield Row((regime_name(a.regime), a.task, a.row, f"{percent(invalid)} %", collapsed))


def _leakage(results: Results) -> Iterator[Line]:
    yield Title("Leakage", "leakage")
    for name, facts in results.study.tasks.items():
        removed = ", ".join(f"{count} {split}" for split, count in facts.removed.items())
        yield f"{name}: rows left out because a split used later has them too: {removed or 'none'}."
    kinds = list(dict.fromkeys(["leak", *(kind for cell in results.study.cells for kind in cell.samples.rejected)]))
    yield ""
    yield "Synthetic rows that were rejected, by rule, and texts that quoted held-out rows and were redrafted; sums over seeds."
    yield ""
    yield Columns(("rows", "task", "method", "texts redrafted", *kinds))
    for regime, task, method, cells in _groups(results):
        counts = [sum(cell.samples.rejected.get(kind, 0) for cell in cells) for kind in kinds]
        yield Row((regime, task, method, str(sum(cell.struck for cell in cells)), *map(str, counts)))


def _sight(results: Results) -> Iterator[Line]:
    if not results.sights:
        return
    wanted = sorted({n for s in results.sights for n in s.rows_for})
    yield Title("What this design could see", "sight")
    yield f"The smallest difference in points that is seen at a level of {ALPHA:g} in four studies of five, for one comparison"
    yield "and for the first of those that the study is about (Holm); and the test rows that would show"
    yield f"{100 * SOUGHT:g} points, by number of seeds."
    yield ""
    yield Columns(("task", "rows", "seeds", "sees", "sees, Holm", *(f"{n} seeds" for n in wanted)))
    for s in results.sights:
        sees = [f"{100 * seen:.1f}" if seen is not None else "none" for seen in (s.sees, s.sees_first)]
        needed = [f"{rows:,}" if (rows := s.rows_for.get(n)) else "no number" for n in wanted]
        yield Row((s.task, str(s.rows), str(s.seeds), *sees, *needed))


def _notes(results: Results) -> Iterator[Line]:
    notes = [*results.notes, *(f"{failure.cell}: failed: {failure.line}" for failure in results.study.failed)]
    if notes:
        yield Title("Notes", "notes")
        yield from (Item(note) for note in notes)


def _groups(results: Results) -> Iterator[tuple[str, str, str, list[CellFacts]]]:
    """The cells of each regime, task and method, with the names of these."""
    for regime in results.regimes:
        for task in results.study.tasks:
            for method in results.study.methods:
                cells = [c for c in results.study.cells if (c.regime, c.task, c.method) == (regime, task, method)]
                if cells:
                    yield regime_name(regime), task, method, cells
