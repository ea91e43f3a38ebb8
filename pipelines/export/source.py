"""What an export is made from: a run directory, opened, with its settings, its task and its rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from pada_agent.components.backends.artifacts.exported import Exported
from pada_agent.components.backends.record_files import read_json, read_records
from pada_agent.components.backends.sandbox.run import run_code
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import HeldOutRow, TrainRow
from pada_agent.components.core.settings import Settings, SlmSettings
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.task import CodeResult, Task
from pada_agent.pipelines.local.hand_over import prepared, shipped_by
from pada_agent.pipelines.local.remote_run import open_run


@dataclass(frozen=True)
class Source:
    """A run that ships a model. `adapter` is the shipped model's folder."""

    run: Path
    exported: Exported
    adapter: Path
    settings: Settings
    task: Task

    @property
    def slm(self) -> SlmSettings:
        """The base model, in the type that the adapter was trained and evaluated in."""
        dtype = str(self.exported.training.get("dtype") or "auto")
        return self.settings.slm.model_copy(update={"dtype": dtype})

    @property
    def train_data(self) -> Path:
        """Training rows, assets and fingerprints."""
        return prepared(self.run) / "train_data"

    def train_rows(self) -> list[TrainRow]:
        """The training rows that were given. Raises InputError."""
        return read_records(self.train_data / "train.jsonl", TrainRow)

    def validation_rows(self) -> list[HeldOutRow]:
        """For comparing models, never for anything that is written. Raises InputError."""
        return read_records(prepared(self.run) / "heldout_data" / "validation.jsonl", HeldOutRow)

    def run_code(self, program: str, seconds: float) -> CodeResult:
        """The sandbox, under the run's own limit."""
        return run_code(program, min(seconds, self.settings.evaluate.code_seconds))


@contextmanager
def opened(run_dir: str) -> Iterator[Source]:
    """The run in `run_dir`, a path or a URI. Raises InputError for one that ships nothing yet or has no settings."""
    with open_run(run_dir).brought() as run:
        exported, adapter = shipped_by(run_dir, run)
        file = run / "settings.json"
        try:
            settings = Settings.model_validate(read_json(file))
        except ValidationError as e:
            first = e.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise InputError(f"{file}: {where}: {first['msg']}; it was written by another release: run it again") from e
        task = load_task(settings.task.name, settings.task.options, prepared(run) / "train_data" / "assets")
        yield Source(run, exported, adapter, settings, task)
