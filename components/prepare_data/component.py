"""The Kubeflow contract of prepare_data."""

from kfp import dsl

from pada_agent.components.images import image


@dsl.container_component
def prepare_data(
    settings: dict,
    train_data: dsl.Output[dsl.Dataset],
    heldout_data: dsl.Output[dsl.Dataset],
    fingerprints: dsl.Output[dsl.Artifact],
    train_rows: dsl.OutputPath(int),
    train_lora_settings: dsl.OutputPath(dict),
    evaluate_slm_settings: dsl.OutputPath(dict),
    analyze_patterns_settings: dsl.OutputPath(dict),
    generate_data_settings: dsl.OutputPath(dict),
    control_quality_settings: dsl.OutputPath(dict),
    update_state_settings: dsl.OutputPath(dict),
    max_iterations: int = 0,
    data_version: str = "",
    events_uri: str = "",
):
    """Prepares train, validation, selection and test rows: checked, and without duplicates across splits.

    Args:
        settings: section `task`, or all settings of a run, which are then all checked.
        max_iterations: how many iterations the pipeline is compiled for; settings that ask for more are refused. 0: no limit.
        data_version: what lies at the settings' addresses, for a pipeline's cache; what `pada submit` wrote is checked.
        events_uri: gs://, s3:// or minio:// folder below which it tells how far it is, an object an event; empty tells nothing.
        train_data: training rows and the task's own files.
        heldout_data: validation, selection and test rows; only evaluate_slm may read them.
        fingerprints: hashes of the held-out rows, against leaks.
        train_rows: number of training rows.
        train_lora_settings: the sections of a whole run that train_lora reads.
        evaluate_slm_settings: the sections of a whole run that evaluate_slm reads.
        analyze_patterns_settings: the sections of a whole run that analyze_patterns reads.
        generate_data_settings: the sections of a whole run that generate_data reads.
        control_quality_settings: the sections of a whole run that control_quality reads.
        update_state_settings: the sections of a whole run that update_state reads.
    """
    return dsl.ContainerSpec(
        image=image("prepare_data"),
        command=["python", "-m", "pada_agent.components.prepare_data"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
