"""The Kubeflow contract of evaluate_slm."""

from kfp import dsl

from pada_agent.components.images import image


@dsl.container_component
def evaluate_slm(
    train_data: dsl.Input[dsl.Dataset],
    predictions: dsl.Output[dsl.Dataset],
    report_predictions: dsl.Output[dsl.Dataset],
    validation_accuracy: dsl.OutputPath(float),
    heldout_data: dsl.Input[dsl.Dataset] = None,
    adapter: dsl.Input[dsl.Model] = None,
    splits: str = "train,validation,selection,test",
    name: str = "model",
    settings: dict = None,
    work_uri: str = "",
):
    """Generates answers greedily and scores them as the task says, with intervals. Code that a model wrote runs in a sandbox.

    Args:
        settings: sections `task`, `slm`, `evaluate`; or all settings of a run; absent: those beside the rows of train_data.
        train_data: from prepare_data.
        heldout_data: from prepare_data; needed for every split but train.
        adapter: from train_lora; without it the base model is evaluated.
        splits: separated by commas.
        name: what the report calls the model.
        work_uri: gs://, s3:// or minio:// folder of the run: it tells there how far it is, an object an event; empty: nowhere.

    Returns:
        predictions: on train and validation, which the analysis may read.
        report_predictions: on selection and test, which it may not.
        validation_accuracy: 0 to 1; -1 if validation was not evaluated.
    """
    return dsl.ContainerSpec(
        image=image("evaluate_slm"),
        command=["python", "-m", "pada_agent.components.evaluate_slm"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
