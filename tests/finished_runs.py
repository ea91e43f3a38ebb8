"""A run directory with all that a finished run leaves for an export, without the hour that it takes."""

from pathlib import Path
from typing import Any

from small_state import model

from pada_agent.components.backends.record_files import write_json
from pada_agent.components.core.state import Decision, IterationRecord, Kind, ModelRecord, RunFacts, State

RUN_ID = "0b5f6f5e-6a58-4c2e-9a37-2f1d6f0f7c11"
KFP_ADAPTER = f"gs://root/artifacts/improvement-loop/{RUN_ID}/train-1/9d1c2a34-5b6c-4d7e-8f90-a1b2c3d4e5f6/adapter"
FACTS = {
    "task": "text_to_sql", "metric": "execution match", "slm": "org/slm", "teacher": "big", "judge": "other", "seed": 3,
    "iterations": 1, "patience": 2, "alpha": 0.05, "confidence": 0.95, "threshold": 7, "share": 0.5, "scope": "total",
}  # fmt: skip
DATA = {split: {"source": f"gs://data/{split}.jsonl", "sha256": 64 * digit} for split, digit in (("train", "a"), ("test", "b"))}
CONFIG = {"peft_type": "LORA", "peft_version": "0.21.2", "r": 16, "lora_alpha": 32, "base_model_name_or_path": "org/slm"}
TRAINING = {
    "name": "iteration-1", "base_model": "org/slm", "dtype": "bfloat16", "steps": 40, "rows": 150,
    "source": "model org/slm: model hub, revision 5b1f03c",
}  # fmt: skip


def state(adapter_uri: str, **changes: Any) -> State:
    """Vanilla, one iteration, which is shipped, and step-matched vanilla."""
    return State(
        run=RunFacts(**FACTS),
        models=[
            _model("untuned", "untuned", 10),
            _model("vanilla", "start", 60),
            _model("iteration-1", "candidate", 80, adapter_uri),
            _model("step-matched", "step_matched", 65),
        ],
        iterations=[IterationRecord(number=1, model="iteration-1")],
        incumbent="iteration-1",
        decision=Decision(go_on=False, reason="all 1 iterations are done"),
    ).model_copy(update=changes)


def finished_run(folder: Path) -> Path:
    """The directory of a run that has ended."""
    adapter = folder / "06-train-1" / "adapter"
    write_json(adapter / "adapter_config.json", CONFIG)
    write_json(adapter / "train.json", TRAINING)
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    write_json(folder / "01-prepare" / "train_data" / "manifest.json", {"data": DATA, "versions": {"pada-agent": "0.1.0"}})
    write_json(folder / "07-score-1" / "state" / "state.json", state(str(adapter)))
    (folder / "latest_state").write_text("07-score-1/state\n")
    return folder


def _model(name: str, kind: Kind, right: int, adapter_uri: str = "") -> ModelRecord:
    trained = {"adapter_uri": adapter_uri, "steps": 40}
    return model(name, kind, right, int(kind == "candidate")).model_copy(update=trained)
