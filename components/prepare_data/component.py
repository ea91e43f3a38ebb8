"""The Kubeflow contract of prepare_data."""

from kfp import dsl

from pada_agent.components.images import image


@dsl.container_component
def prepare_data(
    settings: dict,
    train_data: dsl.Output[dsl.Dataset],
    heldout_data: dsl.Output[dsl.Dataset],
    fingerprints: dsl.Output[dsl.Artifact],
    train_rows: dsl.OutputPath(int),
    max_iterations: int = 0,
):
    """Checked train, validation, selection and test rows, free of duplicates across splits.

    Args:
        settings: section `task`, or the settings of a whole run, which are then checked whole.
        max_iterations: how many iterations the pipeline is compiled for; settings that ask for more are refused. 0: no limit.
        train_data: training rows and the task's own files.
        heldout_data: validation, selection and test rows; only evaluate_slm may read them.
        fingerprints: hashes of the held-out rows, against leaks.
        train_rows: how many.
    """
    return dsl.ContainerSpec(
        image=image("prepare_data"),
        command=["python", "-m", "pada_agent.components.prepare_data"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
