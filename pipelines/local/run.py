"""A run on one machine: the recipe (loop.py) followed by the engine, in a run directory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.quality.chain import links
from pada_agent.components.core.settings import Settings
from pada_agent.pipelines.local.embedded_servers import EmbeddedServers, Server
from pada_agent.pipelines.local.engine import Done, Engine, Reached, Stage
from pada_agent.pipelines.local.log import RunLog
from pada_agent.pipelines.local.outcome import publish
from pada_agent.pipelines.local.remote_run import open_run
from pada_agent.pipelines.local.run_directory import own_files, task_key
from pada_agent.pipelines.local.shared_tasks import open_shared
from pada_agent.pipelines.loop import Loop, task_names

UNTIL = {
    "prepare": "prepare",
    "train": "train-vanilla",
    "evaluate": "evaluate-vanilla",
    "analyze": "analyze-1",
    "generate": "merge-1",
}


@dataclass(frozen=True)
class Outcome:
    """What a run left: its tasks, its last state (None if it stopped before), and where it stopped ('': at the end)."""

    run_dir: Path
    tasks: dict[str, Done]
    state: Path | None
    stopped_at: str


def run_key(settings: Settings) -> str:
    """Hash of what a run reads: its settings, how endpoints are reached aside, and the user's own files that they name."""
    return task_key("prepare_data", {"settings": settings.model_dump(mode="json")}, {}, own_files(settings))


def entry(stage: str) -> Stage:
    """A stage's entry, as its container calls it. Imported only when the stage runs: most bring something heavy."""
    program: Stage = import_module(f"pada_agent.components.{stage}.__main__").run
    return program


@dataclass(frozen=True)
class Parts:
    """What a run is made of: by default the real stages, llama.cpp's server, and the report."""

    stage: Callable[[str], Stage] = entry
    server: Server | None = None
    publish: Callable[[Path, Path], None] = publish
    log: RunLog = field(default_factory=RunLog)
    shared: Path | str | None = None  # folder or URI of tasks that this run has in common with others


def run(settings: Settings, run_dir: Path | str, until: str = "", parts: Parts | None = None) -> Outcome:
    """Run, or go on with a run, in a directory here or at a URI in a store. `until` is a key of UNTIL or a task's name.

    Raises PadaError with what to do.
    """
    parts = parts or Parts()
    most = settings.loop.iterations, links(settings.generate), settings.task.scored_by_llm
    names = task_names(*most)
    last = UNTIL.get(until, until)
    if until == "evaluate" and settings.task.scored_by_llm:
        last = "grade-vanilla"
    if last and last not in names:
        raise InputError(f"--until {until}: there is no such step; there are {', '.join(UNTIL)}, or a task such as {names[-4]}")
    directory = open_run(run_dir)
    with directory.locked(), EmbeddedServers(settings, parts.server) as servers:
        directory.keep_settings(settings)

        def on_state(state: Path) -> None:
            directory.note_state(state)
            parts.publish(state, directory.path)
            directory.keep_report()

        shared = open_shared(parts.shared) if parts.shared else None
        engine = Engine(settings, directory, names, last, parts.log, servers, parts.stage, on_state, shared)
        try:
            Loop(engine, *most).follow()
            stopped_at = ""
        except Reached:
            stopped_at = last
        state = _last_state(engine.tasks)
        if state:
            on_state(state)
    return Outcome(directory.path, engine.tasks, state, stopped_at)


def _last_state(tasks: Mapping[str, Done]) -> Path | None:
    states = [done["state"] for done in tasks.values() if "state" in done.outputs]
    return states[-1] if states else None
