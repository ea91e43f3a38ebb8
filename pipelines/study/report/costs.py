"""What each method took, beside what it gained."""

from collections.abc import Iterator, Sequence
from statistics import fmean

from pada_agent.pipelines.study.compare import Comparison, Results
from pada_agent.pipelines.study.outcomes import CellFacts, StudyFacts, regime_name
from pada_agent.pipelines.study.places import MATCHED
from pada_agent.pipelines.study.report.lines import Columns, Line, Row, Title
from pada_agent.pipelines.study.report.numbers import ends, points

Place = tuple[str, int, str]  # task, regime, method


def runs_by_place(study: StudyFacts) -> dict[Place, list[CellFacts]]:
    """All runs of the methods."""
    found: dict[Place, list[CellFacts]] = {}
    for cell in study.cells:
        if cell.method in study.methods:
            found.setdefault((cell.task, cell.regime, cell.method), []).append(cell)
    return found


def gains_by_place(results: Results) -> dict[Place, Comparison]:
    """Each method against its step-matched vanilla."""
    return {(c.task, c.regime, c.method): c for c in results.comparisons if c.baseline == MATCHED}


def usd(cells: Sequence[CellFacts]) -> float:
    """Of a run, mean over seeds."""
    return fmean(sum(spent.usd for spent in cell.spent.values()) for cell in cells)


def kilotokens(cells: Sequence[CellFacts]) -> float:
    """Thousand tokens that the LLMs read and wrote in a run, mean over seeds."""
    return fmean(sum(spent.input_tokens + spent.output_tokens for spent in cell.spent.values()) for cell in cells) / 1000


def cost_and_gain(results: Results) -> Iterator[Line]:
    """The numbers."""
    runs, gains = runs_by_place(results.study), gains_by_place(results)
    yield Title("Cost and gain", "costs")
    yield f"What teacher and control read and wrote in a run, and its price, means over seeds; gain over {MATCHED} in points."
    yield ""
    yield Columns(("rows", "task", "method", "thousand tokens", "USD", "gain", "interval"))
    for place, c in gains.items():
        if place in runs:
            cost = (f"{kilotokens(runs[place]):,.1f}", f"{usd(runs[place]):.2f}")
            found = c.found.difference
            yield Row((regime_name(place[1]), place[0], place[2], *cost, points(found.mean), ends(found)))
