"""What came out of a run: the report, its facts as JSON, and the table."""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pada_agent.components.backends.artifacts.evaluated import read_shown_rows
from pada_agent.components.backends.files import below, write_atomic
from pada_agent.components.backends.record_files import write_json
from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.errors import InputError, PadaError
from pada_agent.components.core.figures import p_value, percent, points
from pada_agent.components.core.report.facts import Facts
from pada_agent.components.core.report.gather import gather
from pada_agent.components.core.report.page import render
from pada_agent.components.core.state import State
from pada_agent.pipelines.local.run_directory import LATEST_STATE

TO_READ = {"analyze": "plan/strategies.yaml", "merge": "synthetic_data/synthetic.jsonl"}
PLAIN = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2212": "-", "…": "..."})  # the page's typography, for any terminal
HEADINGS = ("model", "test accuracy", "interval")


def publish(state: Path, run_dir: Path) -> None:
    """Write report.html and report.json of a state (its artifact's folder) to the top of the run directory."""
    loaded = State.load(state)
    facts = gather(loaded)
    write_atomic(run_dir / "report.html", render(loaded, read_shown_rows(state), facts))
    write_json(run_dir / "report.json", facts)


def last_state(run_dir: Path) -> Path:
    """The run's latest state artifact. Raises InputError when there is none yet."""
    try:
        name = (run_dir / LATEST_STATE).read_text().strip()
    except OSError as e:
        raise InputError(f"{run_dir}: there is no state here yet; give the directory of a run that has trained a model") from e
    return below(run_dir, name, str(run_dir / LATEST_STATE))


def show_stop(task: str, folder: Path, console: Console) -> None:
    """Say where the run stopped and, where there is something to read and edit, where that is."""
    file = TO_READ.get(task.partition("-")[0])
    if file:
        console.print(f"Stopped after {task}. Read, and edit if you like: {folder / file}", markup=False, soft_wrap=True)
    else:
        console.print(f"Stopped after {task}.", markup=False)
    console.print("The same command without --until continues.", markup=False)


def show(state: Path, run_dir: Path, console: Console) -> None:
    """Print the table and the verdict: boxed on a terminal, plain lines elsewhere. Raises PadaError if there is no new data."""
    facts = gather(State.load(state))
    headings = [*HEADINGS, f"against {facts.baseline}" if facts.baseline else "difference", "p"]
    rows = [[cell.translate(PLAIN) for cell in row] for row in _rows(facts)]
    if console.is_terminal:
        table = Table(*headings, title="Test rows, which no agent has seen and no choice has used")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    else:
        widths = [max(len(line[i]) for line in [headings, *rows]) for i in range(len(headings))]
        for line in [headings, *rows]:
            text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            console.print(text.rstrip(), markup=False, soft_wrap=True)
    verdict = facts.verdict
    for sentence in [verdict.headline, *verdict.details, *_spent(facts), f"Report: {run_dir / 'report.html'}"]:
        console.print(sentence.translate(PLAIN), markup=False, soft_wrap=True)
    if facts.empty:
        raise PadaError(f"no synthetic row was let in, so this run shows nothing and ships its start: {facts.empty}")


def _spent(facts: Facts) -> Iterator[str]:
    """What the LLMs were asked and cost, each number beside what was expected."""
    spent, expected = facts.usage.total, facts.usage.expected.get("all")
    if spent.calls:
        beside = [f" ({e} expected)" for e in _amounts(expected)] if expected else [""] * 3
        calls, tokens, usd = (f"{amount}{e}" for amount, e in zip(_amounts(spent), beside, strict=True))
        yield f"LLM calls: {calls}. Tokens: {tokens}. USD: {usd}."


def _amounts(usage: Usage) -> list[str]:
    return [f"{usage.calls:,}", f"{usage.tokens:,}", f"{usage.usd:,.2f}"]


def _rows(facts: Facts) -> Iterator[list[str]]:
    for model in facts.models:
        test, over = model.test, model.over_baseline
        if test is None:
            continue
        name = model.label + (" (shipped)" if model.shipped else "")
        difference = f"{points(over.difference)} ({points(over.low)} to {points(over.high)})" if over else ""
        interval = f"{percent(test.low)} to {percent(test.high)}"
        yield [name, percent(test.accuracy), interval, difference, _bare(p_value(over.p)) if over else ""]


def _bare(p: str) -> str:
    return p.translate(PLAIN).removeprefix("= ")
