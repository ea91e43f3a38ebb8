"""`pada estimate`: what a run will ask of the LLMs, as a table, from the config and the number of rows."""

from collections.abc import Callable, Sequence

from components.backends.row_sources import read_rows
from components.core.errors import InputError
from components.core.estimate import estimate
from components.core.settings import Settings
from pipelines.embedded import EMBEDDED

HEADINGS = ("stage", "calls", "tokens in", "tokens out", "USD")
COUNTS = ("calls_low", "calls_high", "tokens_in_low", "tokens_in", "tokens_out_low", "tokens_out")


def show_estimate(settings: Settings, say: Callable[[str], object] = print) -> None:
    """Print calls, tokens and money by stage, least to most, and their sums. Raises InputError for rows that cannot be read."""
    task = settings.task
    train, validation = _rows(task.train, task.train_size), _rows(task.validation, task.validation_size)
    stages = estimate(settings, train, validation)
    lines = [list(HEADINGS)]
    for s in stages:
        lines.append([s.stage, *_cells([getattr(s, name) for name in COUNTS], s.usd_low, s.usd)])
    sums = [sum(getattr(s, name) for s in stages) for name in COUNTS]
    lines.append(["together", *_cells(sums, sum(s.usd_low for s in stages), sum(s.usd for s in stages))])
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS))]
    for name, *numbers in lines:
        cells = [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
        say("  ".join([name.ljust(widths[0]), *cells]))
    say(f"{train:,} training rows, {validation:,} validation rows, iterations: {settings.loop.iterations}.")
    say("The least: no sample is sent back. The most: every one is, each time.")
    for role in ("teacher", "judge"):
        llm = getattr(settings, role)
        if llm.base_url == EMBEDDED:
            say(f"The {role} runs on this machine and costs nothing but time.")
        elif not llm.usd_per_million_input and not llm.usd_per_million_output:
            say(f"No price is set for {llm.model}: {role}.usd_per_million_input, {role}.usd_per_million_output.")


def _cells(counts: Sequence[int], usd_low: float, usd: float) -> list[str]:
    pairs = zip(counts[::2], counts[1::2], strict=True)
    return [*(f"{low:,} to {high:,}" for low, high in pairs), f"{usd_low:,.2f} to {usd:,.2f}"]


def _rows(source: str, size: int) -> int:
    """`size` if it is given, else the rows of the source, counted."""
    if size:
        return size
    count = sum(1 for _ in read_rows(source))
    if not count:
        raise InputError(f"{source}: there are no rows in it")
    return count
