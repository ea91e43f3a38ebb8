"""Rows as CSV or TSV: a header, then a row a line, or more lines where a quoted cell holds them.

user query;category                       what Excel writes where the decimal sign is a comma
"Where is my parcel?
It was sent on Monday.";delivery
"""

import csv
import re
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from typing import BinaryIO

from pada_agent.components.backends.row_files.text import lines_of, not_text, text_blocks
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import RawRow

CELL = 1 << 24  # characters of a cell; the library's own bound is 131,072, which is short for a document
DELIMITERS = ",;\t|"


def read_table(file: BinaryIO, shown: str, usual: str) -> Iterator[RawRow]:
    """Rows with the line that each begins on; cells are texts. `usual`: the delimiter where the header has no other oftener.

    Raises InputError for a header that names no columns or one of them twice.
    """
    csv.field_size_limit(CELL)
    lines = lines_of(text_blocks(file, shown))
    above, first = next(((n, line) for n, line in enumerate(lines) if line.strip()), (0, ""))
    if first.lower().startswith("sep="):  # Excel's own way to say it
        usual, first, above = first.strip()[4:5] or usual, next(lines, ""), above + 1
    delimiter = max(usual + DELIMITERS, key=partial(_outside_quotes, first))
    reader = csv.reader(chain((first,), lines), delimiter=delimiter, strict=True)
    header = _header(reader, shown)
    begin = reader.line_num
    while True:
        where = f"{shown}:{above + begin + 1}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as e:
            cells, problem = [""], f"not a row of a table ({e}); put quotes around the cell, and write a quote in it twice"
        else:
            problem = _problem(cells, header)
        begin = reader.line_num
        if cells:
            yield where, InputError(f"{where}: {problem}") if problem else dict(zip(header, cells, strict=True))


def _header(reader: Iterable[list[str]], shown: str) -> list[str]:
    try:
        names = [re.sub(r"\s*\n\s*", " ", name.strip()) for name in next(iter(reader), [])]  # a cell may have two lines
    except csv.Error as e:
        raise InputError(f"{shown}:1: not the header of a table ({e})") from e
    if not any(names):
        raise InputError(f"{shown}: is empty; the first line must name the columns")
    names = [name or f"column {number}" for number, name in enumerate(names, 1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{shown}:1: two columns are called '{twice[0]}'; the first line must name each column once")
    if problem := not_text("".join(names)):
        raise InputError(f"{shown}:1: {problem}")
    return names


def _problem(cells: list[str], header: list[str]) -> str:
    if cells and len(cells) != len(header):
        return f"has {len(cells)} cells where the header has {len(header)}; put quotes around a text with the delimiter in it"
    return not_text("".join(cells))


def _outside_quotes(line: str, delimiter: str) -> int:
    return sum(part.count(delimiter) for part in line.split('"')[::2])
