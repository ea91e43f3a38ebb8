"""Single stages, outside of a run: a folder with what each left, and a ledger, so that no call is paid twice."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pada_agent.components.backends.executor import Executor
from pada_agent.components.backends.executor_input import executor_input
from pada_agent.components.backends.files import write_atomic
from pada_agent.components.core.errors import InputError, PadaError
from pada_agent.components.core.settings import Settings
from pada_agent.components.stages import STAGES
from pada_agent.pipelines.local.embedded_servers import EmbeddedServers
from pada_agent.pipelines.local.held_folder import held
from pada_agent.pipelines.local.run import entry

MARK = "alone.json"  # a folder that is ours to write into


@dataclass(frozen=True)
class Workplace:
    """A folder for the tasks of some settings."""

    folder: Path
    settings: Settings

    @contextmanager
    def open(self) -> Iterator[None]:
        """Hold the folder, made if need be. Raises InputError for one that holds something else or is in use."""
        strangers = [path for path in self.folder.iterdir() if path.name != ".lock"] if self.folder.is_dir() else []
        if strangers and not (self.folder / MARK).exists():
            raise InputError(f"{self.folder}: holds other files, such as {strangers[0].name}; give a folder of its own")
        with held(self.folder, "another process is working in this folder; wait for it or stop it", "folder"):
            write_atomic(self.folder / MARK, json.dumps({"task": self.settings.task.name}))
            yield

    def fresh(self, name: str) -> Path:
        """The empty folder of a task; what an earlier try left there goes."""
        folder = self.folder / name
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        return folder

    def run(self, name: str, stage: str, inputs: Mapping[str, Path], **parameters: Any) -> Path:
        """The folder of the finished task `name` of a stage: its outputs by their names. Raises PadaError."""
        folder, known = self.fresh(name), STAGES[stage]
        with EmbeddedServers(self.settings) as servers:
            sections = known.sections(self.settings)
            if known.llm:
                sections = servers.reach(sections, known.asks(sections))
                parameters["ledger"] = str(self.folder / "ledger" / f"{stage}.jsonl")
            executor = Executor(executor_input(stage, {"settings": sections, **parameters}, inputs, folder))
            with executor.told():
                entry(stage)(executor)
        return folder


@contextmanager
def as_library() -> Iterator[None]:
    """For callers who are no program: a stage that is asked to end raises a PadaError here, never SystemExit."""
    try:
        yield
    except SystemExit as e:
        raise PadaError("stopped by a signal; what is paid for is kept: the same call goes on from there") from e
