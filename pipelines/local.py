"""The loop on one machine: which stage follows which, and when to stop. How one runs is in engine.py."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from components.core.errors import InputError
from components.core.settings import STAGE_SETTINGS, Settings
from pipelines.embedded import EmbeddedServers, Server
from pipelines.engine import Artifacts, Done, Engine, Reached, Stage
from pipelines.outcome import publish
from pipelines.run_directory import RunDirectory
from pipelines.run_log import RunLog

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


def links(settings: Settings) -> int:
    """How many generate/control pairs one iteration may have: a batch with its regenerations, then each refill's."""
    return (1 + settings.generate.regenerations) * (1 + settings.generate.refills)


def plan(settings: Settings) -> list[str]:
    """Names of all tasks a run may have. A task's number is its place here, also when tasks before it are left out."""
    names = ["prepare", "evaluate-untuned", "train-vanilla", "evaluate-vanilla", "start-untuned", "start-vanilla"]
    for t in range(1, settings.loop.iterations + 1):
        pairs = [f"{verb}-{t}-{link}" for link in range(1, links(settings) + 1) for verb in ("generate", "control")]
        names += [f"analyze-{t}", *pairs, f"merge-{t}", f"train-{t}", f"evaluate-{t}", f"score-{t}"]
    return [*names, "train-step-matched", "evaluate-step-matched", "score-step-matched"]


def _stages() -> dict[str, Stage]:
    return {name: import_module(f"components.{name}.__main__").run for name in STAGE_SETTINGS}


@dataclass(frozen=True)
class Parts:
    """What a run is made of: by default the real stages, llama.cpp's server, and the report."""

    stages: Mapping[str, Stage] = field(default_factory=_stages)
    server: Server | None = None
    publish: Callable[[Path, Path], None] = publish
    log: RunLog = field(default_factory=RunLog)


def run(settings: Settings, run_dir: Path, until: str = "", parts: Parts | None = None) -> Outcome:
    """Run, or go on with a run. `until` is a key of UNTIL or a task's name. Raises PadaError with what to do."""
    parts = parts or Parts()
    names = plan(settings)
    last = UNTIL.get(until, until)
    if last and last not in names:
        raise InputError(f"--until {until}: there is no such step; there are {', '.join(UNTIL)}, or a task such as {names[-4]}")
    directory = RunDirectory(run_dir)
    with directory.locked(), EmbeddedServers(settings, parts.server) as servers:
        directory.keep_settings(settings)

        def on_state(state: Path) -> None:
            directory.note_state(state)
            parts.publish(state, directory.path)

        engine = Engine(settings, directory, names, last, parts.log, servers, parts.stages, on_state)
        try:
            _loop(engine, settings)
            stopped_at = ""
        except Reached:
            stopped_at = last
        state = _last_state(engine.tasks)
        if state:
            on_state(state)
    return Outcome(directory.path, engine.tasks, state, stopped_at)


def _loop(do: Engine, settings: Settings) -> None:
    data = do.task("prepare", "prepare_data")
    both = {"train_data": data["train_data"], "heldout_data": data["heldout_data"]}
    safe = {"train_data": data["train_data"], "fingerprints": data["fingerprints"]}
    untuned = do.task("evaluate-untuned", "evaluate_slm", both, splits="selection,test", name="untuned")
    adapter = do.task("train-vanilla", "train_lora", safe, name="vanilla")
    vanilla = do.task("evaluate-vanilla", "evaluate_slm", {**both, "adapter": adapter["adapter"]}, name="vanilla")
    start = {"train_data": data["train_data"]}
    state = do.task("start-untuned", "update_state", {**start, **_scores(untuned)}, step="start", name="untuned")
    known = {**start, "state": state["state"], "adapter": adapter["adapter"], **_scores(vanilla)}
    state = do.task("start-vanilla", "update_state", known, step="start", name="vanilla")

    predictions, steps = vanilla["predictions"], 0
    synthetic: Path | None = None
    for t in range(1, settings.loop.iterations + 1):
        found = {**safe, "predictions": predictions, "state": state["state"]}
        analysis = do.task(f"analyze-{t}", "analyze_patterns", found, iteration=t)
        written = _write(do, settings, t, {**safe, "plan": analysis["plan"]}, synthetic)
        learnt: Artifacts = {**start, "state": state["state"], "analyses": analysis["analyses"], "plan": analysis["plan"]}
        learnt = {**learnt, "batches": written["checked_batches"], "synthetic_data": synthetic}
        state = do.task(f"merge-{t}", "update_state", learnt, step="merge", iteration=t, name=f"iteration-{t}")
        if not state.parameters.get("go_on", True):
            break
        synthetic = state["synthetic_data"]
        adapter = do.task(f"train-{t}", "train_lora", {**safe, "synthetic_data": synthetic}, name=f"iteration-{t}")
        scored = do.task(f"evaluate-{t}", "evaluate_slm", {**both, "adapter": adapter["adapter"]}, name=f"iteration-{t}")
        predictions, steps = scored["predictions"], int(adapter.parameters["steps"])
        known = {**start, "state": state["state"], "adapter": adapter["adapter"], **_scores(scored)}
        known |= {"synthetic_data": synthetic}
        state = do.task(f"score-{t}", "update_state", known, step="score", iteration=t, name=f"iteration-{t}")
        if not state.parameters["go_on"]:
            break
    if settings.step_matched and steps:
        _step_matched(do, both, safe, state, steps)


def _write(do: Engine, settings: Settings, t: int, known: dict[str, Path], synthetic: Path | None) -> Done:
    """Generate and control in turn until nothing is open or the chain is at its end."""
    sources = {"train_data": known["train_data"], "plan": known["plan"]}
    checked: Done | None = None
    for link in range(1, links(settings) + 1):
        earlier = checked["checked_batches"] if checked else None
        batches = do.task(f"generate-{t}-{link}", "generate_data", {**sources, "batches": earlier}, iteration=t)
        judged = {**known, "batches": batches["batches"], "synthetic_data": synthetic}
        checked = do.task(f"control-{t}-{link}", "control_quality", judged, iteration=t)
        if checked.parameters["open_batches"] == 0:
            break
    assert checked is not None  # links() is at least 1
    return checked


def _step_matched(do: Engine, both: dict[str, Path], safe: dict[str, Path], state: Done, steps: int) -> None:
    """The control without which a gain may be the longer training's: vanilla, for as many steps as the last adapter."""
    adapter = do.task("train-step-matched", "train_lora", safe, max_steps=steps, name="step-matched")
    tuned = {**both, "adapter": adapter["adapter"]}
    scored = do.task("evaluate-step-matched", "evaluate_slm", tuned, splits="selection,test", name="step-matched")
    known = {
        "state": state["state"],
        "train_data": both["train_data"],
        "adapter": adapter["adapter"],
        **_scores(scored),
    }
    do.task("score-step-matched", "update_state", known, step="control", name="step-matched")


def _scores(evaluated: Done) -> dict[str, Path]:
    return {"predictions": evaluated["predictions"], "report_predictions": evaluated["report_predictions"]}


def _last_state(tasks: Mapping[str, Done]) -> Path | None:
    states = [done["state"] for done in tasks.values() if "state" in done.outputs]
    return states[-1] if states else None
