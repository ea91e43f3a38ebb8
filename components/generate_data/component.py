"""The Kubeflow contract of generate_data."""

from kfp import dsl

from pada_agent.components.images import image


@dsl.container_component
def generate_data(
    settings: dict,
    train_data: dsl.Input[dsl.Dataset],
    plan: dsl.Input[dsl.Dataset],
    batches: dsl.Output[dsl.Dataset],
    open_batches: dsl.OutputPath(int),
    checked_batches: dsl.Input[dsl.Dataset] = None,
    iteration: int = 1,
    ledger: str = "",
):
    """Training rows written by the teacher against the patterns; with checked batches, what is still missing of them.

    Args:
        settings: sections `task`, `teacher`, `generate`, `loop`, `budget`; or a whole run's.
        train_data: of prepare_data.
        plan: of analyze_patterns.
        checked_batches: of the control_quality before; where nothing is open they pass through.
        iteration: from 1.
        ledger: file, or gs:// or s3:// folder, of paid calls; empty keeps none.
        batches: samples that wait for a verdict.
        open_batches: how many wait.
    """
    return dsl.ContainerSpec(
        image=image("generate_data"),
        command=["python", "-m", "pada_agent.components.generate_data"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
