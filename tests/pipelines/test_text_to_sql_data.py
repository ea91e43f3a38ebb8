"""The text-to-SQL example: files made by their maker, the promised sizes, no row twice, queries that tell right from wrong."""

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from pada_agent.components.core.tasks.sqlite_database import SqliteDatabase
from pada_agent.pipelines.examples.text_to_sql import make_data

FOLDER = Path(make_data.__file__).parent
SIZES = {"train": 120, "validation": 80, "selection": 80, "test": 200}
RARE = {"having", "join_three", "group_revenue"}


@pytest.fixture(scope="module")
def splits() -> dict[str, list[dict[str, str]]]:
    return {s: [json.loads(line) for line in (FOLDER / f"{s}.jsonl").read_text(encoding="utf-8").splitlines()] for s in SIZES}


@pytest.fixture(scope="module")
def shop() -> SqliteDatabase:
    return SqliteDatabase((FOLDER / "shop.sql").read_text(encoding="utf-8"))


def test_made_again_the_files_are_the_same(tmp_path: Path) -> None:
    make_data.main(tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(made) == {"shop.sql", *(f"{split}.jsonl" for split in SIZES)}
    assert [name for name, text in made.items() if text != (FOLDER / name).read_bytes()] == []


def test_sizes_and_families(splits: dict[str, list[dict[str, str]]]) -> None:
    assert {split: len(rows) for split, rows in splits.items()} == SIZES
    counts = {split: Counter(row["family"] for row in rows) for split, rows in splits.items()}
    assert len(counts["test"]) == 10 and set(counts["test"]) > RARE
    for split in ("validation", "selection", "test"):
        assert set(counts[split].values()) == {SIZES[split] // 10}
    assert all((2 <= n <= 3) if family in RARE else n == 16 for family, n in counts["train"].items())


def test_the_readme_shows_rows_that_are_there(splits: dict[str, list[dict[str, str]]]) -> None:
    shown = re.findall(r"^\| `(\w+)`(?: \(rare\))? \| (.+?) \| (\d+) \|", (FOLDER / "README.md").read_text(), re.M)
    assert {family for family, *_ in shown} == {row["family"] for row in splits["test"]}
    for family, question, count in shown:
        assert any(row["question"] == question and row["family"] == family for row in splits["test"]), question
        assert sum(row["family"] == family for row in splits["train"]) == int(count)


def test_no_split_repeats_another(splits: dict[str, list[dict[str, str]]]) -> None:
    for one, two in combinations(splits, 2):
        assert not {r["sql"] for r in splits[one]} & {r["sql"] for r in splits[two]}
        grams = set().union(*(make_data.ngrams(r["question"]) for r in splits[two]))
        questions = [make_data.normal(r["question"]) for r in splits[two]]
        for row in splits[one]:
            assert not make_data.ngrams(row["question"]) & grams, row
            if one == "train":
                text = make_data.normal(row["question"])
                assert max(make_data.alike(text, other) for other in questions) < make_data.MOST_ALIKE, row


def test_no_question_twice(splits: dict[str, list[dict[str, str]]]) -> None:
    questions = Counter(make_data.normal(row["question"]) for rows in splits.values() for row in rows)
    assert questions.most_common(1)[0][1] == 1


def test_each_query_tells_right_from_wrong(splits: dict[str, list[dict[str, str]]], shop: SqliteDatabase) -> None:
    for rows in splits.values():
        assert [row for row in rows if not make_data.is_telling(row["sql"], shop)] == []


def test_results_differ_between_rows(splits: dict[str, list[dict[str, str]]], shop: SqliteDatabase) -> None:
    results = Counter(str(shop.rows(row["sql"])) for row in splits["test"])
    assert len(results) >= 170 and results.most_common(1)[0][1] <= 6


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT name FROM customers WHERE city = 'Rome'",
        "SELECT COUNT(*) FROM customers WHERE id > 0",
        "SELECT city FROM customers GROUP BY city HAVING COUNT(*) > 0",
        "SELECT rating FROM reviews WHERE product_id = 5",
        "SELECT name FROM customers ORDER BY country LIMIT 3",
        "SELECT AVG(points) FROM customers WHERE city = 'Rome'",
    ],
)
def test_a_query_that_tells_nothing_is_not_drawn(sql: str, shop: SqliteDatabase) -> None:
    assert not make_data.is_telling(sql, shop)
