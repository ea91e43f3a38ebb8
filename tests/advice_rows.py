"""Rows of a task without one right answer, from words that a seed makes up, and a scorer that reads what it is shown.

{"question": "How do I mend a tovi from Garu?", "answer": "First clean the tovi. Then ...", "human": "4"}
"""

import csv
import random
import re
from pathlib import Path
from typing import Any

SCORING, COMPARING = "You score the answers of a small language model", "You compare two answers to one question"
RUBRIC = "Names a first step that can be done today."
SIZES = {"train": 10, "validation": 6, "selection": 4, "test": 5}
_PART = re.compile(r"^(==[0-9a-f]{16}==) (.+)\n((?:.*\n)*?)\1$", re.MULTILINE)


def word(draw: random.Random) -> str:
    """One that no other row has."""
    return "".join(draw.choice("bdfgklmnprstvz") + draw.choice("aeiou") for _ in range(4))


def row(split: str, number: int) -> dict[str, str]:
    """Its words are in no other row."""
    draw = random.Random(f"{split}{number}")
    thing, place, step, tool = (word(draw) for _ in range(4))
    return {
        "question": f"How do I mend a {thing} from {place.title()}?",
        "answer": f"{step.title()} it with {tool} {word(draw)}.",
        "human": str(1 + number % 5) if split == "train" else "",
    }


def write(folder: Path) -> dict[str, str]:
    """A CSV file for each split; their paths."""
    files = {split: folder / f"{split}.csv" for split in SIZES}
    for split, file in files.items():
        with file.open("w", newline="") as out:
            table = csv.DictWriter(out, ["question", "answer", "human"])
            table.writeheader()
            table.writerows(row(split, number) for number in range(SIZES[split]))
    return {split: str(file) for split, file in files.items()}


def options(**more: Any) -> dict[str, Any]:
    """Of a custom task."""
    return {
        "prompt": "question",
        "answer": "answer",
        "scorer": "judge",
        "rubric": RUBRIC,
        "description": "Advice on mending things.",
        "threshold": 0.75,
        **more,
    }


def parts(ask: Any) -> dict[str, str]:
    """What stands between the marks, by the words behind the first one; also of an ask that is asked again."""
    return {name: text.strip() for _, name, text in _PART.findall(ask.messages[1]["content"] + "\n")}


def scored(ask: Any) -> str:
    """The answer that is to be scored."""
    return parts(ask)["answer to be scored"]
