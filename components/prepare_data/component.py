"""The Kubeflow contract of prepare_data."""

from kfp import dsl

from pada_agent.components.images import image


@dsl.container_component
def prepare_data(
    settings: dict,
    train_data: dsl.Output[dsl.Dataset],
    heldout_data: dsl.Output[dsl.Dataset],
    train_rows: dsl.OutputPath(int),
    max_iterations: int = 0,
    data_version: str = "",
):
    """Prepares train, validation, selection and test rows: checked, and without duplicates across splits.

    Args:
        settings: section `task`, or all settings of a run, which are then all checked and handed to other stages in train_data.
        max_iterations: how many iterations the pipeline is compiled for; settings that ask for more are refused. 0: no limit.
        data_version: what lies at the settings' addresses, for a pipeline's cache; what `pada submit` wrote is checked.

    Returns:
        train_data: training rows, the task's own files, hashes of the held-out rows against leaks, the settings of a whole run.
        heldout_data: validation, selection and test rows; only evaluate_slm may read them.
        train_rows: number of training rows.
    """
    return dsl.ContainerSpec(
        image=image("prepare_data"),
        command=["python", "-m", "pada_agent.components.prepare_data"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
