"""A `train_data` artifact of rows that nobody splits: what an analysis alone is given, beside predictions.

Of held-out rows there are those alone that the predictions answer.
"""

from collections.abc import Sequence
from pathlib import Path

from pada_agent.components.backends.files import write_atomic
from pada_agent.components.backends.record_files import write_records
from pada_agent.components.core.foreign.known_rows import KnownRow
from pada_agent.components.core.prompts import FOLDER
from pada_agent.components.core.records import Fields, Prediction, TrainRow
from pada_agent.components.core.separation.duplicates import NearDuplicates
from pada_agent.components.core.separation.leakage import FINGERPRINTS_FILE, Fingerprints
from pada_agent.components.core.settings import Settings
from pada_agent.components.core.tasks.task import Task
from pada_agent.components.core.tasks.turns import system_and_chat


def write_unsplit(folder: Path, task: Task, rows: Sequence[KnownRow], answers: Sequence[Prediction], settings: Settings) -> int:
    """Write the artifact, with these training rows but for those that were asked as validation rows; how many these were."""
    held_out = [p for p in answers if p.split == "validation"]
    asked = NearDuplicates(settings.task.near_duplicate)
    for p in held_out:
        asked.add(p.id, *_compared(task, p.fields))
    kept = [row for row in rows if asked.closest(*_compared(task, row.fields)) is None]
    taken: set[str] = set()
    train = []
    for number, row in enumerate(kept, 1):
        name = row.id if row.id and row.id not in taken else f"train-{number}"
        taken.add(name)
        train.append(TrainRow(id=name, fields=row.fields, group=row.group or name))
    texts = [task.private_texts(p.fields) for p in held_out], [task.private_texts(row.fields) for row in train]
    prints = Fingerprints.build({"validation": texts[0]}, texts[1], settings.control.ngram, settings.control.short_ngram)
    write_records(folder / "train.jsonl", train)
    for name, text in (task.assets() | {f"{FOLDER}/{name}": text for name, text in task.prompts.own.items()}).items():
        write_atomic(folder / "assets" / name, text)
    write_atomic(folder / FINGERPRINTS_FILE, prints.to_json())
    return len(rows) - len(kept)


def _compared(task: Task, fields: Fields) -> tuple[str, str]:
    return task.private_texts(fields)[0], system_and_chat(task.messages(fields))[1]
