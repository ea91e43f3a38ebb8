"""How much of planted held-out text the leak screens find, and how much honest text they take for it.

    python tests/benchmarks/leak_screen.py FOLDER [--rows 300]

FOLDER has a folder for each data set with train.jsonl, val.jsonl and test.jsonl as published. A run's training rows are the first
300; honest rows are training rows that the run does not have. Copies of held-out rows are planted among them, changed in several
ways. Prints a table with 95 % intervals; takes about two minutes.
"""

import argparse
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pada_agent.components.analyze_patterns.screen import word_screen
from pada_agent.components.core.records import Fields, Prediction, Score, TrainRow
from pada_agent.components.core.separation.duplicates import tokens
from pada_agent.components.core.separation.leakage import Fingerprints
from pada_agent.components.core.statistics import wilson_interval
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.task import Task

TASKS = ("squad", "gsm8k", "arc_challenge", "hellaswag")
TRAINED, FAILURES = 300, 50
Change = Callable[[str, random.Random, list[str]], str]

SYNONYMS = dict(
    re.findall(
        r"(\S+)=(\S+)",
        """
    buys=purchases bought=purchased big=large large=big small=little begin=start started=began begins=starts
    kids=children children=kids house=home total=sum each=every every=each gives=hands gave=handed money=cash
    store=shop shop=store also=too but=yet because=since near=close rock=stone rocks=stones most=mainly
    likely=probably best=ideal often=frequently shows=displays show=display makes=produces make=produce
    made=produced use=employ used=employed help=aid helps=aids need=require needs=requires many=numerous
    people=persons person=individual man=gentleman woman=lady picture=image fast=quick quickly=rapidly walks=strolls
    runs=races looks=gazes sits=rests stands=waits get=obtain gets=obtains got=obtained keep=retain kept=retained
    left=remaining sold=vended sells=vends costs=runs cost=price earns=makes works=labours job=post year=annum
    weekly=each-week describes=characterises causes=produces cause=produce happens=occurs happen=occur
    result=outcome change=alteration changes=alterations student=pupil students=pupils teacher=instructor
    food=nourishment animals=creatures animal=creature plants=vegetation area=region city=town country=nation
    created=formed called=named name=title type=kind types=kinds important=significant
    """,
    )
)
OPENINGS = {
    "How many": "What number of",
    "How much": "What amount of",
    "Which of the following": "Which one of these",
    "Which of these": "Which one of the following",
    "What is": "Can you tell what is",
    "What was": "Can you tell what was",
    "Who was": "Can you name who was",
    "When did": "At what time did",
    "In what year": "What year was it when",
    "Where": "At what place",
}
DIGITS = dict(zip("23456789", ["two", "three", "four", "five", "six", "seven", "eight", "nine"], strict=True))
HONEST_TEXTS = [
    "Multi-step arithmetic. The model stops after the first operation and forgets to combine intermediate results.",
    "Practise problems in which a percentage of a remainder is taken. Vary the order of the operations and the units.",
    "Unit conversion. Problems that mix hours and minutes, or that ask for a yearly total of weekly amounts.",
    "Write word problems in which irrelevant numbers are given, and let the solution say which numbers are needed.",
    "The model confuses 'more than' with 'times as many', so comparisons come out wrong.",
    "Write problems about sharing, discounts and rates, with two to five steps and whole-number results.",
    "Answer span too long. The model copies the whole sentence instead of the shortest phrase that answers the question.",
    "Write passages that name several dates and ask for one of them, so that the reader must match the event to the right date.",
    "Questions whose wording differs from the passage: use synonyms and passive voice, and keep the answer a verbatim span.",
    "The model picks the first person that is mentioned rather than the one who did what the question asks about.",
    "Paraphrased questions about causes and effects. Vary where in the paragraph the evidence stands.",
    "Include distractors of the same type as the answer, such as two places or two organisations in one passage.",
    "Negated questions. Practise questions with words such as 'not' or 'except', with one clearly correct option.",
    "The model chooses options that repeat words of the question although another option explains the process.",
    "Write science questions that apply a definition to an everyday situation, with three plausible wrong options.",
    "Experimental design: which variable is changed, which is measured, and what must be kept the same.",
    "Questions on energy, forces, ecosystems and the weather that need one inference beyond recall.",
    "The model prefers endings that are fluent but do not follow from what the person has just done.",
    "Write descriptions of physical activities in which the next step follows from the tools that are mentioned.",
    "Vary subject, setting and tense, and make wrong endings grammatical but impossible in the situation.",
    "Temporal order. The continuation must not repeat an action that has been completed already.",
    "Queries that keep only groups above a threshold need HAVING; the model puts the condition into WHERE or leaves it out.",
    "Practise joining three tables along their foreign keys, and vary which columns are selected.",
    "Aggregates over expressions. Multiply quantity and price inside SUM rather than after it.",
    "The model ignores the requested order and the limit. Ask for the highest or lowest few rows.",
]


@dataclass(frozen=True)
class Line:
    """One line of the table: so many of `n` texts were taken for held-out text."""

    task: str
    kind: str
    hits: int
    n: int

    @property
    def share(self) -> float:
        return self.hits / self.n if self.n else 0.0

    def __str__(self) -> str:
        low, high = wilson_interval(self.hits, self.n)
        return f"{self.task:14} {self.kind:36} {self.hits:5} of {self.n:5} {self.share:7.1%}  ({low:.1%} to {high:.1%})"


def same(text: str, rng: random.Random, words: list[str]) -> str:
    return text


