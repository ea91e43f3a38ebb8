"""Entry point: rows and an adapter, or none, in; predictions and metrics out."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pada_agent.components.backends.executor import Executor, main
from pada_agent.components.backends.files import whole_directory
from pada_agent.components.backends.record_files import read_records, write_json, write_records
from pada_agent.components.backends.sandbox.run import run_code
from pada_agent.components.core.records import HeldOutRow, Prediction, TrainRow
from pada_agent.components.core.settings import EvaluateSettings, EvaluateSlm
from pada_agent.components.core.slm_interface import ADAPTER_FILE, MODEL_FILE
from pada_agent.components.core.statistics import summarise
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.core.tasks.task import CodeResult
from pada_agent.components.evaluate_slm.evaluate import EvaluatedRow, evaluate, parse_splits

OUTPUTS = {"predictions": ("train", "validation"), "report_predictions": ("selection", "test")}
NOT_EVALUATED = -1.0


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
            accuracies = _write(ex.output(output, "metrics.json"), chosen, facts, settings.evaluate)
            ex.set_metadata(output, **accuracies)
    ex.say_numbers({split: f"{100 * _accuracy(part):.1f} % of {len(part)}" for split, part in predictions.items()})
    ex.say_numbers(slm.bill())
    validation = predictions.get("validation", [])
    ex.set_parameter("validation_accuracy", _accuracy(validation) if validation else NOT_EVALUATED)
    ex.finish()


def _trained(ex: Executor) -> Path | None:
    """The adapter, or the model that was fine-tuned as a whole in its place."""
    folder = ex.optional_input("adapter")
    return folder if folder and (folder / MODEL_FILE).is_file() else ex.optional_input("adapter", ADAPTER_FILE)


def _ledger(ex: Executor) -> str:
    """Where answers of a server are kept, so that a stage that was killed asks for none of them again."""
    place = ex.below_work_uri("ledger/evaluate_slm")
    return f"{place}.jsonl" if place and "://" not in place else place


def _accuracy(predictions: Sequence[Prediction]) -> float:
    return sum(p.score.correct for p in predictions) / len(predictions)


def _read(ex: Executor, data: Path, split: str) -> Sequence[EvaluatedRow]:
    if split == "train":
        return read_records(data / "train.jsonl", TrainRow)
    return read_records(ex.input("heldout_data", f"{split}.jsonl") / f"{split}.jsonl", HeldOutRow)


def _write(
    path: Path, predictions: Mapping[str, Sequence[Prediction]], facts: Mapping[str, object], settings: EvaluateSettings
) -> dict[str, float]:
    metrics = {s: summarise(p, settings.confidence, settings.collapse_share) for s, p in predictions.items()}
    with whole_directory(path) as folder:
        for split, part in predictions.items():
            write_records(folder / f"{split}.jsonl", part)
        write_json(folder / "metrics.json", {**facts, "splits": {s: m.model_dump(mode="json") for s, m in metrics.items()}})
    accuracies = {f"{split}_accuracy": round(m.accuracy, 4) for split, m in metrics.items()}
    return accuracies | {f"{split}_score": round(m.grade.mean, 4) for split, m in metrics.items() if m.grade}


if __name__ == "__main__":
    main(run)
