"""Text-to-SQL on the example's shop: gold is right, everything else is judged by its rows."""

import json
from pathlib import Path

import pytest

from pada_agent.components.core.cost.tokens import token_count
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.task import CodeResult
from pada_agent.components.core.tasks.text_to_sql import (
    TextToSql,
    TextToSqlAnswer,
    TextToSqlQuestion,
    TextToSqlSample,
    first_statement,
)

TEXT_TO_SQL = Path(__file__).parents[4] / "pipelines" / "examples" / "text_to_sql"
OSLO = "SELECT COUNT(*) FROM customers WHERE city = 'Oslo'"
DEAREST = "SELECT name FROM products ORDER BY price DESC LIMIT 3"


def no_code(program: str, seconds: float) -> CodeResult:
    raise AssertionError("text-to-SQL runs no code")


@pytest.fixture(scope="module")
def task() -> TextToSql:
    loaded = load_task("text_to_sql", {"database": str(TEXT_TO_SQL / "shop.sql")})
    assert isinstance(loaded, TextToSql)
    return loaded


def row(sql: str, question: str = "How many customers live in Oslo?") -> dict[str, str]:
    return {"question": question, "sql": sql, "family": "secret_family"}


def verdict(task: TextToSql, gold: str, output: str) -> tuple[bool, bool, str]:
    score = task.score(row(gold), output, no_code)
    return score.correct, score.valid, score.detail


def test_gold_is_right_and_empty_is_wrong(task: TextToSql) -> None:
    for split in ("train", "validation", "selection", "test"):
        for line in (TEXT_TO_SQL / f"{split}.jsonl").read_text(encoding="utf-8").splitlines():
            fields = task.read(json.loads(line))
            assert task.score(fields, task.target(fields), no_code).correct, line
            assert not task.score(fields, "", no_code).correct
            assert task.features(fields) or "WHERE" not in fields["sql"]


@pytest.mark.parametrize("output", ["", " \n", ";", "```sql\n```", "SQL:", "I do not know."])
def test_nothing_is_never_right(task: TextToSql, output: str) -> None:
    gold_without_rows = "SELECT name FROM customers WHERE city = 'Rome'"
    assert verdict(task, gold_without_rows, output)[:2] == (False, False)


@pytest.mark.parametrize(
    ("gold", "output", "expected"),
    [
        (OSLO, "SELECT SUM(city = 'Oslo') AS oslo FROM customers", (True, True, "")),
        (OSLO, "SELECT 9.0", (True, True, "")),
        (OSLO, "SELECT COUNT(*) FROM customers", (False, True, "gives other values, e.g. 40 where 9 is expected first")),
        (OSLO, "SELECT name FROM customers", (False, True, "gives 40 rows, expected 1")),
        (OSLO, "SELECT 9, 9", (False, True, "gives 2 columns, expected 1")),
        (OSLO, "SELECT name FROM customers WHERE city = 'Rome'", (False, True, "gives no rows, expected 1")),
        (OSLO, "DROP TABLE customers", (False, False, "no SELECT")),
        (OSLO, "SELECT COUNT(*) FROM clients WHERE", (False, False, "error: incomplete input")),
        (OSLO, "WITH x AS (SELECT 1) DELETE FROM customers", (False, False, "error: not authorized")),
        (
            DEAREST,
            f"SELECT name FROM ({DEAREST}) ORDER BY name",
            (False, True, "gives the right rows in the wrong order"),
        ),
    ],
)
def test_verdicts(task: TextToSql, gold: str, output: str, expected: tuple[bool, bool, str]) -> None:
    assert verdict(task, gold, output) == expected


def test_order_matters_only_if_asked_for(task: TextToSql) -> None:
    gold = "SELECT name FROM products WHERE category = 'tea'"
    assert verdict(task, gold, f"{gold} ORDER BY price")[0]
    assert not verdict(task, f"{gold} ORDER BY price", f"{gold} ORDER BY price DESC")[0]


