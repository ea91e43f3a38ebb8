"""Rows as other trainers read them, with where each came from: chat, Alpaca, and preference pairs for DPO.

    {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "SELECT ..."}],
     "id": "it1-s2-b1-a0-2", "origin": "synthetic", "iteration": 1, "pattern": "it1-p2", "strategy": "it1-s2",
     "parents": ["train-33b514af42d0"], "verdict": "accepted", "scores": {}}

No function here takes a held-out row.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Fields, SyntheticRow, TrainingError, TrainRow
from pada_agent.components.core.separation.leakage import Fingerprints
from pada_agent.components.core.tasks.task import Task
from pada_agent.components.core.tasks.turns import system_and_chat

Row = dict[str, Any]
PROVENANCE = (
    ("id", "of the row in its run"),
    ("origin", "`given` (a training row), `synthetic` (written by the teacher)"),
    ("iteration", "that wrote it; 0: given"),
    ("pattern", "of failures that it was written against, '' where it was written from a training row or error alone"),
    ("strategy", "that the teacher followed"),
    ("parents", "ids of the training rows that the teacher was shown"),
    ("verdict", "of quality control: `accepted`; '' for given rows"),
    ("scores", "the judge's, 1 to 10, as JSON by dimension; `{}` where nobody was asked"),
)
COLUMNS = {
    "chat": (("messages", "the chat; the last message is the answer"), *PROVENANCE),
    "alpaca": (("instruction", "what is asked"), ("input", "always empty"), ("output", "the answer"), *PROVENANCE),
    "preference": (
        ("prompt", "the chat without the answer"),
        ("chosen", "the right answer"),
        ("rejected", "the wrong answer that the SLM gave"),
        ("why", "it is wrong, as the task's scorer says"),
        *PROVENANCE,
    ),
}


def provenance(row: TrainRow | SyntheticRow) -> Row:
    """The columns that say where a row came from. Scores are JSON: a column of Parquet has one type."""
    said: Row = {"id": row.id, "origin": "given", "iteration": 0, "pattern": "", "strategy": "", "parents": []}
    said |= {"verdict": "", "scores": "{}"}
    if isinstance(row, SyntheticRow):
        p = row.provenance
        said |= {"origin": "synthetic", "iteration": p.iteration, "pattern": p.pattern_id, "strategy": p.strategy_id}
        said |= {"parents": list(p.parent_ids), "verdict": "accepted", "scores": json.dumps(row.scores, sort_keys=True)}
    return said


def chat_row(task: Task, row: TrainRow | SyntheticRow) -> Row:
    """As the SLM is trained on it."""
    answer = {"role": "assistant", "content": task.target(row.fields)}
    return {"messages": [*task.messages(row.fields), answer], **provenance(row)}


def alpaca_row(task: Task, row: TrainRow | SyntheticRow) -> Row:
    """The same as instruction and output; a system message is the first paragraph of the instruction, turns a transcript."""
    system, turns = system_and_chat(task.messages(row.fields))
    return {
        "instruction": "\n\n".join([*system, turns]),
        "input": "",
        "output": task.target(row.fields),
        **provenance(row),
    }


def kin(rows: Sequence[SyntheticRow], errors: Sequence[TrainingError]) -> list[SyntheticRow]:
    """The synthetic rows that the teacher wrote while it was shown one of these training errors."""
    ids = {error.id for error in errors}
    return [row for row in rows if ids.intersection(row.provenance.parent_ids)]


class Pairs:
    """Makes preference pairs, each from a row that may be trained on. Raises InputError for any other, wherever it came from."""

    def __init__(self, task: Task, train: Sequence[TrainRow], fingerprints: Fingerprints | None) -> None:
        """`fingerprints` are those of the held-out rows."""
        self._task, self._fingerprints = task, fingerprints
        self._train = {row.id: row for row in train}

    def of_error(self, error: TrainingError, iteration: int) -> Row | None:
        """The pair of a training error of this iteration; None where the wrong answer is empty or no other than the right one."""
        row = self._train.get(error.id)
        if row is None:
            raise InputError(f"training error {error.id}: there is no such training row; was train_data prepared anew since?")
        return self._pair(row, row.fields, error.output, error.score.detail, {"iteration": iteration})

    def of_synthetic(self, row: SyntheticRow, output: str, why: str) -> Row | None:
        """The pair of a synthetic row and a wrong answer to it; None as above."""
        return self._pair(row, row.fields, output, why, {})

    def _pair(
        self, row: TrainRow | SyntheticRow, fields: Fields, output: str, why: str, changes: Mapping[str, Any]
    ) -> Row | None:
        reason = self._fingerprints.hits(self._task.private_texts(fields)) if self._fingerprints else ""
        if reason:
            raise InputError(f"row {row.id} has {reason}; no pair is made of it. Take it out, or run prepare_data again")
        right = self._task.target(fields)
        if not output.strip() or output.strip() == right.strip():
            return None
        said = {**provenance(row), **changes}
        chosen, rejected = ([{"role": "assistant", "content": text}] for text in (right, output))
        return {"prompt": self._task.messages(fields), "chosen": chosen, "rejected": rejected, "why": why, **said}


def distinct(pairs: Sequence[Row]) -> Iterator[Row]:
    """Without pairs that an earlier one has the prompt and the answers of: an error may last for several iterations."""
    seen: set[str] = set()
    for pair in pairs:
        key = repr((pair["prompt"], pair["chosen"], pair["rejected"]))
        if key not in seen:
            seen.add(key)
            yield pair
