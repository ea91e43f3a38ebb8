"""A database built in memory from a script, on which queries of unknown origin run read-only and limited.

>>> shop = SqliteDatabase("CREATE TABLE customers(id, city); INSERT INTO customers VALUES (1, 'Oslo')")
>>> shop.rows("SELECT city FROM customers")
[('Oslo',)]
"""

import random
import re
import sqlite3
import threading
import time
from collections import Counter
from typing import Any

from pada_agent.components.core.errors import InputError

ResultRow = tuple[Any, ...]

ROW_CAP = 10_000
# Counted in the virtual machine's instructions, so that a verdict does not depend on how busy the machine is; 20 million
# take about half a second. The clock is there for the few whose instructions are heavy, such as sorting long strings.
STEPS, STEPS_A_CALL, SECONDS = 20_000_000, 1_000, 2.0
LONGEST = 10_000
FEW = 8  # numbers or dates that are named one by one
ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
# The last four can work for seconds within one instruction.
FORBIDDEN_FUNCTIONS = {"load_extension", "fts3_tokenizer", "randomblob", "zeroblob", "printf", "format"}


class QueryError(Exception):
    """A query that does not run or runs too long; one line."""


class SqliteDatabase:
    """`script` is trusted and run once; `rows` is for queries that are not trusted."""

    def __init__(self, script: str, where: str = "database") -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(":memory:", check_same_thread=False)
        try:
            self._connection.executescript(script)
        except (sqlite3.Error, ValueError) as e:
            raise InputError(f"{where}: not a script that SQLite can run: {e}") from e
        self._connection.commit()
        self.tables = {str(name): self._columns(str(name)) for (name,) in self._connection.execute(_TABLES).fetchall()}
        if not self.tables:
            raise InputError(f"{where}: creates no table")
        self.keys = {table: self._primary_key(table) for table in self.tables}
        references = [reference for table in self.tables for reference in self._foreign_keys(table)]
        self._joins, self._referring = [f"{own} = {other}" for own, other in references], {own for own, _ in references}
        self._calls, self._deadline = 0, 0.0
        self._limit()

    def rows(self, sql: str) -> list[ResultRow]:
        """The result of one SELECT. Raises QueryError if it fails, writes, works too long or has over ROW_CAP rows."""
        with self._lock:
            self._calls, self._deadline = 0, time.monotonic() + SECONDS
            try:
                rows = self._connection.execute(sql).fetchmany(ROW_CAP + 1)
            except sqlite3.OperationalError as e:
                raise QueryError("runs too long" if str(e) == "interrupted" else self._explain(str(e), sql)) from e
            except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError, MemoryError) as e:
                raise QueryError(" ".join(str(e).split()) or type(e).__name__) from e
        if len(rows) > ROW_CAP:
            raise QueryError(f"gives more than {ROW_CAP} rows")
        return rows

    def schema(self) -> str:
        """One line per table: `customers(id, name, city)`."""
        return "\n".join(f"{name}({', '.join(columns)})" for name, columns in self.tables.items())

    def joins(self) -> str:
        """How the tables connect, by their foreign keys: `orders.customer_id = customers.id, ...`; '' without any."""
        return ", ".join(self._joins)

    def examples(self, most: int = 10, draw: random.Random | None = None) -> str:
        """One line per table with what its columns hold: all values if they are few, the range of numbers and dates, else `most`.

        Those are drawn with `draw`, else spread evenly over the alphabet. A key that refers to another table is left out.
        """
        lines = []
        for table, columns in self.tables.items():
            shown = [(c, self._values(table, c)) for c in columns if f"{table}.{c}" not in self._referring]
            lines.append("; ".join(f"{column}: {_some(values, most, draw)}" for column, values in shown if values))
        return "\n".join(f"{table}: {line}" for table, line in zip(self.tables, lines, strict=True) if line)

    def _values(self, table: str, column: str) -> list[Any]:
        name = f"{_quote(table)}.{_quote(column)}"
        rows = self.rows(f"SELECT DISTINCT {name} FROM {_quote(table)} WHERE {name} IS NOT NULL ORDER BY 1")
        return [value for (value,) in rows]

    def _columns(self, table: str) -> list[str]:
        return [str(column[1]) for column in self._connection.execute(f"PRAGMA table_info({_quote(table)})")]

    def _primary_key(self, table: str) -> list[str]:
        """Its columns; empty without one."""
        return [str(column[1]) for column in self._connection.execute(f"PRAGMA table_info({_quote(table)})") if column[5]]

    def _foreign_keys(self, table: str) -> list[tuple[str, str]]:
        keys = self._connection.execute(f"PRAGMA foreign_key_list({_quote(table)})").fetchall()
        return [(f"{table}.{own}", f"{other}.{column or 'id'}") for _, _, other, own, column, *_ in reversed(keys)]

    def _longest(self) -> int:
        """Length of the longest value, in bytes; what is in the database must stay readable."""
        lengths = [
            self._connection.execute(f"SELECT MAX(LENGTH(CAST({_quote(c)} AS BLOB))) FROM {_quote(t)}").fetchone()[0] or 0
            for t, columns in self.tables.items()
            for c in columns
        ]
        # A row is bounded by the same limit as a string.
        return 2 * max(lengths, default=0) + LONGEST

    def _limit(self) -> None:
        def step() -> bool:
            self._calls += 1
            return self._calls > STEPS // STEPS_A_CALL or time.monotonic() > self._deadline

        def allow(action: int, _: str | None, second: str | None, *__: str | None) -> int:
            if action not in ALLOWED or (action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in FORBIDDEN_FUNCTIONS):
                return sqlite3.SQLITE_DENY
            return sqlite3.SQLITE_OK

        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, self._longest())
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 200)
        self._connection.set_progress_handler(step, STEPS_A_CALL)
        self._connection.set_authorizer(allow)

    def _explain(self, message: str, sql: str) -> str:
        """SQLite's message; for an unknown table or column, with the known ones."""
        kind, _, wanted = message.partition(": ")
        if kind == "no such table":
            return f"{message}; there are {', '.join(self.tables)}"
        if kind != "no such column":
            return " ".join(message.split())
        alias, _, column = wanted.rpartition(".")
        if column in self.tables.get(alias, []):
            keys = ", ".join(join for join in self._joins if re.search(rf"\b{re.escape(alias)}\.", join))
            return f"{message}; {alias} is not in FROM, join it" + (f": {keys}" if keys else "")
        meant = [t for t in self.tables if alias and re.search(rf"\b{re.escape(t)}\s+(as\s+)?{re.escape(alias)}\b", sql, re.I)]
        used = [t for t in self.tables if re.search(rf"\b{re.escape(t)}\b", sql, re.I)]
        for table in [alias] if alias in self.tables else meant or used:
            message += f"; {table} has {', '.join(self.tables[table])}"
        having = [t for t, columns in self.tables.items() if column in columns]
        return f"{message}; {column} is in {', '.join(having)}" if having else message


