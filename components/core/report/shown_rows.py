"""The rows that a reader of the report can look at, with what each model answered. One line of `rows.jsonl`, beside the state:

    {"id": "validation-017", "split": "validation", "title": {"head": "New customers by city", "length": 21}, ...,
     "answers": {"vanilla": {"output": {...}, "correct": false, "valid": true, "detail": {...}}}, "drawn": true}

Validation and training rows only. Selection and test rows are counted and never shown: whoever has read them and then edits
a strategy, or picks a run, has tuned on them. Like the state, the file is not for generators.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pydantic import Field

from pada_agent.components.core.records import Batch, Fields, Prediction, Record, Sample, TrainRow
from pada_agent.components.core.report.excerpts import LENGTH, Excerpt
from pada_agent.components.core.tasks.task import Task

ROWS_FILE = "rows.jsonl"
PLACES = 300  # at most, for rows of one split and for samples of one iteration
SHOWN_SPLITS: tuple[Literal["validation", "train"], ...] = ("validation", "train")


class Answer(Record):
    """A model's answer to a row, and whether it was right."""

    output: Excerpt
    correct: bool
    valid: bool
    detail: Excerpt


class ShownRow(Record):
    """One row, as the report shows it."""

    id: str
    split: Literal["validation", "train"]
    title: Excerpt
    question: Excerpt
    reference: Excerpt
    drawn: bool
    answers: dict[str, Answer] = Field(default_factory=dict, description="by model")


def draw(strata: Iterable[Sequence[str]], places: int, seed: int) -> set[str]:
    """At most `places` ids, the same number from each stratum; places that one cannot fill go to the others.

    Whether an id is drawn depends on the seed and the id alone, so a smaller draw is part of a larger one.
    """
    ranked = sorted((sorted(s, key=lambda i: hashlib.sha256(f"{seed}/{i}".encode()).digest()) for s in strata), key=len)
    drawn: set[str] = set()
    for number, stratum in enumerate(ranked):
        drawn |= set(stratum[: (places - len(drawn)) // (len(ranked) - number)])
    return drawn


def draw_samples(batches: Sequence[Batch], places: int, seed: int) -> list[tuple[Batch, Sample]]:
    """Samples of one iteration, half accepted and half not, in their order."""
    samples = [(batch, sample) for batch in batches for sample in batch.samples]
    strata = [[s.row.id for _, s in samples if (s.status == "accepted") is accepted] for accepted in (True, False)]
    drawn = draw(strata, places, seed)
    return [(batch, sample) for batch, sample in samples if sample.row.id in drawn]


def draw_rows(predictions: Mapping[str, Sequence[Prediction]], task: Task, seed: int) -> list[ShownRow]:
    """Rows of each split, half of those answered right and half of the others, still without answers."""
    rows: list[ShownRow] = []
    for split in SHOWN_SPLITS:
        answers = predictions.get(split, ())
        drawn = draw([[p.id for p in answers if p.score.correct is right] for right in (True, False)], PLACES, seed)
        rows += [_row(p.id, split, p.fields, task, drawn=True) for p in answers if p.id in drawn]
    return rows


def with_answers(rows: Iterable[ShownRow], model: str, predictions: Mapping[str, Sequence[Prediction]]) -> list[ShownRow]:
    """`rows` with a model's answers, where it gave some."""
    given = {(split, p.id): p for split, found in predictions.items() for p in found}

    def answered(row: ShownRow) -> ShownRow:
        p = given.get((row.split, row.id))
        return row.model_copy(update={"answers": {**row.answers, model: _answer(p)}}) if p else row

    return [answered(row) for row in rows]


def with_parents(
    rows: Sequence[ShownRow], train: Iterable[TrainRow], batches: Sequence[Batch], task: Task, seed: int
) -> list[ShownRow]:
    """`rows` and the training rows that the samples to be shown were written from."""
    known = {r.id for r in rows if r.split == "train"}
    parents = {i for _, s in draw_samples(batches, PLACES, seed) for i in s.row.provenance.parent_ids} - known
    return [*rows, *(_row(r.id, "train", r.fields, task, drawn=False) for r in train if r.id in parents)]


def title_of(fields: Fields, otherwise: str) -> str:
    """The line a row is listed by: its question without the context."""
    return str(fields.get("question") or otherwise)


def _row(row_id: str, split: Literal["validation", "train"], fields: Fields, task: Task, drawn: bool) -> ShownRow:
    question = task.question(fields)
    return ShownRow(
        id=row_id,
        split=split,
        title=Excerpt.of(title_of(fields, question)),
        question=Excerpt.of(question, 2 * LENGTH),
        reference=Excerpt.of(task.reference(fields)),
        drawn=drawn,
    )


def _answer(p: Prediction) -> Answer:
    output, detail = Excerpt.of(p.output), Excerpt.of(p.score.detail)
    return Answer(output=output, correct=p.score.correct, valid=p.score.valid, detail=detail)
