"""The Kubeflow contract of analyze_patterns."""

from kfp import dsl

from pada_agent.components.images import image


@dsl.container_component
def analyze_patterns(
    settings: dict,
    predictions: dsl.Input[dsl.Artifact],
    train_data: dsl.Input[dsl.Dataset],
    analyses: dsl.Output[dsl.Dataset],
    plan: dsl.Output[dsl.Dataset],
    patterns: dsl.OutputPath(int),
    training_errors: dsl.OutputPath(int),
    fingerprints: dsl.Input[dsl.Artifact] = None,
    state: dsl.Input[dsl.Artifact] = None,
    iteration: int = 1,
    ledger: str = "",
):
    """Why the model fails: analyses failures, clusters them, names each pattern, drafts a strategy against it.

    Args:
        settings: sections `task`, `teacher`, `embedding`, `analyze`, `budget`; or a whole run's.
        predictions: of evaluate_slm, or one JSONL file of another evaluator (lm-eval's samples).
        train_data: of prepare_data.
        fingerprints: of prepare_data; strategies that quote held-out text are then drafted again.
        state: of the iteration before.
        iteration: from 1.
        ledger: file, or gs:// or s3:// folder, of paid calls; empty keeps none.
        analyses: holds validation text, for the report; never for a generator.
        plan: strategies.yaml and the training errors; no validation text.
        patterns: how many.
        training_errors: how many.
    """
    return dsl.ContainerSpec(
        image=image("analyze_patterns"),
        command=["python", "-m", "pada_agent.components.analyze_patterns"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
