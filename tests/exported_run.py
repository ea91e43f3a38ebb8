"""A run directory whose models are real and tiny: vanilla, iteration 1, which is shipped, a training error and its kin.

The task counts letters, and says the number four times.
"""

import shutil
from pathlib import Path
from typing import Any

from small_state import model

from pada_agent.components.backends.files import write_atomic
from pada_agent.components.backends.record_files import read_json, write_json, write_records
from pada_agent.components.backends.slm.checkpoints import Checkpoints
from pada_agent.components.backends.slm.training import fit
from pada_agent.components.core.records import (
    Batch,
    HeldOutRow,
    Pattern,
    Provenance,
    Sample,
    Score,
    SyntheticRow,
    TrainingError,
    TrainRow,
)
from pada_agent.components.core.separation.leakage import FINGERPRINTS_FILE, Fingerprints
from pada_agent.components.core.settings import Settings, TrainLora, UpdateState
from pada_agent.components.core.state import Decision, IterationRecord, Kind, ModelRecord, Progress, RunFacts, State
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.components.train_lora.train import train

STEPS = 60  # until it answers with some digits
SECRET = "How many lighthouses stand on the western coast of Bornholm today"  # a held-out question
OPTIONS = {"prompt": "Letters of: {word}", "answer": "letters", "scorer": "exact", "description": "Count the letters of a word."}
WORDS = ("sun", "moon", "stars", "comet", "planet", "sea", "tree", "cloud")


def made(folder: Path, slm: Path, whole: bool = False) -> Path:
    """The run directory, trained with the SLM in the folder `slm`: adapters, or whole models."""
    settings = Settings.model_validate(_settings(slm, whole))
    task = load_task("custom", OPTIONS, None)
    train_rows = [TrainRow(id=f"t-{word}", fields=fields(word)) for word in WORDS]
    held_out = {
        split: [HeldOutRow(id=f"{split}-{i}", split=split, fields=fields(f"{word}{mark}")) for i, word in enumerate(WORDS)]
        for split, mark in (("validation", "ly"), ("selection", "ish"), ("test", "er"))
    }
    held_out["test"].append(HeldOutRow(id="test-secret", split="test", fields=fields(SECRET, "9")))
    data = folder / "01-prepare"
    write_records(data / "train_data" / "train.jsonl", train_rows)
    texts = {split: [task.private_texts(row.fields) for row in rows] for split, rows in held_out.items()}
    prints = Fingerprints.build(texts, [task.private_texts(row.fields) for row in train_rows])
    (data / "train_data" / FINGERPRINTS_FILE).write_text(prints.to_json())
    manifest = {
        "data": {"train": {"source": str(folder / "mine.jsonl"), "sha256": 64 * "a"}},
        "versions": {"pada-agent": "0.1.0"},
    }
    write_json(data / "train_data" / "manifest.json", manifest)
    for split, rows in held_out.items():
        write_records(data / "heldout_data" / f"{split}.jsonl", rows)
    synthetic = [synthetic_row("s-kin", "suns", ["t-sun", "t-sea"]), synthetic_row("s-other", "oaks", ["t-tree"])]
    for name, rows in (("02-train-vanilla", []), ("10-train-1", synthetic)):
        adapter = folder / name / "adapter"
        facts = train(
            name, task, train_rows, rows, prints,
            lambda examples, adapter=adapter: fit(
                examples, _section(settings, TrainLora), adapter, Checkpoints(str(folder / "checkpoints")), STEPS
            ),
        )  # fmt: skip
        write_json(adapter / "train.json", facts.to_json())
    plan = folder / "06-analyze-1" / "plan"
    write_atomic(plan / "strategies.yaml", "[]\n")
    write_atomic(plan / "spent.json", "{}")
    write_records(plan / "training_errors.jsonl", [error("t-sun", "sun", "seven")])
    write_json(folder / "settings.json", settings)
    write_json(folder / "12-score-1" / "state" / "state.json", _state(folder, settings, synthetic))
    (folder / "latest_state").write_text("12-score-1/state\n")
    return folder


