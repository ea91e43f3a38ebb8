"""What it takes to write a query, as a parser sees it.

`SELECT city FROM customers GROUP BY city HAVING COUNT(*) > 3` has GROUP BY, HAVING and COUNT.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import sqlglot
from sqlglot import exp

# sqlglot logs a warning for what it takes for a command, on top of returning it.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

NODES: tuple[tuple[str, tuple[type[exp.Expression], ...]], ...] = (
    ("WHERE", (exp.Where,)),
    ("GROUP BY", (exp.Group,)),
    ("HAVING", (exp.Having,)),
    ("ORDER BY", (exp.Order,)),
    ("LIMIT", (exp.Limit,)),
    ("DISTINCT", (exp.Distinct,)),
    ("COUNT", (exp.Count,)),
    ("SUM", (exp.Sum,)),
    ("AVG", (exp.Avg,)),
    ("MIN/MAX", (exp.Min, exp.Max)),
    ("arithmetic", (exp.Add, exp.Sub, exp.Mul, exp.Div)),
    ("BETWEEN", (exp.Between,)),
    ("LIKE", (exp.Like,)),
    ("AND", (exp.And,)),
    ("OR", (exp.Or,)),
    ("IN", (exp.In,)),
    ("IS NULL", (exp.Is,)),
    ("CASE", (exp.Case,)),
    ("UNION", (exp.SetOperation,)),
    ("window function", (exp.Window,)),
    ("WITH", (exp.With,)),
)
DATE_FUNCTIONS = {"date", "datetime", "time", "strftime", "julianday", "unixepoch"}
AGGREGATES = (exp.Sum, exp.Avg, exp.Min, exp.Max)


def parse_query(sql: str) -> exp.Query:
    """The one query in `sql`. Raises ValueError that says what it is instead."""
    try:
        statements = [s for s in sqlglot.parse(sql, dialect="sqlite") if s is not None]
    except (sqlglot.errors.SqlglotError, RecursionError) as e:
        raise ValueError(f"does not parse: {str(e).splitlines()[0]}" if str(e) else "does not parse") from e
    if len(statements) != 1:
        raise ValueError(f"is {len(statements)} statements, not one")
    query = statements[0]
    if not isinstance(query, exp.Query):
        raise ValueError("is not a SELECT")
    return query


def sql_features(sql: str) -> set[str]:
    """Names of the clauses and functions in `sql`; empty if it does not parse."""
    try:
        query = parse_query(sql)
    except ValueError:
        return set()
    clauses = {name for name, kinds in NODES if query.find(*kinds)}
    widest = max((1 + len(s.args.get("joins") or []) for s in query.find_all(exp.Select)), default=1)
    if widest == 2:
        clauses.add("JOIN of 2 tables")
    elif widest > 2:
        clauses.add("JOIN of 3 or more tables")
    if any(join.side == "LEFT" for join in query.find_all(exp.Join)):
        clauses.add("LEFT JOIN")
    if any(select.parent_select for select in query.find_all(exp.Select) if not select.find_ancestor(exp.With)):
        clauses.add("subquery")
    if any(aggregate.find(exp.Binary) and aggregate.find(*_ARITHMETIC) for aggregate in query.find_all(*AGGREGATES)):
        clauses.add("arithmetic inside an aggregate")
    if any(_function(node) in DATE_FUNCTIONS for node in query.find_all(exp.Func)):
        clauses.add("date function")
    return clauses


def columns_used(sql: str, schema: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The tables of `schema` that a query reads, each with the columns it uses of it; empty if it does not parse."""
    try:
        query = parse_query(sql)
    except ValueError:
        return {}
    names = {table.alias_or_name: table.name for table in query.find_all(exp.Table) if table.name in schema}
    used: dict[str, list[str]] = {name: [] for name in names.values()}
    for column in query.find_all(exp.Column):
        owner = names.get(column.table) or next((name for name in used if column.name in schema[name]), None)
        if owner and column.name not in used[owner]:
            used[owner].append(column.name)
    return used


def grouping_flaw(sql: str, schema: Mapping[str, Sequence[str]], keys: Mapping[str, Sequence[str]]) -> str:
    """What is wrong with a query's groups though SQLite runs it, '' if nothing.

    SQLite takes the value of any row for a column that is not grouped by; other databases refuse such a query. What is grouped by
    may be an expression, or a primary key (`keys`, by table), which decides all columns of its table, as in PostgreSQL.
    """
    try:
        selects = list(parse_query(sql).find_all(exp.Select))
    except ValueError:
        return ""
    tables = {name.lower(): _Table(_lower(columns), _lower(keys.get(name, []))) for name, columns in schema.items()}
    return next((flaw for select in selects if (flaw := _flaw(select, tables))), "")


