"""The Kubeflow contract of update_state."""

from kfp import dsl

from pada_agent.components.images import image


@dsl.container_component
def update_state(
    step: str,
    train_data: dsl.Input[dsl.Dataset],
    state: dsl.Output[dsl.Artifact],
    synthetic_data: dsl.Output[dsl.Dataset],
    report_so_far: dsl.Output[dsl.HTML],
    go_on: dsl.OutputPath(bool),
    step_matched: dsl.OutputPath(bool),
    previous_state: dsl.Input[dsl.Artifact] = None,
    analyses: dsl.Input[dsl.Dataset] = None,
    checked_batches: dsl.Input[dsl.Dataset] = None,
    adapter: dsl.Input[dsl.Model] = None,
    predictions: dsl.Input[dsl.Dataset] = None,
    report_predictions: dsl.Input[dsl.Dataset] = None,
    baseline_report_predictions: dsl.Input[dsl.Dataset] = None,
    iteration: int = 0,
    export_uri: str = "",
    work_uri: str = "",
    settings: dict = None,
):
    """Keeps the run's state, merges accepted rows, decides what is shipped and whether to go on, writes the report.

    Args:
        settings: all settings of a run; absent: those beside the rows of train_data.
        step: start, merge, score or step_matched; each takes the inputs that components/stages.py names.
        train_data: from prepare_data.
        previous_state: from the previous update_state; it has the rows accepted so far.
        analyses: from analyze_patterns, of this iteration.
        checked_batches: from the last control_quality of this iteration; they carry their plan.
        adapter: from train_lora, of the model to record.
        predictions: of that model on train and validation, from evaluate_slm.
        report_predictions: of that model on selection and test, from evaluate_slm.
        baseline_report_predictions: of the untuned model on selection and test, at the start.
        iteration: from 1; 0 at the start.
        export_uri: gs://, s3:// or minio:// folder that holds the adapter to ship; empty exports nothing.
        work_uri: gs://, s3:// or minio:// folder of the run: it tells there how far it is, an object an event, and keeps state
            and report of the step; empty: nowhere.

    Returns:
        state: what the run knows so far, and the rows that its report shows.
        synthetic_data: all rows accepted so far.
        report_so_far: what was found, tried and gained up to this step.
        go_on: whether another iteration is worth it.
        step_matched: whether to train step-matched vanilla now, for comparison with the last iteration.
    """
    return dsl.ContainerSpec(
        image=image("update_state"),
        command=["python", "-m", "pada_agent.components.update_state"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
