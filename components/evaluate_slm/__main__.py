"""Entry point: rows and an adapter, or none, in; predictions and metrics out."""

import time
from collections.abc import Sequence
from pathlib import Path

from pada_agent.components.backends.artifacts.evaluated import OUTPUTS, numbers_of, validation_accuracy, write_evaluated
from pada_agent.components.backends.executor import Executor, main
from pada_agent.components.backends.record_files import read_records
from pada_agent.components.backends.sandbox.run import run_code
from pada_agent.components.core.records import HeldOutRow, TrainRow
from pada_agent.components.core.settings import EvaluateSlm
from pada_agent.components.core.slm_interface import ADAPTER_FILE, MODEL_FILE
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.task import CodeResult
from pada_agent.components.evaluate_slm.evaluate import EvaluatedRow, evaluate, parse_splits


def run(ex: Executor) -> None:
    """Read, generate, score, write."""
    from pada_agent.components.backends.slm.answering import student

    settings = ex.settings(EvaluateSlm)
    data = ex.input("train_data", "train.jsonl")
    task = load_task(settings.task.name, settings.task.options, data / "assets")
    splits = parse_splits(str(ex.parameter("splits", "train,validation,selection,test")))
    rows = {split: _read(ex, data, split) for split in splits}
    started = time.monotonic()

    def run_limited(program: str, seconds: float) -> CodeResult:
        return run_code(program, settings.evaluate.code_seconds)

    with student(settings.slm, settings.evaluate, _trained(ex), _ledger(ex)) as slm:
        predictions = evaluate(task, rows, slm.generate, run_limited, settings.evaluate.max_new_tokens)
    facts = {
        "name": ex.parameter("name", "") or "model",
        "seconds": round(time.monotonic() - started, 1),
        "model": slm.source,
        "engine": slm.engine,
    }
    for output, members in OUTPUTS.items():
        if ex.has_output(output):
            chosen = {split: predictions[split] for split in members if split in predictions}
            accuracies = write_evaluated(ex.output(output, "metrics.json"), chosen, facts, settings.evaluate)
            ex.set_metadata(output, **accuracies)
    ex.say_numbers(numbers_of(predictions))
    ex.say_numbers(slm.bill())
    ex.set_parameter("validation_accuracy", validation_accuracy(predictions))
    ex.finish()


def _trained(ex: Executor) -> Path | None:
    """The adapter, or the model that was fine-tuned as a whole in its place."""
    folder = ex.optional_input("adapter")
    return folder if folder and (folder / MODEL_FILE).is_file() else ex.optional_input("adapter", ADAPTER_FILE)


def _ledger(ex: Executor) -> str:
    """Where answers of a server are kept, so that a stage that was killed asks for none of them again."""
    place = ex.below_work_uri("ledger/evaluate_slm")
    return f"{place}.jsonl" if place and "://" not in place else place


def _read(ex: Executor, data: Path, split: str) -> Sequence[EvaluatedRow]:
    if split == "train":
        return read_records(data / "train.jsonl", TrainRow)
    return read_records(ex.input("heldout_data", f"{split}.jsonl") / f"{split}.jsonl", HeldOutRow)


if __name__ == "__main__":
    main(run)
