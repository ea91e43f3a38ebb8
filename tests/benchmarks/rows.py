"""Rows to measure with: SQuAD's where they are given, else rows of the same make from this repository's own text."""

import json
import random
from itertools import islice
from pathlib import Path
from typing import Any

from pada_agent.components.core.slm_interface import Example
from pada_agent.components.core.tasks.registry import load_task

ROOT = Path(__file__).parents[2]
SQUAD = ROOT.parent / "shared" / "data" / "benchmarks" / "squad"


def examples(folder: str, split: str, count: int) -> list[Example]:
    """`count` rows of `raw_rows` as chats with their answers."""
    task = load_task("squad", {})
    rows = [task.read(row) for row in raw_rows(folder, split, count)]
    return [Example(id=str(i), messages=task.messages(row), target=task.target(row)) for i, row in enumerate(rows)]


def raw_rows(folder: str, split: str, count: int) -> list[dict[str, Any]]:
    """Questions on a paragraph. `folder` holds SQuAD's train.jsonl and val.jsonl; '' looks where the tests do."""
    file = Path(folder or SQUAD) / f"{split}.jsonl"
    if not folder and not file.exists():
        return made(count, split)
    with file.open() as lines:
        return [json.loads(line) for line in islice(lines, count)]


def source(folder: str) -> str:
    """What `examples` takes its rows from."""
    return "SQuAD" if folder or SQUAD.exists() else "made from this repository's READMEs"


def made(count: int, split: str) -> list[dict[str, Any]]:
    """Paragraphs of 40 to 220 words, as SQuAD's are, and which words follow others in them."""
    words = " ".join(p.read_text() for p in sorted(ROOT.glob("**/README.md")) if ".venv" not in p.parts).split()
    chance = random.Random(split)
    rows = []
    for _ in range(count):
        length = chance.randint(40, 220)
        start = chance.randrange(len(words) - length)
        text = words[start : start + length]
        at = chance.randrange(length - 6)
        question = f"Which words come after '{' '.join(text[at : at + 3])}'?"
        rows.append({"context": " ".join(text), "question": question, "answers": [" ".join(text[at + 3 : at + 6])]})
    return rows
