"""Which tasks a pipeline took over from an earlier run, seen from where their artifacts lie.

minio://mlpipeline/v2/artifacts/PIPELINE/RUN/TASK/ATTEMPT/adapter        Kubeflow 2.17; ATTEMPT is a UUID
gs://bucket/root/PROJECT/RUN/TASK_ID/adapter                             Vertex AI, and Kubeflow before 2.17 alike
"""

from uuid import UUID

from pada_agent.components.backends.executor import Executor
from pada_agent.components.core.state import State

OUTPUT = "state"


def taken_over(ex: Executor, before: State, step: str, iteration: int) -> dict[str, str]:
    """By task, the run that it ran in, for each task behind this step's inputs that ran in another run than the step itself.

    `before` is the state that the step starts from.
    """
    model = {"start": "vanilla", "step_matched": "step-matched"}.get(step, str(iteration))
    makers = {
        "train_data": "prepare",
        "analyses": f"analyze-{iteration}",
        "checked_batches": f"control-{iteration}",
        "adapter": f"train-{model}",
        "report_predictions": f"evaluate-{model}",
        "baseline_report_predictions": "evaluate-untuned" if step == "start" else "evaluate-step-matched",
        "previous_state": _all_before(before),
    }
    here = _place(ex.output_uri(OUTPUT))
    places = {maker: _place(ex.input_uri(name)) for name, maker in makers.items() if ex.has_input(name)}
    # What another pipeline made, or a person, lies elsewhere: it is no task of this one.
    return {maker: place[1] for maker, place in places.items() if here and place and place[0] == here[0] and place[1] != here[1]}


def _all_before(state: State) -> str:
    """Words for all tasks up to the one that left `state`."""
    last = state.iterations[-1] if state.iterations else None
    if last is None:
        return "all up to start"
    return f"all up to {'score' if last.model else 'merge'}-{last.number}"


def _place(uri: str) -> tuple[str, str] | None:
    """Where a pipeline's runs lie and the run that made the artifact; None where the URI is not laid out so."""
    folders = uri.split("/")[:-1]
    if "://" not in uri or len(folders) < 6:
        return None
    run = -3 if _is_uuid(folders[-1]) else -2
    return "/".join(folders[:run]), folders[run]


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
