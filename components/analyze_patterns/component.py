"""The Kubeflow contract of analyze_patterns."""

from kfp import dsl

from pada_agent.components.images import image


@dsl.container_component
def analyze_patterns(
    predictions: dsl.Input[dsl.Artifact],
    train_data: dsl.Input[dsl.Dataset],
    analyses: dsl.Output[dsl.Dataset],
    plan: dsl.Output[dsl.Dataset],
    patterns: dsl.OutputPath(int),
    training_errors: dsl.OutputPath(int),
    state: dsl.Input[dsl.Artifact] = None,
    iteration: int = 1,
    ledger: str = "",
    settings: dict = None,
    work_uri: str = "",
):
    """Finds out why the model fails: analyses and clusters its failures, names each pattern, drafts a strategy against it.

    Args:
        settings: sections `task`, `teacher`, `embedding`, `analyze`, `generate`, `budget`; or all of a run; absent: those beside
            train_data.
        predictions: from evaluate_slm, or one JSONL file from another evaluator (lm-eval's samples).
        train_data: from prepare_data; with its fingerprints, strategies that quote held-out text are drafted again.
        state: from the previous iteration.
        iteration: number of the iteration, from 1.
        ledger: where paid calls are kept: a file, or a gs://, s3:// or minio:// folder; empty: below work_uri, or nowhere.
        work_uri: gs://, s3:// or minio:// folder of the run: it tells there how far it is, an object an event; empty: nowhere.

    Returns:
        analyses: for the report; they hold validation text, which no generator may see.
        plan: strategies.yaml and the training errors; no validation text.
        patterns: number of patterns.
        training_errors: number of training errors.
    """
    return dsl.ContainerSpec(
        image=image("analyze_patterns"),
        command=["python", "-m", "pada_agent.components.analyze_patterns"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
