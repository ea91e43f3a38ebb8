"""The runner of this machine: follows the recipe (loop.py), one stage after the other, and skips what is finished."""

import gc
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pada_agent.components.backends.executor import Executor
from pada_agent.components.backends.executor_input import executor_input
from pada_agent.components.core.settings import Settings
from pada_agent.components.stages import STAGES
from pada_agent.pipelines.local.embedded_servers import EmbeddedServers
from pada_agent.pipelines.local.log import RunLog
from pada_agent.pipelines.local.run_directory import RunDirectory, TaskFolder, own_files, task_key
from pada_agent.pipelines.local.shared_tasks import SHARED_STAGES, SharedTasks

Stage = Callable[[Executor], None]
Artifacts = Mapping[str, Path | None]


class Reached(Exception):
    """The task named by `until` is finished."""


@dataclass(frozen=True)
class Done:
    """A finished task: its folder, the paths of its artifacts and its output parameters."""

    folder: Path
    outputs: dict[str, Path]
    parameters: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.outputs[name] if name in self.outputs else self.parameters[name]


@dataclass(frozen=True)
class Call:
    """One task that must run: everything its stage is given."""

    name: str
    stage: str
    key: str
    inputs: Mapping[str, Path]
    parameters: dict[str, Any]
    folder: TaskFolder


@dataclass
class Engine:
    """Runs tasks, each only if it is not finished already."""

    settings: Settings
    directory: RunDirectory
    plan: list[str]
    until: str
    log: RunLog
    servers: EmbeddedServers
    stage: Callable[[str], Stage]
    on_state: Callable[[Path], None]
    shared: SharedTasks | None = None
    tasks: dict[str, Done] = field(default_factory=dict)

    def when(self, condition: bool, name: str, body: Callable[[], None]) -> None:
        """See loop.Runner."""
        if condition:
            body()

    def layer(self, name: str) -> AbstractContextManager[Any]:
        """See loop.Runner: here all tasks are in one row."""
        return nullcontext()

    def may_be_positive(self, count: int) -> bool:
        """See loop.Runner."""
        return count > 0

    def task(self, name: str, stage: str, artifacts: Artifacts, /, *, after: Any = None, **parameters: Any) -> Done:
        """Run one task unless it is finished. Raises Reached after the one the run is to stop at."""
        # `after` asks for nothing here: one task follows the other.
        folder = self.directory.task(self.plan.index(name) + 1, name)
        inputs = {key: path for key, path in artifacts.items() if path is not None}
        own = {"settings": STAGES[stage].sections(self.settings), **parameters}
        key = task_key(stage, own, inputs, own_files(self.settings) if stage == "prepare_data" else {})
        fresh = self._provide(Call(name, stage, key, inputs, own, folder))
        self.directory.keep(folder)
        if fresh and STAGES[stage].checkpoints:
            self.directory.drop_checkpoints(name, key)
        done = Done(folder.path, {a: folder.path / a for a in STAGES[stage].outputs}, folder.parameters())
        self.log.task(folder.path.name, folder.seconds(), folder.numbers(), fresh)
        self.tasks[name] = done
        if fresh and "state" in done.outputs:
            self.on_state(done["state"])
        if name == self.until:
            raise Reached(name)
        return done

    def _provide(self, call: Call) -> bool:
        """Have the task finished, by this run or by another that shares its work; whether it ran just now."""
        if self.shared is None or call.stage not in SHARED_STAGES:
            fresh = not call.folder.finished(call.key)
            if fresh:
                self._run(call)
            return fresh
        with self.shared.held(call.key):
            fresh = not call.folder.finished(call.key) and not self.shared.take(call.key, call.folder)
            if fresh:
                self._run(call)
            self.shared.give(call.key, call.folder)
        return fresh

    def _run(self, call: Call) -> None:
        stage = STAGES[call.stage]
        self.log.start(call.folder.path.name)
        call.parameters["work_uri"] = self.directory.work_uri
        if stage.checkpoints:
            call.parameters["checkpoint_uri"] = self.directory.checkpoints(call.name, call.key)
        if stage.llm:
            call.parameters["ledger"] = self.directory.ledger(call.stage)
            call.parameters["settings"] = self.servers.reach(call.parameters["settings"], stage.asks(call.parameters["settings"]))
        elif stage.resources.gpu:
            self.servers.stop()  # they would take the cores and the memory that the SLM needs
        text = executor_input(call.stage, call.parameters, call.inputs, call.folder.path)
        call.folder.begin(call.stage, call.key, text)
        program, executor = self.stage(call.stage), Executor(text)
        with executor.told():
            program(executor)
        if not call.folder.output_file.exists():
            raise RuntimeError(f"{call.stage} came to its end without writing {call.folder.output_file}")
        call.folder.end(call.stage, call.key, executor.seconds, executor.numbers)
        gc.collect()
