"""`pada export --data`: the rows that a run trained on and wrote, and preference pairs, in a folder that is a data set of a hub.

OUT/data/  given.jsonl  synthetic.jsonl  preference.jsonl  README.md
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pada_agent.components.backends.artifacts.exported import model_name
from pada_agent.components.backends.artifacts.plan import read_plan
from pada_agent.components.backends.artifacts.written_rows import Row, write_rows
from pada_agent.components.backends.files import whole_directory, write_atomic
from pada_agent.components.backends.models.upload import check_repository, push
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.exported_rows import COLUMNS, Pairs, alpaca_row, chat_row, distinct, kin
from pada_agent.components.core.figures import plural
from pada_agent.components.core.records import SyntheticRow, TrainingError
from pada_agent.components.core.report.cards import CARD, CardFacts, DataFacts, dataset_card
from pada_agent.components.core.separation.leakage import Fingerprints
from pada_agent.components.core.slm_interface import Prompt
from pada_agent.pipelines.export.source import Source, opened
from pada_agent.pipelines.local.hand_over import adapter_of

Say = Callable[[str], object]
Shape = Literal["chat", "alpaca", "parquet", "preference"]
ENDINGS = {"chat": "jsonl", "alpaca": "json", "parquet": "parquet", "preference": "jsonl"}
WHAT = {
    "given": "the training rows that the run was given",
    "synthetic": "what the teacher wrote and quality control let in",
    "preference": "right answers beside wrong ones that the SLM gave, of training errors and synthetic rows written from them",
}


@dataclass(frozen=True)
class WantedData:
    """In which shape, and where to push it."""

    shape: Shape
    push: str = ""
    public: bool = False
    name: str = ""


def export_data(run_dir: str, out: Path, wanted: WantedData, say: Say) -> None:
    """Write the run's rows into `out`/data with a card. Raises InputError for a run without any, or a row with held-out text."""
    if wanted.push:
        check_repository(wanted.push)
    place = out.resolve() / "data"
    with opened(run_dir) as source:
        parts = {"preference": _preference(source, say)} if wanted.shape == "preference" else _rows(source, wanted.shape)
        parts = {name: rows for name, rows in parts.items() if rows}
        if not parts:
            raise InputError(f"{run_dir}: there is nothing to export as {wanted.shape}: no training error has a wrong answer")
        name = wanted.name or f"{model_name(source.exported.state.run.task)}-data"
        files = {f"{part}.{ENDINGS[wanted.shape]}": rows for part, rows in parts.items()}
        with whole_directory(place) as folder:
            for file, rows in files.items():
                write_rows(folder / file, rows)
            write_atomic(folder / CARD, _card(source, name, wanted.shape, files))
    for file, rows in files.items():
        say(f"{place / file}: {len(rows)} rows, {WHAT[file.partition('.')[0]]}")
    if wanted.push:
        say(f"pushed: {push(place, wanted.push, 'dataset', wanted.public, f'{name}: {wanted.shape}')}")


def _rows(source: Source, shape: Shape) -> dict[str, list[Row]]:
    make = alpaca_row if shape == "alpaca" else chat_row
    return {
        "given": [make(source.task, row) for row in source.train_rows()],
        "synthetic": [make(source.task, row) for row in source.exported.state.synthetic_rows],
    }


def _preference(source: Source, say: Say) -> list[Row]:
    """Pairs of every iteration: its training errors, then what the model that made them answers to their synthetic kin."""
    state = source.exported.state
    pairs = Pairs(source.task, source.train_rows(), Fingerprints.beside(source.train_data))
    found: list[Row | None] = []
    for iteration in state.iterations:
        errors = _training_errors(source, iteration.number)
        found += [pairs.of_error(error, iteration.number) for error in errors]
        rows = kin([row for batch in iteration.batches for row in batch.accepted], errors)
        found += _of_kin(source, pairs, rows, state.analysed(iteration.number), say)
    return list(distinct([pair for pair in found if pair]))


def _of_kin(source: Source, pairs: Pairs, rows: Sequence[SyntheticRow], model: str, say: Say) -> Iterator[Row | None]:
    """Of the rows that `model` answers wrong; none where an LLM alone could tell that, since none is asked here."""
    task = source.task
    if not rows:
        return
    if task.rubric:
        say(f"left out, since an LLM scores the answers of this task: {plural(len(rows), 'synthetic row')} written from errors")
        return
    from pada_agent.components.backends.slm.formats.answering import answers

    say(f"asking {model}, whose errors they were written from, {len(rows)} synthetic rows")
    prompts = [Prompt(id=row.id, messages=task.messages(row.fields)) for row in rows]
    most = source.settings.evaluate.max_new_tokens or task.max_new_tokens
    outputs = answers(source.slm, adapter_of(source.run, source.exported.state, model), prompts, most).texts
    for row, output in zip(rows, outputs, strict=True):
        score = task.score(row.fields, output, source.run_code)
        if not score.correct:
            yield pairs.of_synthetic(row, output, score.detail)


def _training_errors(source: Source, iteration: int) -> list[TrainingError]:
    """What the iteration's analysis found wrong among training rows; a held-out answer in its place is refused."""
    folder = next(iter(sorted(source.run.glob(f"*-analyze-{iteration}/plan"))), None)
    if folder is None:
        raise InputError(
            f"{source.run}: iteration {iteration} left no plan (*-analyze-{iteration}/plan); `pada run` makes it again"
        )
    return read_plan(folder)[1]


def _card(source: Source, name: str, shape: Shape, files: dict[str, list[Row]]) -> str:
    facts = source.exported.facts
    data = DataFacts(
        name=name,
        shape={"preference": "preference pairs as TRL's DPOTrainer reads them", "parquet": "chats, in Parquet"}.get(shape, shape),
        files={file: len(rows) for file, rows in files.items()},
        columns=COLUMNS["chat" if shape == "parquet" else shape],
        what={file: WHAT[file.partition(".")[0]] for file in files},
    )
    return dataset_card(source.exported.state, data, CardFacts(name, data=dict(facts.get("data") or {})))
