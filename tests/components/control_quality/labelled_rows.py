"""The labelled set: synthetic samples whose worth a person knows, by which the checks of quality control are measured.

    {"id": "sql-047", "task": "text_to_sql", "label": "subtly wrong", "why": "'The last 7 days' depends on today ...",
     "strategy": "Write questions about a period ...", "focus": "WHERE", "parents": ["train-9d1f..."],
     "fields": {"question": "Which orders were placed in the last 7 days?", "sql": "SELECT ...", "family": ""}}

labelled/README.md says what the labels mean and where the rows come from.
"""

import json
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from pada_agent.components.backends.artifacts.row_sources import read_rows
from pada_agent.components.core.records import Batch, Fields, Provenance, Record, Sample, Strategy, SyntheticRow, TrainRow
from pada_agent.components.core.separation.leakage import Fingerprints
from pada_agent.components.core.settings import PrepareData
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.task import Task
from pada_agent.components.prepare_data.prepare import HELD_OUT, Prepared, prepare

FOLDER = Path(__file__).parent / "labelled"
TEXT_TO_SQL = Path(__file__).parents[3] / "pipelines" / "examples" / "text_to_sql"
Label = Literal["right", "subtly wrong", "off the pattern", "copied"]
TaskName = Literal["text_to_sql", "gsm8k", "squad", "arc_challenge"]
OPTIONS: dict[TaskName, Fields] = {
    "text_to_sql": {"database": str(TEXT_TO_SQL / "shop.sql")},
    "gsm8k": {},
    "squad": {},
    "arc_challenge": {},
}


class LabelledSample(Record):
    """One synthetic sample and what a person made of it."""

    id: str
    task: TaskName
    label: Label
    why: str = Field(description="what is wrong, in one sentence; '' exactly for a right sample")
    strategy: str = Field(description="text of the plan that it was written by; '' in the error branch")
    focus: str = Field(description="the task feature that its batch is about, '' if none")
    parents: list[str] = Field(min_length=1, description="ids of the training rows shown to whoever wrote it")
    fields: Fields

    @model_validator(mode="after")
    def _says_why(self) -> Self:
        if (self.label == "right") == bool(self.why):
            raise ValueError(f"{self.id}: 'why' says what is wrong with a sample, and nothing of a right one")
        return self

    @property
    def batch(self) -> tuple[str, ...]:
        """What samples written together share."""
        return (self.task, self.strategy, self.focus, *self.parents)


@cache
def tasks() -> dict[TaskName, Task]:
    """The tasks by name."""
    return {name: load_task(name, options) for name, options in OPTIONS.items()}


@cache
def samples() -> tuple[LabelledSample, ...]:
    """The whole set, batch after batch. Raises pydantic's ValidationError for a line that is no such sample."""
    return tuple(LabelledSample.model_validate(raw) for name in OPTIONS for raw in _lines(FOLDER / f"{name}.jsonl"))


def train_rows(name: TaskName) -> list[TrainRow]:
    """All training rows of the text-to-SQL example; of the other tasks those that are parents."""
    if name == "text_to_sql":
        return list(shop_rows().train_rows())
    return [TrainRow.model_validate(raw) for raw in _lines(FOLDER / "parents" / f"{name}.jsonl")]


def fingerprints(name: TaskName) -> Fingerprints:
    """Hashes of the held-out rows: the example's; the other tasks have none here."""
    return shop_rows().fingerprints if name == "text_to_sql" else Fingerprints.build({})


@cache
def shop_rows() -> Prepared:
    """The text-to-SQL example's splits as prepare_data makes them, with the ids that a run gives its rows."""
    sources = {split: str(TEXT_TO_SQL / f"{split}.jsonl") for split in ("train", *HELD_OUT)}
    settings = {"task": {"name": "text_to_sql", **sources, "options": OPTIONS["text_to_sql"]}, "control": {}}
    rows = {split: read_rows(source) for split, source in sources.items()}
    return prepare(tasks()["text_to_sql"], rows, PrepareData.model_validate(settings))


def batches(chosen: Sequence[LabelledSample]) -> list[Batch]:
    """`chosen` as the batches that quality control gets; a batch has the samples of one task, plan, feature and parents."""
    return [
        Batch(
            id=f"b{number}",
            branch="pattern" if group[0].strategy else "error",
            strategy_id=f"s{number}" if group[0].strategy else "",
            seed_ids=group[0].parents,
            wanted=len(group),
            focus=group[0].focus,
            samples=[Sample(row=_row(sample, f"b{number}")) for sample in group],
        )
        for number, group in enumerate(_grouped(chosen), 1)
    ]


def strategies(chosen: Sequence[LabelledSample]) -> list[Strategy]:
    """The plans of `batches(chosen)`."""
    plans = {f"s{number}": group[0].strategy for number, group in enumerate(_grouped(chosen), 1)}
    return [Strategy(id=id, pattern_id="p", pattern_name="pattern", text=text) for id, text in plans.items() if text]


def _grouped(chosen: Sequence[LabelledSample]) -> list[list[LabelledSample]]:
    return [list(group) for _, group in groupby(chosen, key=lambda sample: sample.batch)]


def _row(sample: LabelledSample, batch: str) -> SyntheticRow:
    provenance = Provenance(
        branch="pattern" if sample.strategy else "error",
        parent_ids=sample.parents,
        iteration=1,
        batch_id=batch,
        attempt=0,
        request_hash="labelled",
    )
    return SyntheticRow(id=sample.id, fields=sample.fields, provenance=provenance)


def _lines(path: Path) -> Iterable[Fields]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
