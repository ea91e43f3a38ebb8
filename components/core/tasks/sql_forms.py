"""Other forms of one query: the plain one, by which queries that differ in words alone are the same, and subtly wrong ones.

SELECT c.city AS town FROM customers AS c WHERE c.age > 30 AND c.id = 1   and
select city from customers where 1 = id and 30 < age ;                    are one query
"""

import random
from collections.abc import Callable, Iterator
from contextlib import suppress

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.simplify import simplify

from pada_agent.components.core.tasks.sql_features import parse_query


def plain_query(sql: str) -> str:
    """A query without aliases, quotes, capitals and the order of its conditions; '' if it does not parse."""
    try:
        query = parse_query(sql)
    except ValueError:
        return ""
    for identifier in query.find_all(exp.Identifier):
        identifier.set("this", identifier.name.lower())
        identifier.set("quoted", False)
    if not query.find(exp.With):
        _drop_aliases(query)
    for ordered in query.find_all(exp.Ordered):  # ASC is what a query without it means
        ordered.set("desc", bool(ordered.args.get("desc")))
        ordered.set("nulls_first", None)
    with suppress(SqlglotError):  # else it is compared as it stands
        query = simplify(query, dialect="sqlite")
    return query.sql(dialect="sqlite", normalize_functions="upper", comments=False)


def _drop_aliases(query: exp.Query) -> None:
    """Of tables that stand there once, and of what is selected; where there is one table, its columns need no name of it."""
    tables = list(query.find_all(exp.Table))
    names = [table.name for table in tables]
    owner = {t.alias: t.name for t in tables if t.alias and names.count(t.name) == 1}
    for column in query.find_all(exp.Column):
        if column.table in owner:
            column.set("table", exp.to_identifier(owner[column.table]))
        if len(names) == 1 and column.table == names[0]:
            column.set("table", None)
    for table in tables:
        if table.alias in owner:
            table.set("alias", None)
    given = {item.alias: item.this for item in query.find_all(exp.Alias)}
    for column in list(query.find_all(exp.Column)):
        if not column.table and column.name in given and column.find_ancestor(exp.Order, exp.Having, exp.Group):
            column.replace(given[column.name].copy())
    for select in query.find_all(exp.Select):
        select.set("expressions", [e.this if isinstance(e, exp.Alias) else e for e in select.expressions])


Change = Callable[[exp.Expr], exp.Expr | None]  # of one node; None where it has nothing to change


def spoilt_queries(sql: str, draw: random.Random) -> Iterator[str]:
    """`sql` with one thing changed, each change that there is in an order drawn; what parses, runs as a rule."""
    try:
        query = parse_query(sql)
    except ValueError:
        return
    number = len(list(query.walk()))
    places = [(i, change) for i in range(number) for change in (_turned, _other_value, _without_condition)]
    for i, change in draw.sample(places, len(places)):
        copy = query.copy()
        node = list(copy.walk())[i]
        other = change(node)
        if other is not None:
            node.replace(other)
            yield copy.sql(dialect="sqlite")


_TURNS: dict[type[exp.Expr], type[exp.Expr]] = {
    exp.GT: exp.LT,
    exp.LT: exp.GT,
    exp.GTE: exp.LTE,
    exp.LTE: exp.GTE,
    exp.EQ: exp.NEQ,
    exp.NEQ: exp.EQ,
    exp.Min: exp.Max,
    exp.Max: exp.Min,
    exp.Sum: exp.Avg,
    exp.Avg: exp.Sum,
    exp.And: exp.Or,
    exp.Or: exp.And,
}


def _turned(node: exp.Expr) -> exp.Expr | None:
    """A comparison, an aggregate or an order the other way round."""
    if isinstance(node, exp.Ordered):
        return exp.Ordered(this=node.this.copy(), desc=not node.args.get("desc"))
    if type(node) not in _TURNS or isinstance(node.parent, exp.Join):
        return None
    return _TURNS[type(node)](**{name: value.copy() for name, value in node.args.items() if isinstance(value, exp.Expression)})


def _other_value(node: exp.Expr) -> exp.Expr | None:
    """Another number."""
    if isinstance(node, exp.Literal) and not node.is_string:
        return exp.Literal.number(f"{float(node.this) + 1:g}")
    return None


def _without_condition(node: exp.Expr) -> exp.Expr | None:
    """One condition of two."""
    return node.left.copy() if isinstance(node, exp.And) else None
