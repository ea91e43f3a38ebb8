"""Entry point: training and synthetic rows in, an adapter out."""

import os
from collections.abc import Sequence

from pada_agent.components.backends.executor import Executor, main
from pada_agent.components.backends.files import whole_directory
from pada_agent.components.backends.record_files import read_records, write_json
from pada_agent.components.core.records import SyntheticRow, TrainRow
from pada_agent.components.core.separation.leakage import Fingerprints
from pada_agent.components.core.settings import TrainLora
from pada_agent.components.core.slm_interface import Example, Training, trained_file
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.train_lora.train import train


def run(ex: Executor) -> None:
    """Read, train, write; checkpoints go when the adapter is in place."""
    from pada_agent.components.backends.slm.checkpoints import Checkpoints
    from pada_agent.components.backends.slm.training import fit

    settings = ex.settings(TrainLora)
    data, synthetic = ex.input("train_data", "train.jsonl"), ex.optional_input("synthetic_data", "synthetic.jsonl")
    task = load_task(settings.task.name, settings.task.options, data / "assets")
    output = ex.output("adapter", trained_file(settings.train))
    name = str(ex.parameter("name", "")) or "adapter"
    kept = str(ex.parameter("checkpoint_uri", "")) or ex.below_work_uri(f"checkpoints/{name}")
    checkpoints = Checkpoints(kept or ex.beside_output("adapter", ".checkpoints"))

    with whole_directory(output) as folder:

        def fit_into_folder(examples: Sequence[Example]) -> Training:
            return fit(examples, settings, folder, checkpoints, ex.parameter("max_steps", 0))

        facts = train(
            name,
            task,
            read_records(data / "train.jsonl", TrainRow),
            read_records(synthetic / "synthetic.jsonl", SyntheticRow) if synthetic else [],
            Fingerprints.beside(data),
            fit_into_folder,
        )
        _end_if_not_first_process()
        write_json(folder / "train.json", facts.to_json())
    checkpoints.remove()
    training = facts.training
    dropped = len(training.dropped_too_long)
    loss = round(training.losses[-1], 4)
    counts = {"rows": facts.rows + facts.synthetic_rows, "of them synthetic": facts.synthetic_rows}
    ex.say_numbers({"steps": training.steps, "last loss": loss, **counts, "dropped as too long": dropped})
    ex.set_metadata("adapter", rows=facts.rows, synthetic_rows=facts.synthetic_rows, dropped_too_long=dropped, last_loss=loss)
    ex.set_parameter("steps", training.steps)
    ex.finish()


def _end_if_not_first_process() -> None:
    """Under torchrun the first process alone writes."""
    if os.environ.get("RANK", "0") != "0":
        raise SystemExit(0)


if __name__ == "__main__":
    main(run)
