"""The Kubeflow contracts of the programs that a study's package runs (pipelines/study/cluster)."""

from kfp import dsl

from pada_agent.components.images import image
from pada_agent.components.stages import CONTAINERS


def _program(name: str) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(
        image=image(name),
        command=["python", "-m", CONTAINERS[name].program],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )


@dsl.container_component
def study_plan(
    study: dict,
    work_uri: str,
    step: str,
    most: int,
    plan: dsl.Output[dsl.Artifact],
    cells: dsl.OutputPath(list),
):
    """Which cells are to be run now."""
    return _program("study_plan")


@dsl.container_component
def study_cell(work_uri: str, cell: str, plan: dsl.Input[dsl.Artifact], facts: dsl.Output[dsl.Artifact]):
    """One cell, from rows to facts."""
    return _program("study_cell")


@dsl.container_component
def study_tables(
    study: dict,
    work_uri: str,
    tables: dsl.Output[dsl.Markdown],
    page: dsl.Output[dsl.HTML],
    facts: dsl.Output[dsl.Artifact],
):
    """All cells' facts, and the tables of them."""
    return _program("study_tables")
