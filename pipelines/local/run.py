"""The loop on one machine: which stage follows which, and when to stop. How one runs is in engine.py."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import Settings
from pada_agent.pipelines.local.embedded_servers import EmbeddedServers, Server
from pada_agent.pipelines.local.engine import Artifacts, Done, Engine, Reached, Stage
from pada_agent.pipelines.local.log import RunLog
from pada_agent.pipelines.local.outcome import publish
from pada_agent.pipelines.local.remote_run import open_run

UNTIL = {
    "prepare": "prepare",
    "train": "train-vanilla",
    "evaluate": "evaluate-vanilla",
    "analyze": "analyze-1",
    "generate": "merge-1",
}
REPORTED = "selection,test"


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
    names = ["prepare", "evaluate-untuned", "train-vanilla", "evaluate-vanilla", "start"]
    for t in range(1, settings.loop.iterations + 1):
        pairs = [f"{verb}-{t}-{link}" for link in range(1, links(settings) + 1) for verb in ("generate", "control")]
        names += [f"analyze-{t}", *pairs, f"merge-{t}", f"train-{t}", f"evaluate-{t}", f"score-{t}"]
    return [*names, "train-step-matched", "evaluate-step-matched", "score-step-matched"]


def entry(stage: str) -> Stage:
    """What `python -m components.<stage>` would call. Imported only when the stage runs: most bring something heavy."""
    found: Stage = import_module(f"pada_agent.components.{stage}.__main__").run
    return found


@dataclass(frozen=True)
class Parts:
    """What a run is made of: by default the real stages, llama.cpp's server, and the report."""

    stage: Callable[[str], Stage] = entry
    server: Server | None = None
    publish: Callable[[Path, Path], None] = publish
    log: RunLog = field(default_factory=RunLog)


def run(settings: Settings, run_dir: Path | str, until: str = "", parts: Parts | None = None) -> Outcome:
    """Run, or go on with a run, in a directory here or at a gs:// or s3:// URI. `until` is a key of UNTIL or a task's name.

    Raises PadaError with what to do.
    """
    parts = parts or Parts()
    names = plan(settings)
    last = UNTIL.get(until, until)
    if last and last not in names:
        raise InputError(f"--until {until}: there is no such step; there are {', '.join(UNTIL)}, or a task such as {names[-4]}")
    directory = open_run(run_dir)
    with directory.locked(), EmbeddedServers(settings, parts.server) as servers:
        directory.keep_settings(settings)

        def on_state(state: Path) -> None:
            directory.note_state(state)
            parts.publish(state, directory.path)
            directory.keep_report()

        engine = Engine(settings, directory, names, last, parts.log, servers, parts.stage, on_state)
        try:
            _loop(engine, settings)
            stopped_at = ""
        except Reached:
            stopped_at = last
        state = _last_state(engine.tasks)
        if state:
            on_state(state)
    return Outcome(directory.path, engine.tasks, state, stopped_at)


@dataclass(frozen=True)
class Course:
    """Where the loop stands: the state, what the next analysis reads, the synthetic data so far, the last adapter's steps."""

    state: Path
    predictions: Path
    synthetic: Path | None = None
    steps: int = 0
    go_on: bool = True


def _loop(do: Engine, settings: Settings) -> None:
    data = do.task("prepare", "prepare_data")
    course = _begin(do, data)
    for t in range(1, settings.loop.iterations + 1):
        course = _iterate(do, data, course, t, links(settings))
        if not course.go_on:
            break
    if settings.step_matched and course.steps:
        # Without this control a gain may be the longer training's.
        _, scored = _train_and_evaluate(do, data, "step-matched", splits=REPORTED, max_steps=course.steps)
        known = {"train_data": data["train_data"], "previous_state": course.state, **scored}
        do.task("score-step-matched", "update_state", known, step="control")


