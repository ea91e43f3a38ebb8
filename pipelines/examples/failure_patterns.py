"""What can my model not do? analyze_patterns alone, on the samples that lm-eval wrote with `--log_samples`."""

from pathlib import Path

from kfp import compiler, components, dsl

COMPONENTS = Path(__file__).parents[2] / "components"  # elsewhere: components.load_component_from_url(...)
prepare_data = components.load_component_from_file(str(COMPONENTS / "prepare_data" / "component.yaml"))
analyze_patterns = components.load_component_from_file(str(COMPONENTS / "analyze_patterns" / "component.yaml"))


@dsl.pipeline(name="failure-patterns")
def failure_patterns(settings: dict, samples_uri: str):
    """Patterns behind a model's failures.

    Args:
        settings: sections task, slm, teacher, judge; of the task's rows those for training are shown to nobody but the teacher.
        samples_uri: samples_*.jsonl of lm-eval.
    """
    samples = dsl.importer(artifact_uri=samples_uri, artifact_class=dsl.Dataset, reimport=True)
    data = prepare_data(settings=settings)
    analyze_patterns(
        settings=settings,
        predictions=samples.output,
        train_data=data.outputs["train_data"],
        fingerprints=data.outputs["fingerprints"],
    )


if __name__ == "__main__":
    compiler.Compiler().compile(failure_patterns, "failure_patterns.yaml")
