"""Synthetic rows against a model's failures, checked and judged, without training: the rows go into a trainer of your own.

This project's placement gives the tasks their images, keys, machines and retries.
"""

from pathlib import Path

from kfp import compiler, components, dsl

from pada_agent.pipelines.kubeflow.placement import Kubernetes

COMPONENTS = Path(__file__).parents[2] / "components"  # elsewhere: components.load_component_from_url(...)
place = Kubernetes.read(registry="registry.example/team")  # or of a file: Kubernetes.read(Path("placement.yaml"))


def run(stage: str, **given):
    """A task of a stage, by its component.yaml, placed."""
    task = components.load_component_from_file(str(COMPONENTS / stage / "component.yaml"))(**given)
    place(task, stage)
    return task


@dsl.pipeline(name="data-augmentation")
def augmentation(settings: dict, predictions_uri: str, work_uri: str, data_version: str):
    """Write rows against what a model got wrong; `checked_batches` of the last task holds those let in.

    Args:
        settings: a whole run's.
        predictions_uri: JSONL of another evaluator: the task's fields, `output`, `correct`.
        work_uri: gs://, s3:// or minio:// folder for paid calls.
        data_version: another word after each change of the rows, or Kubeflow takes those of an earlier run.
    """

    def agent(stage: str, **given):
        return run(stage, train_data=rows, ledger=f"{work_uri}/ledger/{stage}", **given).outputs

    predictions = dsl.importer(artifact_uri=predictions_uri, artifact_class=dsl.Dataset, reimport=True)
    data = run("prepare_data", settings=settings, data_version=data_version)
    rows = data.outputs["train_data"]  # and beside them the settings, for all that follow
    plan = agent("analyze_patterns", predictions=predictions.output)["plan"]
    written = agent("generate_data", plan=plan)["batches"]
    checked = agent("control_quality", batches=written)["checked_batches"]
    again = agent("generate_data", checked_batches=checked)["batches"]
    agent("control_quality", batches=again)


if __name__ == "__main__":
    compiler.Compiler().compile(augmentation, "augmentation.yaml")
