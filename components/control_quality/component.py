"""The Kubeflow contract of control_quality."""

from kfp import dsl

from pada_agent.components.images import image


@dsl.container_component
def control_quality(
    train_data: dsl.Input[dsl.Dataset],
    batches: dsl.Input[dsl.Dataset],
    checked_batches: dsl.Output[dsl.Dataset],
    accepted: dsl.OutputPath(int),
    open_batches: dsl.OutputPath(int),
    synthetic_data: dsl.Input[dsl.Dataset] = None,
    iteration: int = 1,
    ledger: str = "",
    settings: dict = None,
    work_uri: str = "",
):
    """Lets in rows that are right, on the pattern, new, no leak and good in the judge's eyes; returns the rest with the reason.

    Args:
        settings: `task`, `teacher`, `judge`, `generate`, `control`, `budget`; or all of a run; absent: those beside train_data.
        train_data: from prepare_data, with its fingerprints of held-out rows.
        batches: from generate_data; they carry their plan.
        synthetic_data: rows accepted in earlier iterations.
        iteration: number of the iteration, from 1.
        ledger: where paid calls are kept: a file, or a gs://, s3:// or minio:// folder; empty: below work_uri, or nowhere.
        work_uri: gs://, s3:// or minio:// folder of the run: it tells there how far it is, an object an event; empty: nowhere.

    Returns:
        checked_batches: a verdict on every sample, and the plan they were written by.
        accepted: number of rows let in.
        open_batches: number of batches that another generate_data would write to; 0 ends the chain.
    """
    return dsl.ContainerSpec(
        image=image("control_quality"),
        command=["python", "-m", "pada_agent.components.control_quality"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
