"""The Kubeflow contract of publish_result."""

from kfp import dsl

from pada_agent.components.images import image


@dsl.container_component
def publish_result(
    work_uri: str,
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    adapter: dsl.Output[dsl.Model],
    export_uri: str = "",
):
    """The result in one place: report, metrics and shipped adapter; of a run that failed, in which stage and why.

    It is made to be the exit task: it takes no artifacts, reads what the stages left at URIs, and does not fail for what they
    did.

    Args:
        work_uri: gs://, s3:// or minio:// folder of the run, the one that the other stages were given: what they told is there.
        export_uri: gs://, s3:// or minio:// folder that update_state exported to, if it did; the adapter is taken from there.

    Returns:
        report: the final report; after a failure it begins with the stage that failed and its sentence.
        metrics: one summary of the run, numbers only: test accuracies, gain with its interval, iterations, rows, money.
        adapter: the shipped adapter; without adapter_config.json, and saying so in its metadata, if there is none.
    """
    return dsl.ContainerSpec(
        image=image("publish_result"),
        command=["python", "-m", "pada_agent.components.publish_result"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
