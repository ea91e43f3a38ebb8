"""Features of queries that are known to have them, and order at the top level only."""

import pytest

from pada_agent.components.core.tasks.sql_features import (
    columns_used,
    grouping_flaw,
    has_text_literal,
    is_ordered,
    parse_query,
    sql_features,
)


@pytest.mark.parametrize(
    ("sql", "features"),
    [
        ("SELECT name FROM customers", set()),
        ("SELECT COUNT(*) FROM customers WHERE city = 'Oslo'", {"COUNT", "WHERE"}),
        ("SELECT city FROM c GROUP BY city HAVING AVG(points) > 3", {"GROUP BY", "HAVING", "AVG"}),
        ("SELECT name FROM p ORDER BY price DESC LIMIT 3", {"ORDER BY", "LIMIT"}),
        ("SELECT DISTINCT a.x FROM a JOIN b ON b.i = a.i", {"DISTINCT", "JOIN of 2 tables"}),
        ("SELECT a.x FROM a, b, c WHERE a.i = b.i AND b.j = c.j", {"WHERE", "AND", "JOIN of 3 or more tables"}),
        ("SELECT a.x FROM a LEFT JOIN b ON b.i = a.i", {"LEFT JOIN", "JOIN of 2 tables"}),
        (
            "SELECT p.c, SUM(i.quantity * p.price) FROM i JOIN p ON p.id = i.p GROUP BY p.c",
            {"SUM", "arithmetic", "arithmetic inside an aggregate", "GROUP BY", "JOIN of 2 tables"},
        ),
        ("SELECT SUM(x) * 2 FROM a", {"SUM", "arithmetic"}),
        ("SELECT MAX(x) FROM a WHERE x BETWEEN 1 AND 2", {"MIN/MAX", "WHERE", "BETWEEN"}),
        ("SELECT x FROM a WHERE x LIKE 'a%' OR x IS NULL", {"WHERE", "LIKE", "OR", "IS NULL"}),
        ("SELECT x FROM a WHERE y > (SELECT AVG(y) FROM a)", {"WHERE", "subquery", "AVG"}),
        ("SELECT x FROM (SELECT x FROM a)", {"subquery"}),
        ("SELECT x FROM a WHERE x IN (SELECT y FROM b)", {"WHERE", "IN", "subquery"}),
        ("SELECT strftime('%Y', d), CASE WHEN x THEN 1 ELSE 0 END FROM a", {"date function", "CASE"}),
        ("SELECT date(d) FROM a", {"date function"}),
        ("SELECT julianday(d) FROM a", {"date function"}),
        ("SELECT x FROM a UNION SELECT x FROM b", {"UNION"}),
        ("WITH t AS (SELECT x FROM a) SELECT x FROM t", {"WITH"}),
        ("SELECT FROM WHERE ((", set()),
        ("", set()),
        ("DELETE FROM a", set()),
        ("words that are no query", set()),
    ],
)
def test_features(sql: str, features: set[str]) -> None:
    assert sql_features(sql) == features


def test_order_counts_at_the_top_level_only() -> None:
    assert is_ordered("SELECT x FROM a ORDER BY x")
    assert is_ordered("SELECT x FROM a UNION SELECT x FROM b ORDER BY 1")
    assert not is_ordered("SELECT x FROM (SELECT x FROM a ORDER BY x LIMIT 3)")
    assert not is_ordered("SELECT ((")


@pytest.mark.parametrize(
    ("sql", "told"), [("SELECT 1; SELECT 2", "2 statements"), ("DROP TABLE a", "not a SELECT"), ("SELECT ((", "does not parse")]
)
def test_not_one_query(sql: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_query(sql)


def test_columns_used_by_table() -> None:
    schema = {"orders": ["id", "customer_id", "date"], "customers": ["id", "city"], "products": ["price"]}
    joined = "SELECT o.id, date FROM orders o JOIN customers ON customers.id = o.customer_id WHERE city = 'Oslo'"
    assert columns_used(joined, schema) == {"orders": ["id", "date", "customer_id"], "customers": ["id", "city"]}
    assert columns_used("SELECT AVG(price) FROM products", schema) == {"products": ["price"]}
    assert columns_used("SELECT FROM WHERE (", schema) == {}


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT name FROM customers WHERE city = 'Oslo'", True),
        ("SELECT city FROM customers GROUP BY city HAVING COUNT(*) > 90", False),
        ("SELECT (", True),
    ],
)
def test_has_text_literal(sql: str, found: bool) -> None:
    assert has_text_literal(sql) == found


