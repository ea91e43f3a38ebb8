"""The Kubeflow contract of score_answers."""

from kfp import dsl

from pada_agent.components.images import image


@dsl.container_component
def score_answers(
    train_data: dsl.Input[dsl.Dataset],
    report_answers: dsl.Input[dsl.Dataset],
    predictions: dsl.Output[dsl.Dataset],
    report_predictions: dsl.Output[dsl.Dataset],
    validation_accuracy: dsl.OutputPath(float),
    answers: dsl.Input[dsl.Dataset] = None,
    state: dsl.Input[dsl.Artifact] = None,
    scored: dsl.Input[dsl.Dataset] = None,
    measure: bool = False,
    ledger: str = "",
    settings: dict = None,
    work_uri: str = "",
):
    """Has an LLM score answers by the task's rubric, where there is no one right wording; the form of predictions stays.

    Args:
        settings: sections `task`, `scorer`, `score`, `evaluate`, `budget`; or all of a run; absent: those beside train_data.
        train_data: from prepare_data, with the rubric.
        report_answers: report_predictions of evaluate_slm, on selection and test.
        answers: predictions of evaluate_slm, on train and validation.
        state: from update_state: what the run has spent so far, for its caps.
        scored: report_predictions of another score_answers, whose cost is in no state yet.
        measure: also measure the scorer's own bias, on training rows.
        ledger: where paid calls are kept: a file, or a gs://, s3:// or minio:// folder; empty: below work_uri, or nowhere.
        work_uri: gs://, s3:// or minio:// folder of the run: it tells there how far it is, an object an event; empty: nowhere.

    Returns:
        predictions: on train and validation, which the analysis may read, with the scorer's reasons.
        report_predictions: on selection and test, which it may not.
        validation_accuracy: share of answers that reach the threshold, 0 to 1; -1 if validation was not answered.
    """
    return dsl.ContainerSpec(
        image=image("score_answers"),
        command=["python", "-m", "pada_agent.components.score_answers"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
