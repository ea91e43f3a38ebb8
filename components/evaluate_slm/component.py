"""The Kubeflow contract of evaluate_slm."""

from kfp import dsl

from pada_agent.components.images import image


@dsl.container_component
def evaluate_slm(
    settings: dict,
    train_data: dsl.Input[dsl.Dataset],
    predictions: dsl.Output[dsl.Dataset],
    report_predictions: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    validation_accuracy: dsl.OutputPath(float),
    heldout_data: dsl.Input[dsl.Dataset] = None,
    adapter: dsl.Input[dsl.Model] = None,
    splits: str = "train,validation,selection,test",
    name: str = "model",
):
    """Greedy generation and scoring by the task, with intervals. Code that a model wrote runs in a sandbox.

    Args:
        settings: sections `task`, `slm`, `evaluate`; or a whole run's.
        train_data: of prepare_data.
        heldout_data: of prepare_data; needed for every split but train.
        adapter: of train_lora; without it the base model is evaluated.
        splits: with commas between.
        name: what the report calls the model.
        predictions: of train and validation, which the analysis may read.
        report_predictions: of selection and test, which it may not.
        metrics: accuracy by split.
        validation_accuracy: 0 to 1; -1 where validation was not evaluated.
    """
    return dsl.ContainerSpec(
        image=image("evaluate_slm"),
        command=["python", "-m", "pada_agent.components.evaluate_slm"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
