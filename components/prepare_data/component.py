"""The Kubeflow contract of prepare_data."""

# ruff: noqa: UP045 - Kubeflow's SDK knows Optional[int] and not int | None
from typing import Optional

from kfp import dsl

from pada_agent.components.images import image


@dsl.container_component
def prepare_data(
    settings: dict,
    train_data: dsl.Output[dsl.Dataset],
    heldout_data: dsl.Output[dsl.Dataset],
    train_rows: dsl.OutputPath(int),
    max_iterations: int = 0,
    score_answers: bool = False,
    data_version: str = "",
    task: str = "",
    train: str = "",
    validation: str = "",
    test: str = "",
    train_size: Optional[int] = None,
    slm: str = "",
    teacher: str = "",
    teacher_url: str = "",
    judge: str = "",
    judge_url: str = "",
    iterations: Optional[int] = None,
    seed: Optional[int] = None,
    budget_usd: Optional[float] = None,
    teacher_key: str = "",
    judge_key: str = "",
    work_uri: str = "",
):
    """Prepares train, validation, selection and test rows: checked, and without duplicates across splits.

    Args:
        settings: section `task`, or all settings of a run, which are then all checked and handed to other stages in train_data.
        max_iterations: how many iterations the pipeline is compiled for; settings that ask for more are refused. 0: no limit.
        score_answers: whether the pipeline has score_answers, for task.options.scorer: judge; without, such settings are refused.
        data_version: what lies at the settings' addresses, for a pipeline's cache; what `pada submit` wrote is checked.
        work_uri: gs://, s3:// or minio:// folder of the run: it tells there how far it is, an object an event; empty: nowhere.
        task: in place of settings' task.name.
        train: in place of settings' task.train.
        validation: in place of settings' task.validation.
        test: in place of settings' task.test.
        train_size: in place of settings' task.train_size.
        slm: in place of settings' slm.model.
        teacher: in place of settings' teacher.model.
        teacher_url: in place of settings' teacher.base_url.
        judge: in place of settings' judge.model.
        judge_url: in place of settings' judge.base_url.
        iterations: in place of settings' loop.iterations.
        seed: in place of settings' seed.
        budget_usd: in place of settings' budget.usd.
        teacher_key: in place of settings' teacher.api_key_env.
        judge_key: in place of settings' judge.api_key_env.

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
