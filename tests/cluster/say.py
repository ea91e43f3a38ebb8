"""What is printed: one line for each thing that was done or found, and the tables at the end."""

from collections.abc import Sequence
from datetime import datetime


def say(text: str) -> None:
    """A line with the time of day."""
    print(f"{datetime.now():%H:%M:%S}  {text}", flush=True)


def table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be; the first one is text, the others are figures."""
    lines = [list(headings), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headings))]
    body = []
    for line in lines:
        cells = zip(line, widths, strict=True)
        body.append("  ".join(text.rjust(width) if i else text.ljust(width) for i, (text, width) in enumerate(cells)))
    return "\n".join([title, body[0], "-" * len(body[0]), *body[1:]])


def amount(size: int) -> str:
    """Bytes for people."""
    for unit in ("B", "KB"):
        if size < 1000:
            return f"{size} {unit}"
        size //= 1000
    return f"{size} MB"
