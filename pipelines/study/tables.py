"""A study's results in Markdown.

| rows | method | sql |
|---|---|---|
| 300 | vanilla | 62.4 ± 1.5 |
| 300 | pada | 65.0 ± 1.6 (+0.6; -3.2 to +4.4) |
"""

from collections.abc import Iterator, Sequence
from statistics import fmean

from pada_agent.pipelines.study.compare import MATCHED, Accuracy, Comparison, Results
from pada_agent.pipelines.study.inference import Difference
from pada_agent.pipelines.study.outcomes import REPORTED, VANILLA, CellFacts, regime_name

TEACHER_STAGES = ("analyze_patterns", "generate_data")
CONTROL_STAGES = ("control_quality",)


def markdown(results: Results) -> str:
    """The whole of study.md."""
    parts = (_head, _accuracies, _comparisons, _by_seed, _counts, _gaps, _trouble, _leakage, _notes)
    return "\n".join(line for part in parts for line in part(results)) + "\n"


def _head(results: Results) -> Iterator[str]:
    study = results.study
    seeds = ", ".join(map(str, study.seeds))
    yield f"# Study of {', '.join(study.tasks) or 'nothing yet'}"
    yield ""
    yield f"Methods: {', '.join(study.methods)}. Seeds: {seeds}. Accuracies are of the test split, in percent."
    for name, task in study.tasks.items():
        chance = f", {_percent(task.chance)} % by guessing" if task.chance else ""
        yield f"{name}: {len(task.rows[REPORTED].ids)} test rows, {task.metric or 'accuracy'}{chance}."


def _accuracies(results: Results) -> Iterator[str]:
    study = results.study
    several = bool(results.over_tasks)
    tasks = list(study.tasks)
    yield from _section("Accuracy")
    yield f"Mean ± SD over seeds, of a method's last iteration; in brackets its gain over {MATCHED}, with interval."
    yield ""
    yield from _heading("rows", "method", *tasks, *(["mean", "gain over vanilla, relative"] if several else []))
    for regime in results.regimes:
        for row in dict.fromkeys(a.row for a in results.accuracies if a.regime == regime):
            of = {a.task: a for a in results.accuracies if (a.regime, a.row) == (regime, row)}
            cells = [_accuracy(of[task], len(study.seeds)) if task in of else "-" for task in tasks]
            over = next((o for o in results.over_tasks if (o.regime, o.row) == (regime, row)), None)
            macro = [_percent(over.accuracy), f"{100 * over.relative_gain:+.1f} %"] if over else ["-", "-"]
            yield _row(regime_name(regime), row, *cells, *(macro if several else []))


def _accuracy(a: Accuracy, seeds: int) -> str:
    spread = f" ± {_percent(a.spread)}" if a.spread is not None else ""
    fewer = f" ({len(a.models)} of {seeds} seeds)" if len(a.models) < seeds else ""
    over = f" ({_points(a.over.mean)}; {_interval(a.over)})" if a.over else ""
    return f"{_percent(a.mean)}{spread}{over}{fewer}"


def _comparisons(results: Results) -> Iterator[str]:
    if not results.comparisons:
        return
    yield from _section("Comparisons")
    yield "Differences in points. p is two-sided; the last column corrects it for all comparisons of the method (Holm)."
    yield ""
    yield from _heading("rows", "task", "method", "against", "difference", "interval", "p", "p, Holm")
    for c in sorted(results.comparisons, key=lambda c: (results.regimes.index(c.regime), c.task)):
        yield _row(regime_name(c.regime), c.task, c.method, c.baseline, *_difference(c))


def _difference(c: Comparison) -> Sequence[str]:
    return _points(c.difference.mean), _interval(c.difference), f"{c.difference.p:.2g}", f"{c.p_adjusted:.2g}"


def _by_seed(results: Results) -> Iterator[str]:
    seeds = results.study.seeds
    for task in results.study.tasks:
        for regime in results.regimes:
            if not (rows := results.at(task, regime)):
                continue
            yield from _section(f"By seed: {task}, {regime_name(regime)} rows")
            yield from _heading("model", "mean", "SD", *(f"seed {seed}" for seed in seeds))
            for a in rows:
                each = [f"{_percent(a.by_seed[seed])} %" if seed in a.by_seed else "-" for seed in seeds]
                spread = _percent(a.spread) if a.spread is not None else "-"
                name = f"{a.row}, last iteration" if a.row in results.study.methods else a.row
                yield _row(name, f"{_percent(a.mean)} %", spread, *each)


