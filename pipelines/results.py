"""The table of results, the verdict and the cost: what a run says when it ends, here and on a cluster."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.errors import PadaError
from pada_agent.components.core.figures import bare, p_value, percent, points
from pada_agent.components.core.report.facts import Facts
from pada_agent.components.core.report.gather import gather
from pada_agent.components.core.state import State

PLAIN = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2212": "-", "…": "..."})  # the page's typography, for any terminal


def show(state: State, report: object, console: Console) -> None:
    """Print the table, the verdict and where the report is: boxed on a terminal, plain lines elsewhere.

    Raises PadaError if there is no new data.
    """
    facts = gather(state)
    measure = next((m.test.measure for m in facts.models if m.test), "accuracy")
    headings = ["model", f"test {measure}", "interval", f"against {facts.baseline}" if facts.baseline else "difference", "p"]
    rows = list(_rows(facts))
    show_table(headings, rows, "Test rows, which no agent has seen and no choice has used", console)
    verdict = facts.verdict
    for sentence in [verdict.headline, *verdict.details, *_spent(facts), f"Report: {report}"]:
        console.print(sentence.translate(PLAIN), markup=False, soft_wrap=True)
    if facts.empty:
        raise PadaError(f"no synthetic row was let in, so this run shows nothing and ships its start: {facts.empty}")


def show_table(headings: Sequence[str], rows: Iterable[Sequence[str]], title: str, console: Console) -> None:
    """Print a table: boxed and with its title on a terminal, plain lines elsewhere."""
    cells = [[cell.translate(PLAIN) for cell in row] for row in rows]
    if console.is_terminal:
        table = Table(*headings, title=title)
        for row in cells:
            table.add_row(*(escape(cell) for cell in row))
        console.print(table)
        return
    widths = [max(len(line[i]) for line in [headings, *cells]) for i in range(len(headings))]
    for line in [headings, *cells]:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        console.print(text.rstrip(), markup=False, soft_wrap=True)


def _spent(facts: Facts) -> Iterator[str]:
    """What the LLMs were asked and cost, each number beside what was expected."""
    spent, expected = facts.usage.total, facts.usage.expected.get("all")
    if spent.calls:
        beside = [f" ({e} expected)" for e in _amounts(expected)] if expected else [""] * 3
        calls, tokens, usd = (f"{amount}{e}" for amount, e in zip(_amounts(spent), beside, strict=True))
        cached = f" Input tokens that endpoints had cached: {spent.cached_input_tokens:,}." if spent.cached_input_tokens else ""
        yield f"LLM calls: {calls}. Tokens: {tokens}.{cached} USD: {usd}."


def _amounts(usage: Usage) -> list[str]:
    return [f"{usage.calls:,}", f"{usage.tokens:,}", f"{usage.usd:,.2f}"]


def _rows(facts: Facts) -> Iterator[list[str]]:
    for model in facts.models:
        test, over = model.test, model.over_baseline
        if test is None:
            continue
        name = model.label + (" (shipped)" if model.shipped else "")
        difference = f"{points(over.difference)} ({points(over.low)} to {points(over.high)})" if over else ""
        interval = f"{percent(test.main.low)} to {percent(test.main.high)}"
        yield [name, percent(test.main.mean), interval, difference, bare(p_value(over.p)) if over else ""]