def _begin(do: Engine, data: Done) -> Course:
    rows = {"train_data": data["train_data"], "heldout_data": data["heldout_data"]}
    untuned = do.task("evaluate-untuned", "evaluate_slm", rows, splits=REPORTED, name="untuned")
    _, scored = _train_and_evaluate(do, data, "vanilla")
    beside = {f"baseline_{artifact}": path for artifact, path in _scores(untuned).items()}
    state = do.task("start", "update_state", {"train_data": data["train_data"], **scored, **beside}, step="start")
    return Course(state["state"], scored["predictions"])


def _iterate(do: Engine, data: Done, course: Course, t: int, most_links: int) -> Course:
    """From failures to data to a new adapter, always trained from the base model."""
    safe = {"train_data": data["train_data"], "fingerprints": data["fingerprints"]}
    found = {**safe, "predictions": course.predictions, "state": course.state}
    analysis = do.task(f"analyze-{t}", "analyze_patterns", found, iteration=t)
    known = {**safe, "plan": analysis["plan"], "synthetic_data": course.synthetic}
    learnt = {
        "train_data": data["train_data"],
        "previous_state": course.state,
        "previous_synthetic_data": course.synthetic,
        "analyses": analysis["analyses"],
        "plan": analysis["plan"],
        "checked_batches": _write(do, known, t, most_links),
    }
    merged = do.task(f"merge-{t}", "update_state", learnt, step="merge", iteration=t)
    if not merged.parameters["go_on"]:
        return replace(course, state=merged["state"], go_on=False)
    synthetic = merged["synthetic_data"]
    adapter, scored = _train_and_evaluate(do, data, str(t), f"iteration-{t}", synthetic)
    scores = {"train_data": data["train_data"], "previous_state": merged["state"], "previous_synthetic_data": synthetic, **scored}
    state = do.task(f"score-{t}", "update_state", scores, step="score", iteration=t)
    steps, go_on = int(adapter.parameters["steps"]), bool(state.parameters["go_on"])
    return Course(state["state"], scored["predictions"], synthetic, steps, go_on)


def _write(do: Engine, known: Artifacts, t: int, most_links: int) -> Path:
    """Generate and control in turn until nothing is open or the chain is at its end; the checked batches."""
    checked: Path | None = None
    for link in range(1, most_links + 1):
        sources = {"train_data": known["train_data"], "plan": known["plan"], "checked_batches": checked}
        written = do.task(f"generate-{t}-{link}", "generate_data", sources, iteration=t)
        judged = do.task(f"control-{t}-{link}", "control_quality", {**known, "batches": written["batches"]}, iteration=t)
        checked = judged["checked_batches"]
        if judged.parameters["open_batches"] == 0:
            break
    assert checked is not None  # there is at least one link
    return checked


def _train_and_evaluate(
    do: Engine,
    data: Done,
    task: str,
    name: str = "",
    synthetic: Path | None = None,
    splits: str = "train,validation,selection,test",
    **training: int,
) -> tuple[Done, dict[str, Path]]:
    """The tasks train-<task> and evaluate-<task>; the first, and what update_state reads of both."""
    safe = {"train_data": data["train_data"], "fingerprints": data["fingerprints"], "synthetic_data": synthetic}
    adapter = do.task(f"train-{task}", "train_lora", safe, name=name or task, **training)
    tuned = {"train_data": data["train_data"], "heldout_data": data["heldout_data"], "adapter": adapter["adapter"]}
    evaluated = do.task(f"evaluate-{task}", "evaluate_slm", tuned, splits=splits, name=name or task)
    return adapter, {"adapter": adapter["adapter"], **_scores(evaluated)}


def _scores(evaluated: Done) -> dict[str, Path]:
    return {"predictions": evaluated["predictions"], "report_predictions": evaluated["report_predictions"]}


def _last_state(tasks: Mapping[str, Done]) -> Path | None:
    states = [done["state"] for done in tasks.values() if "state" in done.outputs]
    return states[-1] if states else None