class _Table(NamedTuple):
    columns: list[str]
    key: list[str]


def _lower(names: Sequence[str]) -> list[str]:
    return [name.lower() for name in names]


def _flaw(select: exp.Select, tables: Mapping[str, _Table]) -> str:
    group = select.args.get("group")
    grouped: list[exp.Expr] = group.expressions if group else []
    if any(key.is_int for key in grouped):  # GROUP BY 1
        return ""
    columns = [key for key in grouped if isinstance(key, exp.Column)]
    names, expressions = {column.name.lower() for column in columns}, [_unqualified(key) for key in grouped]

    def of_this_select(item: exp.Expr, *kinds: type[exp.Expr]) -> list[exp.Expr]:
        return [node for node in item.find_all(*kinds) if node.find_ancestor(exp.Window, exp.Select) is select]

    def is_grouped(column: exp.Expr, item: exp.Expr) -> bool:
        """By its name, or as a part of an expression."""
        within, node = [column], column
        while node is not item and node.parent:
            within.append(node := node.parent)
        return column.name.lower() in names or any(_unqualified(node) in expressions for node in within)

    aggregates = [item for item in select.expressions if of_this_select(item, exp.AggFunc)]
    if not group and not aggregates:
        return ""
    sources = _sources(select, tables)
    of_keys = {(_owner(column, sources), column.name.lower()) for column in columns}
    decided = {name for name, table in sources.items() if table.key and all((name, part) in of_keys for part in table.key)}
    plain = [item for item in select.expressions if item not in aggregates and item.alias.lower() not in names]
    for item in plain:
        for column in of_this_select(item, exp.Column):
            if not is_grouped(column, item) and _owner(column, sources) not in decided:
                return f"selects {column.sql()}, which it neither groups by nor aggregates"
    # What another query makes of the groups may do without them.
    if group and len(aggregates) == len(select.expressions) and not select.parent_select:
        return f"groups by {', '.join(key.sql(dialect='sqlite') for key in grouped)} but does not select it"
    return ""


def _sources(select: exp.Select, tables: Mapping[str, _Table]) -> dict[str, _Table]:
    """The tables that a select reads itself, by their names in it."""
    parts = [select.args.get("from_"), *(select.args.get("joins") or [])]
    read = [part.this for part in parts if part and isinstance(part.this, exp.Table)]
    return {table.alias_or_name.lower(): tables.get(table.name.lower(), _Table([], [])) for table in read}


def _owner(column: exp.Expr, sources: Mapping[str, _Table]) -> str:
    """The name of the one source that a column can be of; '' if there is none or are several."""
    if isinstance(column, exp.Column) and column.table:
        return column.table.lower()
    having = [name for name, table in sources.items() if column.name.lower() in table.columns]
    return having[0] if len(having) == 1 else ""


def _unqualified(node: exp.Expr) -> exp.Expr:
    """A copy without names of tables, to compare by."""
    copy = node.copy()
    for column in copy.find_all(exp.Column):
        column.set("table", None)
    return copy


def text_literals(sql: str) -> list[str]:
    """The texts that the query compares with, without the wildcards around them; none if it does not parse."""
    try:
        return [str(literal.this).strip("%") for literal in parse_query(sql).find_all(exp.Literal) if literal.is_string]
    except ValueError:
        return []


def has_text_literal(sql: str) -> bool:
    """Whether the query compares with a text such as a name or a date. True if it does not parse."""
    try:
        return any(literal.is_string for literal in parse_query(sql).find_all(exp.Literal))
    except ValueError:
        return True


def is_ordered(sql: str) -> bool:
    """Whether the whole result has an order that the query asks for. False if it does not parse."""
    try:
        return parse_query(sql).args.get("order") is not None
    except ValueError:
        return False


_ARITHMETIC = (exp.Add, exp.Sub, exp.Mul, exp.Div)


def _function(node: exp.Func) -> str:
    if isinstance(node, exp.Anonymous):
        return str(node.name).lower()
    if isinstance(node, exp.TimeToStr | exp.TsOrDsToTimestamp | exp.Date | exp.Datetime | exp.Time):
        return "date"
    return str(node.sql_name()).lower()