@pytest.mark.parametrize(
    ("sql", "flaw"),
    [
        ("SELECT name FROM c GROUP BY city HAVING AVG(points) > 80", "selects name, which it neither groups by nor aggregates"),
        ("SELECT c.name, COUNT(*) FROM c", "selects c.name, which it neither groups by nor aggregates"),
        ("SELECT SUM(q * price) FROM p GROUP BY p.category", "groups by p.category but does not select it"),
        ("SELECT a FROM t WHERE b IN (SELECT c FROM s GROUP BY d)", "selects c, which it neither groups by nor aggregates"),
        ("SELECT p.category, SUM(q * price) FROM p GROUP BY category", ""),
        ("SELECT city FROM c GROUP BY city HAVING COUNT(*) > 1", ""),
        ("SELECT COUNT(*), city FROM c GROUP BY 2", ""),
        ("SELECT strftime('%Y', d) AS y, COUNT(*) FROM t GROUP BY y", ""),
        ("SELECT x FROM (SELECT a AS x, COUNT(*) AS n FROM t GROUP BY a) ORDER BY n", ""),
        ("SELECT name, (SELECT COUNT(*) FROM o WHERE o.c = p.id) FROM p", ""),
        ("SELECT name, COUNT(*) OVER () FROM p", ""),
        ("SELECT (", ""),
        ('SELECT City, COUNT(*) FROM c GROUP BY "city"', ""),
        # by an expression
        ("SELECT substr(d, 1, 4), COUNT(*) FROM t GROUP BY substr(d, 1, 4)", ""),
        ("SELECT 'year ' || SUBSTR(t.d, 1, 4), COUNT(*) FROM t GROUP BY substr(d, 1, 4)", ""),
        ("SELECT a * b, COUNT(*) FROM t GROUP BY a * b", ""),
        (
            "SELECT substr(d, 1, 7), COUNT(*) FROM t GROUP BY substr(d, 1, 4)",
            "selects d, which it neither groups by nor aggregates",
        ),
        ("SELECT d, COUNT(*) FROM t GROUP BY substr(d, 1, 4)", "selects d, which it neither groups by nor aggregates"),
        ("SELECT COUNT(*) FROM t GROUP BY substr(d, 1, 4)", "groups by SUBSTRING(d, 1, 4) but does not select it"),
        # by a primary key
        ("SELECT p.name, AVG(rating) FROM p JOIN r ON r.p = p.id GROUP BY p.id", ""),
        ("SELECT Name, category FROM P AS x JOIN r ON r.p = X.id GROUP BY x.ID HAVING COUNT(*) > 2", ""),
        ("SELECT name || category, MAX(price) FROM p GROUP BY id", ""),
        ("SELECT q FROM i GROUP BY line, o", ""),
        ("SELECT q, COUNT(*) FROM i GROUP BY o", "selects q, which it neither groups by nor aggregates"),
        (
            "SELECT day, COUNT(*) FROM p JOIN r ON r.p = p.id GROUP BY p.id",
            "selects day, which it neither groups by nor aggregates",
        ),
        (
            "SELECT a.name, COUNT(*) FROM p a JOIN p b ON a.price < b.price GROUP BY b.id",
            "selects a.name, which it neither groups by nor aggregates",
        ),
        (
            "SELECT p.name, COUNT(*) FROM r JOIN p ON r.p = p.id GROUP BY r.p",
            "selects p.name, which it neither groups by nor aggregates",
        ),
        # a group's number is used further on
        ("SELECT AVG(n) FROM (SELECT COUNT(*) AS n FROM r GROUP BY p)", ""),
        ("WITH c AS (SELECT SUM(q) AS n FROM i GROUP BY o) SELECT MAX(n) FROM c", ""),
    ],
)
def test_grouping_flaw(sql: str, flaw: str) -> None:
    schema = {
        "p": ["id", "name", "category", "price"],
        "r": ["p", "rating", "day"],
        "i": ["o", "line", "q"],
        "t": ["a", "b", "d"],
    }
    assert grouping_flaw(sql, schema, {"p": ["id"], "r": [], "i": ["o", "line"]}) == flaw
