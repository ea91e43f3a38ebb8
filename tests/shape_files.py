"""Small files as people have them, one for each shape, made from a few words: to try shapes, `pada init` and the doctor on.

write("chat.jsonl", tmp_path)      ->   tmp_path / "chat.jsonl"
"""

import csv
import gzip
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

Rows = list[dict[str, Any]]
COUNT = 60
THINGS = ("parcel", "invoice", "refund", "password", "address", "subscription", "voucher", "return label", "newsletter", "card")
CITIES = ("Oslo", "Bergen", "Tromsø", "Malmö", "Århus", "Turku")
FATES = {"delivery": "has not come", "billing": "was charged twice", "account": "does not let me in"}


def complaint(n: int) -> str:
    fate = list(FATES.values())[n % 3]
    return f"My {THINGS[n % 10]} number {n + 3}, ordered in {CITIES[n // 10 % 6]}, {fate}."


def topic(n: int) -> str:
    return list(FATES)[n % 3]


def sums(n: int) -> tuple[str, int]:
    return f"A shop in {CITIES[n % 6]} sells {n + 2} {THINGS[n % 10]}s a day. How many in {n % 4 + 2} days?", (n + 2) * (
        n % 4 + 2
    )


def columns() -> Rows:
    return [{"user query": complaint(n), "Category": topic(n), "customer_id": n // 2} for n in range(COUNT)]


def gaps() -> Rows:
    """A context that is often not there, numbers beside nothing, ids that repeat."""
    rows: Rows = [
        {"id": n % 7, "question": complaint(n), "context": None if n % 3 else f"Case {n} is open.", "label": n % 3}
        for n in range(COUNT)
    ]
    return [*rows, {"id": 3, "question": complaint(COUNT), "label": 0}]


def chat() -> Rows:
    return [
        {
            "messages": [
                {"role": "system", "content": "Name the topic."},
                {"role": "user", "content": complaint(n)},
                {"role": "assistant", "content": topic(n)},
            ]
        }
        for n in range(COUNT)
    ]


def long_chat() -> Rows:
    rows = []
    for n in range(COUNT):
        first = [
            {"role": "user", "content": f"Good day, I am customer {n}."},
            {"role": "assistant", "content": "What is it about?"},
        ]
        last = [{"role": "user", "content": [{"type": "text", "text": complaint(n)}]}, {"role": "assistant", "content": topic(n)}]
        rows.append(
            {"messages": [*(first if n % 2 else []), *last, {"role": "user", "content": "Thanks."}], "thread_id": f"t{n}"}
        )
    return rows


def sharegpt() -> Rows:
    return [
        {
            "id": f"c{n}",
            "conversations": [
                {"from": "gpt", "value": "Hello!"},
                {"from": "human", "value": complaint(n)},
                {"from": "gpt", "value": topic(n)},
            ],
        }
        for n in range(COUNT)
    ]


def alpaca() -> Rows:
    return [
        {"instruction": sums(n)[0], "input": "" if n % 2 else f"It is day {n}.", "output": str(sums(n)[1])} for n in range(COUNT)
    ]


def worked() -> Rows:
    """As GSM8K has them."""
    return [
        {"question": question, "answer": f"{n + 2} a day make <<{n + 2}*{n % 4 + 2}={result}>>{result}.\n#### {result}"}
        for n in range(COUNT)
        for question, result in [sums(n)]
    ]


def completions() -> Rows:
    return [
        {"prompt": [{"role": "user", "content": complaint(n)}], "completion": [{"role": "assistant", "content": topic(n)}]}
        for n in range(COUNT)
    ]


def several_answers() -> Rows:
    return [{"question": f"What is {complaint(n)!r} about?", "answers": [topic(n), topic(n).upper()]} for n in range(COUNT)]


def ten_options() -> Rows:
    rows = []
    for n in range(COUNT):
        options = [f"{sums(n)[1] + k}" for k in range(10)]
        order = options[n % 10 :] + options[: n % 10]
        at = order.index(str(sums(n)[1]))
        rows.append(
            {
                "question_id": n,
                "question": sums(n)[0],
                "options": order,
                "answer": "ABCDEFGHIJ"[at],
                "answer_index": at,
                "category": "math",
            }
        )
    return rows


def option_columns() -> Rows:
    rows = []
    for n in range(COUNT):
        texts = [f"about {name}" for name in FATES]
        rows.append({"question": complaint(n), "A": texts[0], "B": texts[1], "C": texts[2], "D": "", "answer": "ABC"[n % 3]})
    return rows


def labelled_options() -> Rows:
    return [
        {
            "id": f"q{n}",
            "question": complaint(n),
            "choices": {"text": list(FATES), "label": ["1", "2", "3"]},
            "answerKey": str(n % 3 + 1),
        }
        for n in range(COUNT)
    ]


def as_json_lines(rows: Rows) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def as_table(rows: Rows, delimiter: str = ",") -> str:
    text = StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows({k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in row.items()} for row in rows)
    return text.getvalue()


# By name of the file: its bytes, and the scorer that fits.
FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "columns.csv": (lambda: as_table(columns()).encode(), "exact"),
    "excel.csv": (lambda: as_table(columns(), ";").encode("cp1252"), "exact"),
    "columns.tsv": (lambda: as_table(columns(), "\t").encode("utf-16"), "exact"),
    "columns.csv.gz": (lambda: gzip.compress(as_table(columns()).encode("utf-8-sig")), "exact"),
    "gaps.jsonl": (lambda: as_json_lines(gaps()).encode(), "exact"),
    "chat.jsonl": (lambda: as_json_lines(chat()).encode(), "exact"),
    "chat.csv": (lambda: as_table(chat()).encode(), "exact"),
    "long_chat.jsonl.gz": (lambda: gzip.compress(as_json_lines(long_chat()).encode()), "exact"),
    "sharegpt.json": (lambda: json.dumps(sharegpt(), indent=2).encode(), "exact"),
    "alpaca.json": (lambda: json.dumps(alpaca()).encode(), "numeric"),
    "worked.jsonl": (lambda: as_json_lines(worked()).encode(), "numeric"),
    "completions.jsonl": (lambda: as_json_lines(completions()).encode(), "exact"),
    "several.json": (lambda: json.dumps({"data": several_answers()}, indent=1).encode(), "exact"),
    "ten_options.parquet": (lambda: as_parquet(ten_options()), "multiple_choice"),
    "gaps.parquet": (lambda: as_parquet(gaps()), "exact"),
    "option_columns.csv": (lambda: as_table(option_columns()).encode(), "multiple_choice"),
    "labelled.jsonl": (lambda: as_json_lines(labelled_options()).encode(), "multiple_choice"),
    "listed.csv": (lambda: as_table(ten_options()).encode(), "multiple_choice"),
}


def as_parquet(rows: Rows) -> bytes:
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


def write(name: str, folder: Path) -> Path:
    """The file, written into a folder."""
    path = folder / name
    path.write_bytes(FILES[name][0]())
    return path