def same_rows(found: list[ResultRow], gold: list[ResultRow], ordered: bool) -> bool:
    """Whether two results hold the same rows, in this order if `ordered`; rounding to 2 or more places is forgiven."""
    if len(found) != len(gold):
        return False
    if ordered:
        return all(_same_row(a, b) for a, b in zip(found, gold, strict=True))
    left, right = Counter(found) - Counter(gold), Counter(gold) - Counter(found)
    rest = list(right.elements())
    for row in left.elements():
        match = next((i for i, other in enumerate(rest) if _same_row(row, other)), None)
        if match is None:
            return False
        rest.pop(match)
    return True


def _same_row(a: ResultRow, b: ResultRow) -> bool:
    return len(a) == len(b) and all(_same_value(x, y) for x, y in zip(a, b, strict=True))


def _same_value(a: Any, b: Any) -> bool:
    if a == b or not (isinstance(a, int | float) and isinstance(b, int | float)):
        return bool(a == b)
    if abs(a - b) <= 1e-9 * max(abs(a), abs(b)):
        return True
    return any(round(a, d) == b or round(b, d) == a for d in (2, 3, 4))


def _some(values: list[Any], most: int, draw: random.Random | None) -> str:
    """`values` are distinct and sorted."""
    ranged = len(values) > FEW and all(isinstance(v, int | float) or str(v)[:4].isdigit() for v in values)
    unbroken = len(values) > 2 and all(isinstance(v, int) for v in values) and values[-1] - values[0] == len(values) - 1
    if ranged or unbroken:
        return f"{values[0]} to {values[-1]}"
    if len(values) <= most:
        return ", ".join(map(str, values))
    places = sorted(draw.sample(range(len(values)), most)) if draw else [i * len(values) // most for i in range(most)]
    return ", ".join([*(str(values[i]) for i in places), "..."])


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


_TABLES = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
