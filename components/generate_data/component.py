"""The Kubeflow contract of generate_data."""

from kfp import dsl

from pada_agent.components.images import image


@dsl.container_component
def generate_data(
    train_data: dsl.Input[dsl.Dataset],
    batches: dsl.Output[dsl.Dataset],
    open_batches: dsl.OutputPath(int),
    plan: dsl.Input[dsl.Dataset] = None,
    checked_batches: dsl.Input[dsl.Dataset] = None,
    iteration: int = 1,
    ledger: str = "",
    settings: dict = None,
    work_uri: str = "",
):
    """Has the teacher write training rows by `generate.method`; with checked batches, only the rows still missing from them.

    Args:
        settings: `task`, `slm`, `teacher`, `generate`, `loop`, `budget`; or all of a run; absent: those beside train_data.
        train_data: from prepare_data.
        plan: from analyze_patterns, to begin with; checked batches carry it.
        checked_batches: from the previous control_quality; those that are not open pass through.
        iteration: number of the iteration, from 1.
        ledger: where paid calls are kept: a file, or a gs://, s3:// or minio:// folder; empty: below work_uri, or nowhere.
        work_uri: gs://, s3:// or minio:// folder of the run: it tells there how far it is, an object an event; empty: nowhere.

    Returns:
        batches: samples waiting for a verdict, and the plan they were written by.
        open_batches: number of batches waiting for a verdict.
    """
    return dsl.ContainerSpec(
        image=image("generate_data"),
        command=["python", "-m", "pada_agent.components.generate_data"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
