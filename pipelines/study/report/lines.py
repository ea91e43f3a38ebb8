"""What a study says, line by line, before it is Markdown or a page: titles, sentences, tables.

    Title("Comparisons", "comparisons"), "Differences in points.", "", Columns(("rows", "method")), Row(("300", "pada"))

An empty string ends a paragraph.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_SPECIAL = re.compile(r"([\\`*<\[|])")  # what Markdown would read in a text that a model wrote
_NUMBER = re.compile(r"[+\-−]?\d|-$|$")


@dataclass(frozen=True)
class Title:
    """`key` is the section's anchor, and says which figures belong to it; without one it is the title of the whole."""

    text: str
    key: str = ""


@dataclass(frozen=True)
class Item:
    """One of a list."""

    text: str


@dataclass(frozen=True)
class Cell:
    """A text of a table, and what stands beside it in small print."""

    text: str
    beside: tuple[str, ...] = ()

    @property
    def whole(self) -> str:
        """Both in one line."""
        return f"{self.text} ({'; '.join(self.beside)})" if self.beside else self.text


@dataclass(frozen=True)
class Columns:
    """The head of a table."""

    names: Sequence[str]


@dataclass(frozen=True)
class Row:
    """A row of the table whose head came last."""

    cells: Sequence[str | Cell]

    @property
    def whole(self) -> list[Cell]:
        """All as cells."""
        return [cell if isinstance(cell, Cell) else Cell(cell) for cell in self.cells]


Line = str | Title | Item | Columns | Row


@dataclass
class Table:
    """A table; `numbers` says of each column whether it holds them."""

    columns: Sequence[str]
    rows: list[list[Cell]] = field(default_factory=list)

    @property
    def numbers(self) -> list[bool]:
        """A column of numbers is set to the right."""
        return [all(_NUMBER.match(row[i].text) for row in self.rows) for i in range(len(self.columns))]


@dataclass
class Section:
    """A title with its paragraphs, lists of items and tables, in order; lists are lists of strings."""

    title: Title
    blocks: list[str | list[str] | Table] = field(default_factory=list)


def in_markdown(lines: Iterable[Line]) -> str:
    """The lines as GitHub's Markdown."""
    return "\n".join(_marked(line) for line in lines) + "\n"


def sections(lines: Iterable[Line]) -> list[Section]:
    """The lines below their titles. Raises ValueError where a row or a sentence comes before what it belongs to."""
    found: list[Section] = []
    going_on = False
    for line in lines:
        if isinstance(line, Title):
            found.append(Section(line))
        elif not found:
            raise ValueError(f"{line!r} comes before any title")
        elif line:
            _put(line, found[-1].blocks, going_on)
        going_on = isinstance(line, str) and bool(line)
    return found


def _put(line: str | Item | Columns | Row, blocks: list[str | list[str] | Table], going_on: bool) -> None:
    last = blocks[-1] if blocks else None
    if isinstance(line, Columns):
        blocks.append(Table(line.names))
    elif isinstance(line, Row):
        if not isinstance(last, Table):
            raise ValueError(f"{line!r} comes before the head of its table")
        last.rows.append(line.whole)
    elif isinstance(line, Item):
        blocks[len(blocks) - isinstance(last, list) :] = [[*(last if isinstance(last, list) else []), line.text]]
    elif going_on and isinstance(last, str):
        blocks[-1] = f"{last} {line}"
    else:
        blocks.append(line)


def _marked(line: Line) -> str:
    if isinstance(line, Title):
        return f"\n## {line.text}" if line.key else f"# {line.text}"
    if isinstance(line, Item):
        return f"- {line.text}"
    if isinstance(line, Columns):
        return f"| {' | '.join(line.names)} |\n|{'---|' * len(line.names)}"
    if isinstance(line, Row):
        return f"| {' | '.join(_plain(cell.whole) for cell in line.whole)} |"
    return line


def _plain(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
