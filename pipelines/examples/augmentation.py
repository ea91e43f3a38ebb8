"""Synthetic rows against a model's failures, checked and judged, without training: the rows go into a trainer of your own."""

from pathlib import Path

from kfp import compiler, components, dsl

COMPONENTS = Path(__file__).parents[2] / "components"  # elsewhere: components.load_component_from_url(...)


def load(stage: str):
    """A stage by its component.yaml."""
    return components.load_component_from_file(str(COMPONENTS / stage / "component.yaml"))


prepare_data, analyze_patterns, generate_data, control_quality = map(
    load, ("prepare_data", "analyze_patterns", "generate_data", "control_quality")
)


@dsl.pipeline(name="data-augmentation")
def augmentation(settings: dict, predictions_uri: str, work_uri: str):
    """Write rows against what a model got wrong; `checked_batches` of the last task holds those let in.

    Args:
        settings: a whole run's.
        predictions_uri: JSONL of another evaluator: the task's fields, `output`, `correct`.
        work_uri: gs:// or s3:// folder for paid calls.
    """
    predictions = dsl.importer(artifact_uri=predictions_uri, artifact_class=dsl.Dataset, reimport=True)
    data = prepare_data(settings=settings)
    rows, prints = data.outputs["train_data"], data.outputs["fingerprints"]
    plan = analyze_patterns(
        settings=settings,
        predictions=predictions.output,
        train_data=rows,
        fingerprints=prints,
        ledger=f"{work_uri}/ledger/analyze_patterns",
    ).outputs["plan"]
    written = generate_data(settings=settings, train_data=rows, plan=plan, ledger=f"{work_uri}/ledger/generate_data")
    checked = control_quality(
        settings=settings,
        train_data=rows,
        plan=plan,
        batches=written.outputs["batches"],
        fingerprints=prints,
        ledger=f"{work_uri}/ledger/control_quality",
    )
    again = generate_data(
        settings=settings,
        train_data=rows,
        plan=plan,
        checked_batches=checked.outputs["checked_batches"],
        ledger=f"{work_uri}/ledger/generate_data",
    )
    control_quality(
        settings=settings,
        train_data=rows,
        plan=plan,
        batches=again.outputs["batches"],
        fingerprints=prints,
        ledger=f"{work_uri}/ledger/control_quality",
    )


if __name__ == "__main__":
    compiler.Compiler().compile(augmentation, "augmentation.yaml")
