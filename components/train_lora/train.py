"""What the SLM is fine-tuned on: training rows and accepted synthetic rows, checked against the held-out ones."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import SyntheticRow, TrainRow
from pada_agent.components.core.separation.leakage import Fingerprints
from pada_agent.components.core.slm_interface import Example, Fit, Training
from pada_agent.components.core.tasks.task import Task


class TrainFacts(BaseModel):
    """`train.json` of an adapter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    task: str
    rows: int
    synthetic_rows: int
    training: Training

    def to_json(self) -> dict[str, Any]:
        """The facts as one flat JSON object."""
        return self.model_dump(mode="json", exclude={"training"}) | self.training.model_dump(mode="json")


def train(
    name: str,
    task: Task,
    rows: Sequence[TrainRow],
    synthetic: Sequence[SyntheticRow],
    fingerprints: Fingerprints | None,
    fit: Fit,
) -> TrainFacts:
    """Fine-tune on all rows. Raises InputError for no rows, an id that is there twice, or a row with held-out text.

    `rows` and `synthetic_rows` are counted before rows that are too long are left out.
    """
    everything: list[TrainRow | SyntheticRow] = [*rows, *synthetic]
    if not rows:
        raise InputError("train_data: train.jsonl is empty")
    seen: set[str] = set()
    for row in everything:
        if row.id in seen:
            raise InputError(f"row {row.id}: the id occurs twice in train_data and synthetic_data")
        seen.add(row.id)
        if fingerprints is not None:
            _refuse_leak(row, task, fingerprints)
    examples = [Example(id=r.id, messages=task.messages(r.fields), target=task.target(r.fields)) for r in everything]
    training = fit(examples)
    return TrainFacts(name=name, task=task.name, rows=len(rows), synthetic_rows=len(synthetic), training=training)


def _refuse_leak(row: TrainRow | SyntheticRow, task: Task, fingerprints: Fingerprints) -> None:
    reason = fingerprints.hits(task.private_texts(row.fields))
    if not reason:
        return
    kind = "synthetic row" if isinstance(row, SyntheticRow) else "training row"
    raise InputError(f"{kind} {row.id} has {reason}; it must not be trained on. Take it out, or run prepare_data again")
