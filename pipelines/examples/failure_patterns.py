"""What can my model not do? analyze_patterns alone, on the samples that lm-eval wrote with `--log_samples`.

Knows nothing of this project but two component.yaml files: what they need on a cluster is said with kfp's own calls.
"""

from pathlib import Path

from kfp import compiler, components, dsl, kubernetes

COMPONENTS = Path(__file__).parents[2] / "components"  # elsewhere: components.load_component_from_url(...)
IMAGE = "registry.example/team/pada-agent/analysis:0.1.0"  # where `make push` put it
prepare_data = components.load_component_from_file(str(COMPONENTS / "prepare_data" / "component.yaml"))
analyze_patterns = components.load_component_from_file(str(COMPONENTS / "analyze_patterns" / "component.yaml"))


def place(task, stage, key=""):
    """Image, machine, user and credentials of a task; `key` is that of the LLM it asks."""
    task.set_container_image(IMAGE).set_retry(3, backoff_duration="60s", backoff_max_duration="2d")
    task.set_cpu_limit("4").set_memory_limit("8Gi")
    kubernetes.set_security_context(task, run_as_user=10001, run_as_group=10001, run_as_non_root=True)
    storage = {name: name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")}
    kubernetes.use_secret_as_env(task, "pada-agent-storage", storage, optional=True)  # none with workload identity
    if key:
        kubernetes.use_secret_as_env(task, "pada-agent-llm", {key: key})
    kubernetes.add_pod_label(task, "pada-agent/stage", stage)  # the network policies of manifests/ go by these two
    kubernetes.add_pod_label(task, "pada-agent/egress", "llm" if key else "storage")
    return task


@dsl.pipeline(name="failure-patterns")
def failure_patterns(settings: dict, samples_uri: str, work_uri: str, data_version: str):
    """Patterns behind a model's failures.

    Args:
        settings: a whole run's, at least task, slm, teacher, judge; of the task's rows only those for training reach the teacher.
        samples_uri: samples_*.jsonl of lm-eval.
        work_uri: gs://, s3:// or minio:// folder for paid calls: a task that is started again pays for none twice.
        data_version: another word after each change of the rows, or Kubeflow takes those of an earlier run.
    """
    samples = dsl.importer(artifact_uri=samples_uri, artifact_class=dsl.Dataset, reimport=True)
    data = place(prepare_data(settings=settings, data_version=data_version), "prepare-data")
    patterns = analyze_patterns(
        predictions=samples.output,
        train_data=data.outputs["train_data"],  # and beside the rows the settings
        ledger=f"{work_uri}/ledger/analyze_patterns",
    )
    place(patterns, "analyze-patterns", key="TEACHER_API_KEY")


if __name__ == "__main__":
    compiler.Compiler().compile(failure_patterns, "failure_patterns.yaml")
