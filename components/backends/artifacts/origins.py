"""Which tasks a pipeline took over from an earlier run, seen from where their artifacts lie."""

from pada_agent.components.backends.executor import Executor
from pada_agent.components.core.places import place_of
from pada_agent.components.core.state import State

OUTPUT = "state"


def taken_over(ex: Executor, before: State, step: str, iteration: int) -> dict[str, str]:
    """By task, the run that it ran in, for each task behind this step's inputs that ran in another run than the step itself.

    `before` is the state that the step starts from.
    """
    model = {"start": "vanilla", "step_matched": "step-matched"}.get(step, str(iteration))
    answers = "grade" if before.run.scorer else "evaluate"  # whose task has them with their scores
    makers = {
        "train_data": "prepare",
        "analyses": f"analyze-{iteration}",
        "checked_batches": f"control-{iteration}",
        "adapter": f"train-{model}",
        "report_predictions": f"{answers}-{model}",
        "baseline_report_predictions": f"{answers}-untuned",
        "previous_state": _all_before(before),
    }
    here = place_of(ex.output_uri(OUTPUT))
    places = {maker: place_of(ex.input_uri(name)) for name, maker in makers.items() if ex.has_input(name)}
    # What another pipeline made, or a person, lies elsewhere: it is no task of this one.
    return {
        maker: place.run
        for maker, place in places.items()
        if here and place and place.root == here.root and place.run != here.run
    }


def _all_before(state: State) -> str:
    """Words for all tasks up to the one that left `state`."""
    last = state.iterations[-1] if state.iterations else None
    if last is None:
        return "all up to start"
    return f"all up to {'score' if last.model else 'merge'}-{last.number}"