def scored_by_llm(run: Path, folder: Path) -> Path:
    """A copy of the run as if an LLM had scored its answers."""
    shutil.copytree(run, folder)
    settings = read_json(folder / "settings.json")
    settings["task"]["options"] |= {"scorer": "judge", "rubric": "Is it the number of letters, four times?"}
    settings["control"]["solve"] = "off"
    write_json(folder / "settings.json", {**settings, "scorer": "judge"})
    return folder


def error(row: str, word: str, output: str, **changes: Any) -> TrainingError:
    """A wrong answer to a training row."""
    values = {"id": row, "split": "train", "prompt": "", "output": output, "reference": "3333", "fields": fields(word)}
    return TrainingError.model_validate({**values, "score": Score(correct=False, valid=True, detail="it is 3333"), **changes})


def fields(word: str, letters: str = "") -> dict[str, Any]:
    """A row's, as the task reads it."""
    return load_task("custom", OPTIONS, None).read({"word": word, "letters": letters or 4 * str(len(word))})


def synthetic_row(row: str, word: str, parents: list[str]) -> SyntheticRow:
    provenance = Provenance(
        branch="pattern", pattern_id="it1-p1", strategy_id="it1-s1", parent_ids=parents, iteration=1, batch_id="b", attempt=0,
        request_hash="",
    )  # fmt: skip
    return SyntheticRow(id=row, fields=fields(word), provenance=provenance, scores={"utility": 8.5})


def _state(folder: Path, settings: Settings, synthetic: list[SyntheticRow]) -> State:
    batch = Batch(
        id="b", branch="pattern", strategy_id="it1-s1", seed_ids=["t-sun"], wanted=2, status="done",
        samples=[Sample(row=row, status="accepted") for row in synthetic],
    )  # fmt: skip
    patterns = [
        Pattern(id="it1-p1", name="Long words", description="It stops\n| counting <b>at four", size=2, row_ids=["v-1", "v-2"]),
        Pattern(id="it1-p2", name="Plurals", description="It leaves out the s.", size=1, row_ids=["v-3"]),
    ]
    progress = {
        "it1-p1": Progress(trend="new", failing=1, outcome="shrinking"),
        "it1-p2": Progress(trend="new", failing=0, outcome="fixed"),
    }
    iteration = IterationRecord(
        number=1, patterns=patterns, progress=progress, batches=[batch], wanted=2, accepted=2, model="iteration-1"
    )
    return State(
        run=RunFacts.of(_section(settings, UpdateState), "exact match"),
        models=[
            _model("untuned", "untuned", 10),
            _model("vanilla", "start", 60, folder / "02-train-vanilla" / "adapter"),
            _model("iteration-1", "candidate", 80, folder / "10-train-1" / "adapter"),
        ],
        iterations=[iteration],
        incumbent="iteration-1",
        decision=Decision(go_on=False, reason="all 1 iterations are done"),
    )


def _model(name: str, kind: Kind, right: int, adapter: Path | None = None) -> ModelRecord:
    trained = (
        {"adapter_uri": str(adapter), "steps": STEPS, "rows": 8, "synthetic_rows": 2 * (kind == "candidate")} if adapter else {}
    )
    return model(name, kind, right, int(kind == "candidate")).model_copy(update=trained)


def _section(settings: Settings, model: Any) -> Any:
    return model.model_validate(settings.model_dump(include=set(model.model_fields)))


def _settings(slm: Path, whole: bool) -> dict[str, Any]:
    method = (
        {"method": "full", "learning_rate": 0.003} if whole else {"rank": 4, "alpha": 8, "learning_rate": 0.01, "dropout": 0.0}
    )
    endpoint = {"model": "teacher-x", "base_url": "http://127.0.0.1:1/v1"}
    return {
        "task": {"name": "custom", "train": "-", "validation": "-", "test": "-", "options": OPTIONS},
        "slm": {"model": str(slm), "max_length": 128, "device": "cpu", "dtype": "float32"},
        "teacher": {**endpoint, "headers": {"X-Team": "hush"}},
        "judge": {**endpoint, "model": "judge-y"},
        "train": {"micro_batch": 4, "accumulate": 1, **method},
        "evaluate": {"max_new_tokens": 8},
    }
