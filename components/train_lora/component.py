"""The Kubeflow contract of train_lora."""

from kfp import dsl

from pada_agent.components.images import image


@dsl.container_component
def train_lora(
    train_data: dsl.Input[dsl.Dataset],
    adapter: dsl.Output[dsl.Model],
    steps: dsl.OutputPath(int),
    synthetic_data: dsl.Input[dsl.Dataset] = None,
    name: str = "adapter",
    max_steps: int = 0,
    checkpoint_uri: str = "",
    settings: dict = None,
    work_uri: str = "",
):
    """Fine-tunes a small language model, always from the base model. A retry resumes from the last checkpoint.

    Args:
        settings: sections `task`, `slm`, `train`; or all settings of a run; absent: those beside the rows of train_data.
        train_data: from prepare_data; a training row that its fingerprints know as held out is refused.
        synthetic_data: accepted rows, trained on as well.
        name: what the report calls the model.
        max_steps: optimizer steps; 0: as many as the epochs take.
        checkpoint_uri: gs://, s3:// or minio:// folder for checkpoints; empty: below work_uri, else in the pod, for no retry.
        work_uri: gs://, s3:// or minio:// folder of the run: it tells there how far it is, an object an event; empty: nowhere.

    Returns:
        adapter: PEFT adapter, or the whole model if all weights are trained; and train.json.
        steps: optimizer steps taken.
    """
    return dsl.ContainerSpec(
        image=image("train_lora"),
        command=["python", "-m", "pada_agent.components.train_lora"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
