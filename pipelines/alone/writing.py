"""Synthetic rows against the patterns of an analysis, and what quality control says of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pada_agent.components.backends.record_files import read_json, read_records
from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Batch, Sample, SyntheticRow, TrainRow
from pada_agent.components.core.settings import Settings
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.pipelines.alone.analysis import FailureAnalysis, check_screened
from pada_agent.pipelines.alone.workplace import Workplace, as_library


@dataclass(frozen=True)
class SyntheticBatches:
    """Rows as they were written, or checked. `folder` holds batches.jsonl; `usage` is by stage, of all that led here."""

    folder: Path
    settings: Settings = field(repr=False)
    analysis: FailureAnalysis = field(repr=False)
    batches: Sequence[Batch] = field(repr=False)
    usage: dict[str, Usage]
    link: int
    checked: bool

    @property
    def samples(self) -> list[Sample]:
        """Every row, with what became of it: new, accepted or rejected, and why."""
        return [sample for batch in self.batches for sample in batch.samples]

    @property
    def accepted(self) -> list[SyntheticRow]:
        """The rows that quality control let in; `fields` has the task's own keys."""
        return [sample.row for sample in self.samples if sample.status == "accepted"]

    @property
    def open(self) -> int:
        """Batches that `generate` would write again, by what quality control said."""
        return sum(batch.status == "open" for batch in self.batches)

    def table(self) -> list[dict[str, Any]]:
        """A row for each sample, as pandas.DataFrame takes them: with what became of it, why, and the judge's scores."""
        task = load_task(self.settings.task.name, self.settings.task.options, self.analysis.train_data / "assets")
        names = {p.id: p.name for p in self.analysis.patterns}
        return [
            {
                "pattern": names.get(sample.row.provenance.pattern_id, "a training error"),
                "question": task.question(sample.row.fields),
                "answer": task.reference(sample.row.fields),
                "status": sample.status,
                "reason": sample.reason,
                **sample.row.scores,
            }
            for sample in self.samples
        ]


def generate(source: FailureAnalysis | SyntheticBatches, rows: int = 10) -> SyntheticBatches:
    """Have the teacher write rows against the patterns, and around training errors if predictions on training rows had any.

    Args:
        source: an analysis whose config has `task.train`; or checked batches, of which the open ones are written again.
        rows: how many to ask for, of an analysis.

    Raises:
        PadaError: with what is wrong and what to do.
    """
    if isinstance(source, SyntheticBatches):
        if not source.checked:
            raise InputError("these rows are not checked yet: pada_agent.control(...) first")
        return _written(source.analysis, source.settings, source.link + 1, {"checked_batches": source.folder})
    check_screened(source)
    train = len(read_records(source.train_data / "train.jsonl", TrainRow))
    if not train:
        raise InputError("a teacher is shown training rows, and there are none; name task.train in the config and analyse again")
    share = rows / train
    if not 0 < share <= 10:
        raise InputError(f"rows: {rows} is not within 1 and ten times the {train} training rows")
    amount = {"share": share, "scope": "total"}
    settings = source.settings.model_copy(
        update={
            "generate": source.settings.generate.model_copy(update=amount),
            "loop": source.settings.loop.model_copy(update={"iterations": 1}),
        }
    )
    return _written(source, settings, 1, {"plan": source.folder / "analyze" / "plan"})


def control(written: SyntheticBatches) -> SyntheticBatches:
    """Check and judge rows: are they right, on the pattern, new, and no leak.

    Raises:
        PadaError: with what is wrong and what to do, such as a config without a judge where one is needed.
    """
    settings = written.settings
    if missing := [role for role in settings.control.asked if not getattr(settings, role).model]:
        raise InputError(
            f"the config has no {missing[0]}, which quality control asks; name one, or set control.verdict: checks and "
            "control.solver: teacher"
        )
    place = Workplace(written.analysis.folder, settings)
    with as_library(), place.open():
        inputs = {"train_data": written.analysis.train_data, "batches": written.folder}
        made = place.run(f"control-{written.link}", "control_quality", inputs, iteration=1)
    return _read(made / "checked_batches", written.analysis, settings, written.link, checked=True)


def _written(analysis: FailureAnalysis, settings: Settings, link: int, source: dict[str, Path]) -> SyntheticBatches:
    place = Workplace(analysis.folder, settings)
    with as_library(), place.open():
        made = place.run(f"generate-{link}", "generate_data", {"train_data": analysis.train_data, **source}, iteration=1)
    return _read(made / "batches", analysis, settings, link, checked=False)


def _read(folder: Path, analysis: FailureAnalysis, settings: Settings, link: int, checked: bool) -> SyntheticBatches:
    return SyntheticBatches(
        folder=folder,
        settings=settings,
        analysis=analysis,
        batches=read_records(folder / "batches.jsonl", Batch),
        usage={stage: Usage.model_validate(value) for stage, value in read_json(folder / "usage.json").items()},
        link=link,
        checked=checked,
    )
