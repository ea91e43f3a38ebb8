"""study.html: one file that needs nothing from outside, with the tables of study.md and the figures.

What models and data sets wrote reaches the page through jinja2's autoescaping only.
"""

from collections.abc import Iterator
from functools import cache

from jinja2 import Template

from pada_agent.components.core.figures import p_value, points
from pada_agent.components.core.report.page import environment
from pada_agent.pipelines.study.compare import ALPHA, Results
from pada_agent.pipelines.study.places import MATCHED
from pada_agent.pipelines.study.report.figures import figures
from pada_agent.pipelines.study.report.lines import sections
from pada_agent.pipelines.study.tables import lines


def render(results: Results) -> str:
    """The page. The same results give the same bytes."""
    head, *parts = sections(lines(results))
    return _template().render(head=head, sections=parts, figures=figures(results), verdict=" ".join(_verdict(results)))


def _verdict(results: Results) -> Iterator[str]:
    """What a reader asks first: how often the first method is better than training for as many steps without new data."""
    own = [c for c in results.comparisons if (c.method, c.baseline) == (results.study.methods[0], MATCHED)]
    if not own:
        yield "Nothing to compare yet."
        return
    if len(own) == 1:
        found = own[0].found.difference
        apart = "told apart" if own[0].p_holm < ALPHA else "not told apart"
        yield f"{own[0].method} against {MATCHED}: {points(found.mean)} points, interval {points(found.low)} to"
        yield f"{points(found.high)}; {apart} (p {p_value(own[0].p_holm)}, Holm)."
        return
    told_apart = [c.found.difference.mean for c in own if c.p_holm < ALPHA]
    better, worse = sum(gain > 0 for gain in told_apart), sum(gain < 0 for gain in told_apart)
    gains = sorted(c.found.difference.mean for c in own)
    yield f"{own[0].method} against {MATCHED} in {len(own)} comparisons: better in {better}, worse in {worse}, not told apart in"
    yield f"{len(own) - better - worse} (Holm, level {ALPHA:g}). Gains reach from {points(gains[0])} to {points(gains[-1])}"
    yield "points."


@cache
def _template() -> Template:
    """It has the style sheet of a run's report."""
    return environment("pada_agent.pipelines.study.report").get_template("study.html")
