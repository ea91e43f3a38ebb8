"""Queries of unknown origin: nothing is written, nothing runs for long, and an error names what there is."""

import random
import time
from pathlib import Path

import pytest

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.tasks.sqlite_database import ROW_CAP, QueryError, SqliteDatabase, same_rows

SCRIPT = """
CREATE TABLE customers(id INTEGER PRIMARY KEY, name TEXT, city TEXT);
CREATE TABLE orders(id INTEGER PRIMARY KEY, customer_id INTEGER, total REAL, date TEXT);
INSERT INTO customers VALUES (1, 'Anna', 'Oslo'), (2, 'Rui', 'Porto'), (3, 'Ida', NULL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
INSERT INTO orders SELECT i, i % 3 + 1, i * 1.5, date('2024-01-01', i || ' days') FROM n;
"""
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"


@pytest.fixture(scope="module")
def shop() -> SqliteDatabase:
    return SqliteDatabase(SCRIPT)


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("DELETE FROM customers", "not authorized"),
        ("DROP TABLE customers", "not authorized"),
        ("UPDATE customers SET city = 'Rome'", "not authorized"),
        ("REPLACE INTO customers VALUES (1, 'x', 'y')", "not authorized"),
        ("CREATE TABLE loot AS SELECT * FROM customers", "not authorized"),
        ("CREATE TEMP TABLE loot(x)", "not authorized"),
        ("BEGIN EXCLUSIVE", "not authorized"),
        ("DETACH DATABASE main", "not authorized"),
        ("WITH x AS (SELECT 1) INSERT INTO customers SELECT 9, 'x', 'y'", "not authorized"),
        ("PRAGMA table_info(customers)", "not authorized"),
        ("SELECT * FROM pragma_table_info('customers')", "not authorized"),
        ("ATTACH 'other.db' AS other", "not authorized"),
        ("VACUUM INTO 'copy.db'", "authorization denied"),
        ("SELECT load_extension('evil')", "not authorized"),
        ("SELECT printf('%.1000000000c', 'x')", "not authorized"),
        (f"{ENDLESS} SELECT COUNT(*) FROM n", "runs too long"),
        ("SELECT COUNT(*) FROM orders a, orders b, orders c, orders d, orders e", "runs too long"),
        (
            "SELECT hex(hex(hex(hex(hex(hex(hex(a.name))))))) FROM customers a, orders b, orders c, orders, orders e ORDER BY 1",
            "too long",
        ),
        (f"{ENDLESS} SELECT i FROM n", f"more than {ROW_CAP} rows"),
        ("SELECT hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex(hex('abcdefgh'))))))))))))", "too big"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("SELECT 'a\ud800'", "surrogates"),
        ("SELECT :a", "binding"),
    ],
)
def test_refuses_quickly(shop: SqliteDatabase, sql: str, reason: str) -> None:
    start = time.monotonic()
    with pytest.raises(QueryError, match=reason):
        shop.rows(sql)
    assert time.monotonic() - start < 5
    assert shop.rows("SELECT COUNT(*) FROM customers") == [(3,)], "the database is as it was and answers on"


def test_no_query_makes_a_file(shop: SqliteDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for sql in ("ATTACH 'other.db' AS other", "VACUUM INTO 'copy.db'", "SELECT writefile('x', 'y')", "SELECT edit('x')"):
        with pytest.raises(QueryError):
            shop.rows(sql)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT * FROM clients", "no such table: clients; there are customers, orders"),
        ("SELECT orders.sum FROM orders", "no such column: orders.sum; orders has id, customer_id, total, date"),
        ("SELECT o.sum FROM customers c JOIN orders AS o", "no such column: o.sum; orders has id, customer_id, total, date"),
        ("SELECT customers.city FROM orders", "no such column: customers.city; customers is not in FROM, join it"),
        ("SELECT city FROM orders", "no such column: city; orders has id, customer_id, total, date; city is in customers"),
    ],
)
def test_error_says_what_there_is(shop: SqliteDatabase, sql: str, told: str) -> None:
    with pytest.raises(QueryError) as error:
        shop.rows(sql)
    assert str(error.value) == told


def test_long_values_of_the_database_stay_readable() -> None:
    database = SqliteDatabase(f"CREATE TABLE t(x TEXT, y TEXT); INSERT INTO t VALUES ('{'a' * 300_000}', 'b');")
    assert len(database.rows("SELECT x, y FROM t ORDER BY y")[0][0]) == 300_000


def test_schema_and_examples(shop: SqliteDatabase) -> None:
    assert shop.schema() == "customers(id, name, city)\norders(id, customer_id, total, date)"
    assert shop.examples(most=2).splitlines() == [
        "customers: id: 1 to 3; name: Anna, Ida, ...; city: Oslo, Porto",
        "orders: id: 1 to 60; customer_id: 1 to 3; total: 1.5 to 90.0; date: 2024-01-02 to 2024-03-01",
    ]


def test_examples_spread_over_the_values_and_are_drawn_anew_for_each_draw() -> None:
    names = ", ".join(f"('{chr(65 + i)}{i % 10}', {i % 3})" for i in range(26))
    database = SqliteDatabase(
        "CREATE TABLE codes(code TEXT PRIMARY KEY, n INTEGER);"
        "CREATE TABLE uses(code TEXT REFERENCES codes(code), votes INTEGER);"
        f"INSERT INTO codes VALUES {names}; INSERT INTO uses VALUES ('A0', 2), ('A0', 7), ('B1', 9);"
    )
    assert database.examples(most=3) == "codes: code: A0, I8, R7, ...; n: 0 to 2\nuses: votes: 2, 7, 9"
    draws = {database.examples(3, random.Random(i)) for i in range(9)}
    assert len(draws) == 9
    assert all(len(draw.split(";")[0].split(", ")) == 4 and "n: 0 to 2" in draw for draw in draws)


@pytest.mark.parametrize(("script", "told"), [("CREATE TABEL x", "syntax error"), ("-- nothing", "creates no table")])
def test_bad_script(script: str, told: str) -> None:
    with pytest.raises(InputError, match=f"^shop.sql: .*{told}"):
        SqliteDatabase(script, "shop.sql")


@pytest.mark.parametrize(
    ("found", "gold", "ordered", "same"),
    [
        ([(1, "a"), (2, "b")], [(2, "b"), (1, "a")], False, True),
        ([(1, "a"), (2, "b")], [(2, "b"), (1, "a")], True, False),
        ([(1,), (1,), (2,)], [(1,), (2,), (2,)], False, False),
        ([(1.0,)], [(1,)], False, True),
        ([(0.1 + 0.2,)], [(0.3,)], False, True),
        ([(23.46,), (7,)], [(7,), (23.4567,)], False, True),
        ([(23.5,)], [(23.4567,)], False, False),
        ([(23,)], [(23.4567,)], False, False),
        ([("1",)], [(1,)], False, False),
        ([(None,)], [(0,)], False, False),
        ([(1, 2)], [(1,)], False, False),
        ([], [], False, True),
        ([(1.3,), (1.36,)], [(1.31,), (1.36,)], False, False),
    ],
)
def test_same_rows(found: list[tuple], gold: list[tuple], ordered: bool, same: bool) -> None:
    assert same_rows(found, gold, ordered) is same
