"""The Kubeflow contract of control_quality."""

from kfp import dsl

from pada_agent.components.images import image


@dsl.container_component
def control_quality(
    train_data: dsl.Input[dsl.Dataset],
    plan: dsl.Input[dsl.Dataset],
    batches: dsl.Input[dsl.Dataset],
    checked_batches: dsl.Output[dsl.Dataset],
    accepted: dsl.OutputPath(int),
    open_batches: dsl.OutputPath(int),
    synthetic_data: dsl.Input[dsl.Dataset] = None,
    iteration: int = 1,
    ledger: str = "",
    settings: dict = None,
    events_uri: str = "",
):
    """Lets in rows that are right, on the pattern, new, no leak and good in the judge's eyes; returns the rest with the reason.

    Args:
        settings: `task`, `teacher`, `judge`, `generate`, `control`, `budget`; or all of a run; absent: those beside train_data.
        train_data: from prepare_data, with its fingerprints of held-out rows.
        plan: from analyze_patterns.
        batches: from generate_data.
        synthetic_data: rows accepted in earlier iterations.
        iteration: number of the iteration, from 1.
        ledger: where paid calls are kept: a file, or a gs://, s3:// or minio:// folder; empty keeps none.
        events_uri: gs://, s3:// or minio:// folder below which it tells how far it is, an object an event; empty tells nothing.

    Returns:
        checked_batches: a verdict on every sample.
        accepted: number of rows let in.
        open_batches: number of batches that another generate_data would write to; 0 ends the chain.
    """
    return dsl.ContainerSpec(
        image=image("control_quality"),
        command=["python", "-m", "pada_agent.components.control_quality"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
