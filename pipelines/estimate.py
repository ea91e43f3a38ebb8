"""`pada estimate`: what a run will ask of the LLMs, as a table, from the config and the number of rows."""

from collections.abc import Callable

from components.backends.row_sources import read_rows
from components.core.errors import InputError
from components.core.estimate import estimate
from components.core.settings import Settings

HEADINGS = ("stage", "calls, at least", "at most", "tokens in", "tokens out", "USD at most")


def show_estimate(settings: Settings, say: Callable[[str], object] = print) -> None:
    """Print calls, tokens and money by stage, and their sum. Raises InputError for a source that cannot be read."""
    task = settings.task
    train, validation = _rows(task.train, task.train_size), _rows(task.validation, task.validation_size)
    stages = estimate(settings, train, validation)
    lines = [list(HEADINGS)]
    for s in stages:
        lines.append([s.stage, *(f"{n:,}" for n in (s.calls_low, s.calls_high, s.tokens_in, s.tokens_out)), f"{s.usd:,.2f}"])
    sums = [sum(getattr(s, name) for s in stages) for name in ("calls_low", "calls_high", "tokens_in", "tokens_out")]
    lines.append(["together", *(f"{n:,}" for n in sums), f"{sum(s.usd for s in stages):,.2f}"])
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS))]
    for name, *numbers in lines:
        cells = [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
        say("  ".join([name.ljust(widths[0]), *cells]))
    say(f"{train} training and {validation} validation rows, {settings.loop.iterations} iterations at most.")
    for role in ("teacher", "judge"):
        llm = getattr(settings, role)
        if not llm.usd_per_million_input and not llm.usd_per_million_output:
            say(f"No price is set for the {role} ({llm.model}): {role}.usd_per_million_input, {role}.usd_per_million_output.")


def _rows(source: str, size: int) -> int:
    """`size` if it is given, else the rows of the source, counted."""
    if size:
        return size
    count = sum(1 for _ in read_rows(source))
    if not count:
        raise InputError(f"{source}: there are no rows in it")
    return count
