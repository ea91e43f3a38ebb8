"""Makes the example's files from families.yaml and a fixed seed:
`python -m pada_agent.pipelines.examples.text_to_sql.make_data [FOLDER]`.

One line of train.jsonl:

    {"question": "When did Hugo Braun order?", "sql": "SELECT orders.date FROM orders JOIN ...", "family": "join_two"}
"""

import json
import random
import re
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from rapidfuzz import fuzz

from pada_agent.components.core.tasks.sql_features import parse_query
from pada_agent.components.core.tasks.sqlite_database import QueryError, ResultRow, SqliteDatabase, same_rows
from pada_agent.pipelines.examples.text_to_sql.make_shop import make_shop

HERE = Path(__file__).parent
SHOP_SEED, SEED = 7, 11
RARE = {"having": 3, "join_three": 3, "group_revenue": 2}
TRAIN, HELD_OUT = 120, {"validation": 80, "selection": 80, "test": 200}
# Training questions are less alike the held-out ones than this (character ratio, also with the words sorted), and no two
# splits share a run of NGRAM words: else prepare_data's and control_quality's screens would take them for the same.
MOST_ALIKE, NGRAM = 0.92, 8
MOST_ROWS = 45
TRIES = 300  # at one kind of query, before the next kind has its turn

Question = dict[str, str]


def make_rows(shop: SqliteDatabase, seed: int) -> dict[str, list[Question]]:
    """The rows of each split, in the order of the files."""
    spec = yaml.safe_load((HERE / "families.yaml").read_text(encoding="utf-8"))
    slots = {name: _values(shop, values) for name, values in spec["slots"].items()}
    splits: dict[str, list[Question]] = {"train": [], **{split: [] for split in HELD_OUT}}
    draw = random.Random(seed)
    for family, kinds in spec["families"].items():
        frequent = len(spec["families"]) - len(RARE)
        wanted = {"train": RARE.get(family, (TRAIN - sum(RARE.values())) // frequent)}
        wanted |= {split: rows // len(spec["families"]) for split, rows in HELD_OUT.items()}
        _fill(splits, wanted, family, kinds, slots, shop, draw)
    for rows in splits.values():
        draw.shuffle(rows)
    return splits


def _fill(
    splits: dict[str, list[Question]],
    wanted: dict[str, int],
    family: str,
    kinds: list[dict[str, Any]],
    slots: dict[str, list[tuple[str, str]]],
    shop: SqliteDatabase,
    draw: random.Random,
) -> None:
    """Adds `wanted` rows of one family to each split; the kinds of query take turns, so that no split lacks one."""
    for split in sorted(wanted, key=lambda s: wanted[s]):
        turns = _turns(kinds, draw)
        for _ in range(wanted[split]):
            tries = (_draw_row(family, kind, slots, draw) for kind in islice(turns, 2 * len(kinds)) for _ in range(TRIES))
            row = next((r for r in tries if r and _is_new(r, split, splits) and is_telling(r["sql"], shop)), None)
            if row is None:
                raise SystemExit(f"families.yaml: {family}: not enough different questions for {split}")
            splits[split].append(row)


def _turns(kinds: list[dict[str, Any]], draw: random.Random) -> Iterator[dict[str, Any]]:
    while True:
        yield from draw.sample(kinds, len(kinds))


def _draw_row(family: str, kind: dict[str, Any], slots: dict[str, list[tuple[str, str]]], draw: random.Random) -> Question | None:
    """A question of one kind with drawn values; None if a range came out upside down."""
    question = re.sub(r"\[([^]]+)\]", lambda m: draw.choice(m.group(1).split("|")), draw.choice(kind["ask"]))
    sql = kind["sql"]
    for slot in sorted(set(re.findall(r"{(\w+)}", sql)), reverse=True):
        base = slot.rstrip("2")
        words, value = draw.choice(slots[base])
        if slot != base:
            higher = draw.randrange(1, 5)
            at = draw.randrange(len(slots[base]))
            if at + higher >= len(slots[base]):
                return None
            lower_words, lower_value = slots[base][at]
            question, sql = question.replace(f"{{{base}}}", lower_words), sql.replace(f"{{{base}}}", lower_value)
            words, value = slots[base][at + higher]
        question, sql = question.replace(f"{{{slot}}}", words), sql.replace(f"{{{slot}}}", value)
    return {"question": question, "sql": sql, "family": family}


def _is_new(row: Question, split: str, splits: dict[str, list[Question]]) -> bool:
    text, grams = normal(row["question"]), ngrams(row["question"])
    for other_split, rows in splits.items():
        for other in rows:
            known = normal(other["question"])
            if text == known or row["sql"] == other["sql"]:
                return False
            if split != other_split and grams & ngrams(other["question"]):
                return False
            if "train" in (split, other_split) and split != other_split and alike(text, known) >= MOST_ALIKE:
                return False
    return True


def is_telling(sql: str, shop: SqliteDatabase) -> bool:
    """Whether only the right query gives these rows: each clause matters, nothing is empty, no order is left to chance, and
    no row comes twice, which a question in plain words seldom asks for."""
    gold = shop.rows(sql)
    if not 0 < len(gold) <= MOST_ROWS or all(value in (None, 0) for row in gold for value in row):
        return False
    changed = [_without(sql, clause) for clause in ("where", "having", "limit", "order")]
    changed.append(sql.replace(" DESC", "") if " DESC" in sql else sql.replace(" LIMIT", " DESC LIMIT"))
    if any(other and other != sql and _same(other, gold, shop) for other in changed):
        return False
    if "ORDER BY" in sql and not all(_same(_tie(sql, tie), gold, shop) for tie in ("id", "id DESC")):
        return False
    if not _same(sql.replace("SELECT ", "SELECT DISTINCT ", 1), gold, shop):
        return False
    return not re.search(r"> '\d{4}-", sql) or _same(sql.replace("> '", ">= '"), gold, shop)


def _same(sql: str, gold: list[ResultRow], shop: SqliteDatabase) -> bool:
    try:
        return same_rows(shop.rows(sql), gold, "ORDER BY" in sql)
    except QueryError:
        return False


def _without(sql: str, clause: str) -> str:
    """`sql` without one of its clauses, '' if it has none."""
    query = parse_query(sql)
    if not query.args.get(clause):
        return ""
    query.set(clause, None)
    return query.sql(dialect="sqlite")


def _tie(sql: str, tie: str) -> str:
    return sql.replace(" LIMIT", f", {tie} LIMIT")


def normal(question: str) -> str:
    """The question's words, lower case, without punctuation."""
    return " ".join(re.findall(r"[\w.]+", question.lower().rstrip(".?")))


def ngrams(question: str) -> set[str]:
    """Every run of NGRAM words."""
    words = normal(question).split()
    return {" ".join(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1)}


def alike(a: str, b: str) -> float:
    """Similarity of two normal questions, 0 to 1."""
    return max(fuzz.ratio(a, b), fuzz.token_sort_ratio(a, b)) / 100


def _values(shop: SqliteDatabase, values: str | list[Any]) -> list[tuple[str, str]]:
    """Pairs of how a value reads in a question and in SQL."""
    if isinstance(values, str):
        return [(str(v), str(v)) for (v,) in shop.rows(values)]
    return [(str(v[0]), str(v[1])) if isinstance(v, list) else (str(v), str(v)) for v in values]


def main(folder: Path = HERE) -> None:
    """Writes shop.sql and the four JSONL files."""
    script = make_shop(SHOP_SEED)
    (folder / "shop.sql").write_text(script, encoding="utf-8")
    for split, rows in make_rows(SqliteDatabase(script), SEED).items():
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
