"""The steps of a run's state: which artifacts each takes, whose model it records, and what it makes of them."""

from collections.abc import Collection, Sequence

from pada_agent.components.core.cost.estimate import estimate
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.evidence import Evaluated, Learnt
from pada_agent.components.core.records import TrainRow
from pada_agent.components.core.report.shown_rows import ShownRow, draw_rows, with_answers, with_parents
from pada_agent.components.core.report.verdict import STEP_MATCHED
from pada_agent.components.core.settings import UpdateState
from pada_agent.components.core.state import Kind, State
from pada_agent.components.core.tasks.task import Task
from pada_agent.components.stages import STAGES
from pada_agent.components.update_state import update

STEPS = STAGES["update_state"].steps
Advance = tuple[State, list[ShownRow]]  # the state, and the rows that its report shows


def check_step(step: str, given: Collection[str]) -> None:
    """Raises InputError for an unknown step, or for artifacts that are not this step's."""
    if step not in STEPS:
        *some, last = STEPS
        raise InputError(f"step '{step}' is not known; use {', '.join(some)} or {last}")
    if "previous_state" in STEPS[step].needed and "previous_state" not in given:
        raise InputError(f"step '{step}' needs the input artifact 'previous_state'; the first step of a run is 'start'")
    STEPS[step].check(set(given), f"step '{step}'")


def recorded_model(step: str, iteration: int) -> tuple[str, Kind]:
    """Name and kind of the model that a step records."""
    models: dict[str, tuple[str, Kind]] = {
        "start": ("vanilla", "start"),
        "score": (f"iteration-{iteration}", "candidate"),
        "step_matched": (STEP_MATCHED, "step_matched"),
    }
    return models[step]


def baseline_model(step: str) -> tuple[str, Kind]:
    """Name and kind of the model that a step may record beside its own."""
    return ("untuned", "untuned") if step == "start" else (STEP_MATCHED, "step_matched")


def begin(
    state: State, settings: UpdateState, task: Task, train: Sequence[TrainRow], model: Evaluated, untuned: Evaluated | None
) -> Advance:
    """Record the fine-tuned model the run starts from and, if evaluated, the untuned one; and what the run should cost."""
    if untuned:
        state = update.start(state, untuned.model, untuned.groups)
    state = update.start(state, model.model, model.groups)
    validation = state.start.metrics.get("validation")
    stages = estimate(settings, task, [row.fields for row in train], len(train), validation.n if validation else 0)
    state = state.model_copy(update={"expected": {s.stage: s.expected for s in stages}})
    shown = draw_rows(model.open_predictions, task, settings.seed)
    return state, _with_answers(shown, *([untuned] if untuned else []), model)


def merge(at: Advance, settings: UpdateState, task: Task, train: Sequence[TrainRow], iteration: int, learnt: Learnt) -> Advance:
    """Add what the iteration found and wrote, with the training rows it was written from and the errors made on them."""
    state, shown = at
    state = update.merge(state, iteration, learnt)
    shown = with_parents(shown, train, learnt.batches, task, settings.seed)
    return state, with_answers(shown, state.analysed(state.iterations[-1].number), {"train": learnt.errors})


def record(at: Advance, settings: UpdateState, step: str, model: Evaluated, step_matched: Evaluated | None = None) -> Advance:
    """Record the model of an iteration and, if it was trained beside it, the step-matched one; or that one alone."""
    state, shown = at
    if step == "score":
        state = update.score(state, model.model, model.groups, settings.loop, settings.budget)
    else:
        step_matched = model
    if step_matched:
        state = update.step_matched(state, step_matched.model, step_matched.groups)
    return state, _with_answers(shown, model, *([step_matched] if step_matched and step_matched is not model else []))


def step_matched_next(state: State, step: str, wanted: bool) -> bool:
    """Whether the step-matched model is to be trained now: after the last iteration that trained one, if it was not beside it."""
    kinds = {model.kind for model in state.models}
    ends = step in ("merge", "score") and not state.decision.go_on
    return wanted and ends and "candidate" in kinds and "step_matched" not in kinds


def numbers(state: State, synthetic_rows: int) -> dict[str, bool | int | str]:
    """What a step leaves, by words: what would be shipped now, the rows so far, whether to go on, what other runs did."""
    go_on = True if state.decision.go_on else f"no ({state.decision.reason})"
    taken = {run: [task for task, of in state.taken_over.items() if of == run] for run in sorted(set(state.taken_over.values()))}
    others = {f"taken over from {run}": ", ".join(tasks) for run, tasks in taken.items()}
    return {"ships": state.incumbent, "synthetic rows": synthetic_rows, "go on": go_on, **others}


def _with_answers(shown: list[ShownRow], *models: Evaluated) -> list[ShownRow]:
    for model in models:
        shown = with_answers(shown, model.model.name, model.open_predictions)
    return shown