def test_a_write_leaves_the_next_verdict_alone(task: TextToSql) -> None:
    verdict(task, OSLO, "WITH x AS (SELECT 1) DELETE FROM customers")
    assert verdict(task, OSLO, OSLO)[0]


@pytest.mark.parametrize(
    ("output", "sql"),
    [
        ("SELECT 1", "SELECT 1"),
        ("  SELECT 1;\nDROP TABLE x", "SELECT 1"),
        ("```sql\nSELECT 1;\n```\nIt counts.", "SELECT 1"),
        ("Here it is:\n```\nSELECT 1\n```", "SELECT 1"),
        ("```sqlite\nSELECT 1", "SELECT 1"),
        ("SQL: SELECT 1", "SELECT 1"),
        ("Answer:\nSELECT 1", "SELECT 1"),
        ("SELECT ';' || \"a;b\"; SELECT 2", "SELECT ';' || \"a;b\""),
        ("SELECT 'it''s; fine'; x", "SELECT 'it''s; fine'"),
        ("SELECT 'open; x", "SELECT 'open"),
        ("", ""),
    ],
)
def test_first_statement(output: str, sql: str) -> None:
    assert first_statement(output) == sql


def test_family_is_shown_to_nobody(task: TextToSql) -> None:
    fields = row(OSLO)
    shown = [task.messages(fields), task.target(fields), task.question(fields), task.reference(fields), task.description]
    shown += [task.sample_of(fields).model_dump_json(), *task.private_texts(fields), *task.features(fields)]
    assert "secret_family" not in str(shown)
    assert task.messages(fields)[-1]["content"] == "How many customers live in Oslo?"
    assert OSLO not in str(task.messages(fields))


def test_description_names_tables_values_and_what_counts(task: TextToSql) -> None:
    for part in (
        "customers(id, name, city, country, joined, points)",
        "category: coffee, garden",
        "orders: id: 1 to 150; date: 2023-",
    ):
        assert part in task.description
    assert token_count(task.description) < 600, "it is in every prompt, and an embedded teacher reads 50 tokens a second"


def test_repeated_rows_and_order_count_as_the_description_says(task: TextToSql) -> None:
    days = "SELECT o.date FROM orders o JOIN order_items i ON i.order_id = o.id"
    assert "Repeated rows count, so DISTINCT only where the question says different" in task.description
    assert not verdict(task, days, days.replace("SELECT", "SELECT DISTINCT"))[0]
    assert "their order counts only where the question asks for one" in task.description
    assert verdict(task, days, f"{days} ORDER BY 1")[0] and not verdict(task, f"{days} ORDER BY 1", f"{days} ORDER BY 1 DESC")[0]


def test_each_draw_shows_other_values_of_the_same_database(task: TextToSql) -> None:
    drawn = [task.describe(f"s{i}/0") for i in range(5)]
    assert len({*drawn, task.description}) == 6 and drawn[0] == task.describe("s0/0")
    names = [{n for (n,) in task.database.rows("SELECT name FROM customers") if n in text} for text in drawn]
    assert all(len(shown) == 10 for shown in names) and len(set().union(*names)) > 20
    start, _, _ = task.description.partition("Values in them:")
    assert all(text.startswith(start) for text in drawn)


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        (OSLO, ""),
        ("SELECT name FROM customers WHERE city = 'Rome'", "the query gives no rows; ask for values that exist in the database"),
        ("SELECT AVG(points) FROM customers WHERE city = 'Rome'", "the query gives only NULL or 0; ask for"),
        ("SELECT COUNT(*) FROM customers WHERE city = 'Rome'", "the query gives only NULL or 0; ask for"),
        ("SELECT product_id FROM reviews GROUP BY product_id HAVING COUNT(*) > 90", ""),
        (
            "SELECT name FROM customers GROUP BY city HAVING AVG(points) > 80",
            "the query selects name, which it neither groups by",
        ),
        (
            "SELECT orders.id FROM orders WHERE customers.city = 'Oslo'",
            "the query fails: no such column: customers.city; customers is not in FROM, join it: orders.customer_id =",
        ),
        ("SELECT o.total FROM orders o", "the query fails: no such column: o.total; orders has id, customer_id, date, status"),
        ("SELECT name FROM clients", "the query fails: no such table: clients; there are customers, suppliers, products"),
    ],
)
def test_verify(task: TextToSql, sql: str, reason: str) -> None:
    found = task.verify(row(sql), no_code)
    assert found.startswith(reason) and bool(found) == bool(reason)