def excerpt(text: str, rng: random.Random, words: list[str]) -> str:
    """13 words of the text in a row amid other words; '' for a text that has fewer."""
    own = text.split()
    if len(own) < 14:  # a lone sign counts as no word
        return ""
    start = rng.randrange(len(own) - 13)
    return " ".join([*rng.choices(words, k=8), *own[start : start + 14], *rng.choices(words, k=8)])


def replace(share: float) -> Change:
    """That share of the words, at least one, gives way to words of honest rows."""

    def change(text: str, rng: random.Random, words: list[str]) -> str:
        own = text.split()
        for i in rng.sample(range(len(own)), max(1, round(share * len(own)))):
            own[i] = rng.choice(words)
        return " ".join(own)

    return change


def shuffle(text: str, rng: random.Random, words: list[str]) -> str:
    return " ".join(rng.sample(text.split(), len(text.split())))


def paraphrase(text: str, rng: random.Random, words: list[str]) -> str:
    """By rules: another opening, synonyms, numbers written out, the last sentence first or the half after a comma first."""
    for opening, other in OPENINGS.items():
        text = re.sub(rf"^{opening}\b", other, text)
    text = re.sub(r"\b[a-z]+\b", lambda m: SYNONYMS.get(m.group(), m.group()), text)
    text = re.sub(r"(?<![\d.,])[2-9](?![\d.,])", lambda m: DIGITS[m.group()], text)
    sentences = re.split(r"(?<=[.?!])\s+", text.strip())
    if len(sentences) > 1:
        return " ".join([sentences[-1], *sentences[:-1]])
    before, comma, after = text.rstrip("?.").partition(", ")
    return f"{after}, {before}?" if comma else text


CHANGES: dict[str, Change] = {
    "copy": same,
    "13 words of it in another text": excerpt,
    "one word changed": replace(0),
    "10 % of the words changed": replace(0.1),
    "20 % of the words changed": replace(0.2),
    "30 % of the words changed": replace(0.3),
    "words shuffled": shuffle,
    "paraphrased by rules": paraphrase,
}


def copies(task: Task, folder: Path, rows: int, seed: int = 0) -> Iterator[Line]:
    """Honest rows that are hit; then, for each text of a row and each change, planted ones that are hit."""
    train, held_out = (_rows(task, folder, *splits) for splits in (["train"], ["val", "test"]))
    prints = Fingerprints.build(
        {"test": [task.private_texts(f) for f in held_out]}, [task.private_texts(f) for f in train[:TRAINED]]
    )
    honest = [task.private_texts(f) for f in train[TRAINED:]]
    yield Line(task.name, "honest rows", sum(bool(prints.hits(texts)) for texts in honest), len(honest))
    rng = random.Random(seed)
    for place, part in enumerate(("question", "passage") if task.name == "squad" else ("question",)):
        words = [word for texts in honest for word in texts[place].split()]
        chosen = rng.sample(held_out, min(rows, len(held_out)))
        for kind, change in CHANGES.items():
            planted = [change(task.private_texts(f)[place], rng, words) for f in chosen]
            texts = [[*host[:place], text, *host[place + 1 :]] for text, host in zip(planted, _hosts(honest, rng), strict=False)]
            found = [bool(prints.hits(t)) for t in texts if t[place]]
            yield Line(task.name, f"{part}, {kind}", sum(found), len(found))


def words(task: Task, folder: Path, seed: int = 0) -> Iterator[Line]:
    """Honest texts about failures that are struck; then texts with one word of a failure that training rows lack."""
    train, validation = _rows(task, folder, "train")[:TRAINED], _rows(task, folder, "val")
    groups = [task.group(raw) for raw in _published(task, folder, "val")]
    rng = random.Random(seed)
    failed = set(rng.sample(range(len(validation)), FAILURES))
    predictions = [
        Prediction(
            id=str(i), split="validation", prompt="", output="", reference=task.reference(fields),
            score=Score(correct=i not in failed, valid=True), fields=fields, group=groups[i],
        )
        for i, fields in enumerate(validation)
    ]  # fmt: skip
    screen = word_screen(task, predictions, [TrainRow(id=str(i), fields=f) for i, f in enumerate(train)])
    yield Line(task.name, "honest texts on patterns", sum(bool(screen(t)) for t in HONEST_TEXTS), len(HONEST_TEXTS))
    texts = [" ".join(task.private_texts(validation[i])) for i in sorted(failed)]
    trained = {word for f in train for text in task.private_texts(f) for word in tokens(text)}
    for kind, pattern in (("one name in such a text", r"(?<=[a-z,] )[A-Z][a-z]{2,}"), ("one other word in it", r"\b[a-z]{3,}\b")):
        found = [[word for word in re.findall(pattern, text) if word.lower() not in trained] for text in texts]
        planted = [f"Practise {rng.choice(own)}. {rng.choice(HONEST_TEXTS)}" for own in found if own]
        yield Line(task.name, kind, sum(bool(screen(text)) for text in planted), len(planted))


def _rows(task: Task, folder: Path, *splits: str) -> list[Fields]:
    return [task.read(raw) for raw in _published(task, folder, *splits)]


def _published(task: Task, folder: Path, *splits: str) -> list[dict[str, Any]]:
    files = [folder / task.name / f"{split}.jsonl" for split in splits]
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def _hosts(honest: list[list[str]], rng: random.Random) -> Iterator[list[str]]:
    while True:
        yield rng.choice(honest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=300, help="held-out rows planted, of each data set and kind")
    arguments = parser.parse_args()
    for name in TASKS:
        task = load_task(name, {})
        for line in (*copies(task, arguments.folder, arguments.rows), *words(task, arguments.folder)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
