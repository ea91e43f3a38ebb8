"""The steps of a run's state: which artifacts each takes, whose model it records, and what it makes of them."""

from collections.abc import Collection, Sequence

from pada_agent.components.core.cost.estimate import estimate
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.evidence import Evaluated, Learnt
from pada_agent.components.core.records import TrainRow
from pada_agent.components.core.report.facts import Lead
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


def begin(
    state: State, settings: UpdateState, task: Task, train: Sequence[TrainRow], model: Evaluated, untuned: Evaluated | None
) -> Advance:
    """Record the fine-tuned model the run starts from, the untuned one if evaluated, what it should cost, the user's prompts."""
    if untuned:
        state = update.start(state, untuned.model, untuned.groups)
    state = update.start(state, model.model, model.groups)
    counts = {split: metrics.n for split, metrics in state.start.metrics.items()}
    reported = counts.get("selection", 0) + counts.get("test", 0)
    stages = estimate(settings, task, [row.fields for row in train], len(train), counts.get("validation", 0), reported)
    expected = {s.stage: s.expected for s in stages}
    state = state.model_copy(update={"expected": expected, "prompts": task.prompts.own, "scorer_check": model.scorer_check})
    shown = draw_rows(model.open_predictions, task, settings.seed)
    return state, _with_answers(shown, *([untuned] if untuned else []), model)


def merge(at: Advance, settings: UpdateState, task: Task, train: Sequence[TrainRow], iteration: int, learnt: Learnt) -> Advance:
    """Add what the iteration found and wrote, with the training rows it was written from and the errors made on them."""
    state, shown = at
    state = update.merge(state, iteration, learnt)
    shown = with_parents(shown, train, learnt.batches, task, settings.seed)
    return state, with_answers(shown, state.analysed(state.iterations[-1].number), {"train": learnt.errors})


def record(at: Advance, settings: UpdateState, step: str, model: Evaluated) -> Advance:
    """Record the model of an iteration, or the step-matched one."""
    state, shown = at
    if step == "score":
        state = update.score(state, model.model, model.groups, settings.loop, settings.budget)
    else:
        state = update.step_matched(state, model.model, model.groups)
    return state, _with_answers(shown, model)


def snapshot(state: State, step: str, iteration: int) -> Lead | None:
    """What stands above the report of a run that goes on after this step; None where nothing is left to do."""
    if state.over:
        return None
    done = {
        "start": "the models that the run starts from were evaluated",
        "merge": f"iteration {iteration} was merged",
        "score": f"iteration {iteration} was scored",
        "step_matched": "the step-matched model was scored",
    }[step]
    return Lead(
        headline=f"A snapshot, taken after {done}; the run went on.",
        details=[
            "The whole run's report is the artifact report of the task result; on one machine, report.html in the run directory."
        ],
    )


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