def _counts(results: Results) -> Iterator[str]:
    yield from _section("Synthetic rows and what they cost")
    yield "Means over seeds. Repaired: let in after they were sent back, of the rows let in. Tokens in thousands, in and out."
    yield ""
    titles = (
        "asked for",
        "written",
        "let in",
        "repaired",
        "rejected",
        "teacher: calls",
        "tokens",
        "control: calls",
        "tokens",
        "USD",
    )
    yield from _heading("rows", "task", "method", *titles)
    for regime, task, method, cells in _groups(results):
        samples = [cell.samples for cell in cells]
        made = [[s.wanted, s.written, s.accepted, s.repaired, sum(s.rejected.values())] for s in samples]
        asked = [
            amount
            for stages in (TEACHER_STAGES, CONTROL_STAGES)
            for amount in (_mean(cells, stages, "calls"), _tokens(cells, stages))
        ]
        usd = fmean(sum(spent.usd for spent in cell.spent.values()) for cell in cells)
        yield _row(regime, task, method, *(f"{fmean(column):.0f}" for column in zip(*made, strict=True)), *asked, f"{usd:.2f}")


def _mean(cells: Sequence[CellFacts], stages: Sequence[str], name: str, scale: float = 1) -> str:
    total = fmean(sum(getattr(cell.spent[s], name) for s in stages if s in cell.spent) for cell in cells)
    return f"{total / scale:.{0 if scale == 1 else 1}f}"


def _tokens(cells: Sequence[CellFacts], stages: Sequence[str]) -> str:
    return " / ".join(_mean(cells, stages, name, 1000) for name in ("input_tokens", "output_tokens"))


def _gaps(results: Results) -> Iterator[str]:
    most = max((len(cell.iterations) for cell in results.study.cells), default=0)
    yield from _section("Validation minus test, by iteration")
    yield "Validation rows steer what is written: an accuracy that grows there alone is no gain. Mean over seeds, in points."
    yield ""
    yield from _heading("rows", "task", "method", "start", *(f"iteration {k}" for k in range(1, most + 1)))
    for regime, task, method, cells in _groups(results, with_vanilla=True):
        gaps: dict[int, list[float]] = {}
        for model in (m for cell in cells for m in cell.models if "validation" in m.outcomes):
            gaps.setdefault(model.iteration, []).append(model.accuracy("validation") - model.accuracy())
        if gaps:
            yield _row(regime, task, method, *(_points(fmean(gaps[k])) if k in gaps else "" for k in range(most + 1)))


def _trouble(results: Results) -> Iterator[str]:
    yield from _section("Outputs without an answer, and collapse")
    yield "Share of test rows without an answer (they count as wrong); seeds in which nearly all answers are the same one."
    yield ""
    yield from _heading("rows", "task", "model", "no answer", "collapsed")
    for a in sorted(results.accuracies, key=lambda a: (results.regimes.index(a.regime), a.task)):
        collapsed = [str(seed) for seed, model in a.models.items() if REPORTED in model.collapsed]
        invalid = fmean(model.invalid() for model in a.models.values())
        yield _row(
            regime_name(a.regime), a.task, a.row, f"{_percent(invalid)} %", f"seed {', '.join(collapsed)}" if collapsed else ""
        )


def _leakage(results: Results) -> Iterator[str]:
    yield from _section("Leakage")
    for name, facts in results.study.tasks.items():
        removed = ", ".join(f"{count} {split}" for split, count in facts.removed.items())
        yield f"{name}: rows left out because a split used later has them too: {removed or 'none'}."
    kinds = list(dict.fromkeys(["leak", *(kind for cell in results.study.cells for kind in cell.samples.rejected)]))
    yield ""
    yield "Synthetic rows that were rejected, by rule, and texts that quoted held-out rows and were redrafted; sums over seeds."
    yield ""
    yield from _heading("rows", "task", "method", "texts redrafted", *kinds)
    for regime, task, method, cells in _groups(results):
        counts = [sum(cell.samples.rejected.get(kind, 0) for cell in cells) for kind in kinds]
        yield _row(regime, task, method, str(sum(cell.struck for cell in cells)), *map(str, counts))


def _notes(results: Results) -> Iterator[str]:
    notes = [*results.notes, *(f"{failure.cell}: failed: {failure.line}" for failure in results.study.failed)]
    if notes:
        yield from _section("Notes")
        yield from (f"- {note}" for note in notes)


def _groups(results: Results, with_vanilla: bool = False) -> Iterator[tuple[str, str, str, list[CellFacts]]]:
    """The cells of each regime, task and method, with the names of these."""
    for regime in results.regimes:
        for task in results.study.tasks:
            for method in [*([VANILLA] if with_vanilla else []), *results.study.methods]:
                cells = [c for c in results.study.cells if (c.regime, c.task, c.method) == (regime, task, method)]
                if cells:
                    yield regime_name(regime), task, method, cells


def _section(title: str) -> Iterator[str]:
    yield from ("", f"## {title}")


def _heading(*titles: str) -> Iterator[str]:
    yield _row(*titles)
    yield "|" + "---|" * len(titles)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


def _interval(found: Difference) -> str:
    return f"{_points(found.low)} to {_points(found.high)}"
