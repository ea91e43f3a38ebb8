"""The Kubeflow contract of update_state."""

from kfp import dsl

from pada_agent.components.images import image


@dsl.container_component
def update_state(
    settings: dict,
    step: str,
    train_data: dsl.Input[dsl.Dataset],
    state: dsl.Output[dsl.Artifact],
    synthetic_data: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    go_on: dsl.OutputPath(bool),
    step_matched: dsl.OutputPath(bool),
    reason: dsl.OutputPath(str),
    shipped: dsl.OutputPath(str),
    previous_state: dsl.Input[dsl.Artifact] = None,
    previous_synthetic_data: dsl.Input[dsl.Dataset] = None,
    analyses: dsl.Input[dsl.Dataset] = None,
    plan: dsl.Input[dsl.Dataset] = None,
    checked_batches: dsl.Input[dsl.Dataset] = None,
    adapter: dsl.Input[dsl.Model] = None,
    predictions: dsl.Input[dsl.Dataset] = None,
    report_predictions: dsl.Input[dsl.Dataset] = None,
    baseline_adapter: dsl.Input[dsl.Model] = None,
    baseline_predictions: dsl.Input[dsl.Dataset] = None,
    baseline_report_predictions: dsl.Input[dsl.Dataset] = None,
    iteration: int = 0,
    export_uri: str = "",
    events_uri: str = "",
):
    """Keeps the run's state, merges accepted rows, decides what is shipped and whether to go on, writes the report.

    Args:
        settings: all settings of a run.
        step: start, merge, score or step_matched; each takes the inputs that components/stages.py names.
        train_data: from prepare_data.
        previous_state: from the previous update_state.
        previous_synthetic_data: rows accepted so far.
        baseline_predictions: of the untuned model, at the start.
        iteration: from 1; 0 at the start.
        export_uri: gs://, s3:// or minio:// folder that holds the adapter to ship; empty exports nothing.
        events_uri: gs://, s3:// or minio:// folder below which it tells how far it is, an object an event; empty tells nothing.
        report: what was found, tried and gained.
        go_on: whether another iteration is worth it.
        step_matched: whether to train step-matched vanilla now, for comparison with the last iteration.
        reason: why the loop ends; empty if it goes on.
        shipped: name of the model to ship.
    """
    return dsl.ContainerSpec(
        image=image("update_state"),
        command=["python", "-m", "pada_agent.components.update_state"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