def test_sample_to_fields(task: TextToSql) -> None:
    sample = TextToSqlSample(tables="customers(city)", question="How many  customers\nlive in Oslo?", sql=f"{OSLO};\n")
    assert task.fields_of(sample, {}) == {"question": "How many customers live in Oslo?", "sql": OSLO, "family": ""}


@pytest.mark.parametrize(
    ("question", "sql", "told"),
    [
        ("How many are there?", "SELECT 1 FROM a; SELECT 2 FROM b", "^sql: is 2 statements"),
        ("How many are there?", "DELETE FROM customers", "^sql: is not a SELECT"),
        ("How many are there?", "SELECT name FROM (customers", "^sql: does not parse"),
        ("How many are there?", "SELECT name FROM a -- all of them", "^sql: has a comment"),
        ("SELECT name FROM customers", "SELECT name FROM customers", "^question: is a query"),
    ],
)
def test_sample_refused_with_a_reason(task: TextToSql, question: str, sql: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        task.fields_of(TextToSqlSample(tables="customers(city)", question=question, sql=sql), {})


def test_a_query_is_run_before_its_question_is_written(task: TextToSql) -> None:
    assert task.answer_of(row(OSLO)).model_dump() == {"tables": "customers(city)", "sql": OSLO}
    assert task.question_of(row(OSLO)).model_dump() == {"question": "How many customers live in Oslo?"}
    answer = task.answered(TextToSqlAnswer(tables="products(name, price)", sql=f"{DEAREST};"))
    assert answer == {"question": "", "sql": DEAREST, "family": ""}
    assert task.verify(answer, no_code) == "" and task.features(answer) == {"ORDER BY", "LIMIT"}
    assert task.result_of(answer) == "3 rows of (name), the first: 'Tray'; 'Scale'; 'French Press'"
    assert task.result_of({**answer, "sql": f"{DEAREST} OFFSET 999"}) == "0 rows of (name)"
    whole = task.with_question(answer, TextToSqlQuestion(question="The three  dearest products"))
    assert whole == {**answer, "question": "The three dearest products"}
    with pytest.raises(InputError, match="sql: is not a SELECT"):
        task.answered(TextToSqlAnswer(tables="customers", sql="DELETE FROM customers"))
    with pytest.raises(InputError, match="question: is a query"):
        task.with_question(answer, TextToSqlQuestion(question=DEAREST))


def test_a_long_training_row_is_still_an_example(task: TextToSql) -> None:
    assert len(json.loads(task.sample_of(row(OSLO, "x" * 500)).model_dump_json())["question"]) == 500


def test_bad_rows_and_options(task: TextToSql, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^sql: no such table: clients"):
        task.read({"question": "Who?", "sql": "SELECT * FROM clients"})
    with pytest.raises(InputError, match=r"^sql: Field required"):
        task.read({"question": "Who?"})
    with pytest.raises(InputError, match="no database"):
        TextToSql({})
    with pytest.raises(InputError, match="'databse' is not known"):
        TextToSql({"databse": "x.sql"})
    with pytest.raises(InputError, match=r"^task\.options\.database: .*none\.sql: cannot be read \(No such file or directory\)"):
        TextToSql({"database": str(tmp_path / "none.sql")})


def test_database_travels_as_an_asset(task: TextToSql, tmp_path: Path) -> None:
    for name, text in task.assets().items():
        (tmp_path / name).write_text(text)
    elsewhere = TextToSql({"database": "/not/here.sql"}, assets=tmp_path)
    assert elsewhere.description == task.description
