"""Reads what train_lora and evaluate_slm left of one model into the record the state keeps, and rows kept beside the state."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pada_agent.components.backends.record_files import read_json, read_records
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.evidence import Evaluated
from pada_agent.components.core.records import Prediction
from pada_agent.components.core.report.losses import thinned
from pada_agent.components.core.report.shown_rows import ROWS_FILE, SHOWN_SPLITS, ShownRow
from pada_agent.components.core.settings import EvaluateSettings
from pada_agent.components.core.state import Kind, ModelRecord
from pada_agent.components.core.statistics import grades_of, summarise


def read_evaluated(
    name: str,
    kind: Kind,
    iteration: int,
    folders: Sequence[Path],
    adapter: tuple[Path, str] | None,
    settings: EvaluateSettings,
) -> Evaluated:
    """`folders` hold `<split>.jsonl` of predictions, `adapter` is its path and URI. Raises InputError for what is missing.

    Metrics are counted from the rows themselves, so that they cannot differ from the outcomes the tests are made on.
    """
    rows = {file.stem: read_records(file, Prediction) for folder in folders for file in sorted(folder.glob("*.jsonl"))}
    if not any(rows.values()):
        raise InputError(f"model '{name}': there are no predictions; pass the artifacts predictions and report_predictions")
    for split, predictions in rows.items():
        if len({p.id for p in predictions}) != len(predictions):
            raise InputError(f"model '{name}', {split}.jsonl: two predictions have the same row id")
    timed = [read_json(folder / "metrics.json") for folder in folders if (folder / "metrics.json").exists()]
    model = ModelRecord(
        name=name,
        kind=kind,
        iteration=iteration,
        evaluate_seconds=max((float(metrics.get("seconds", 0)) for metrics in timed), default=0.0),
        engine=next((str(metrics["engine"]) for metrics in timed if "engine" in metrics), ""),
        metrics={s: summarise(p, settings.confidence, settings.collapse_share) for s, p in rows.items() if p},
        outcomes={s: {p.id: p.score.correct for p in ps} for s, ps in rows.items() if ps and s != "train"},
        grades={s: grades for s, ps in rows.items() if s != "train" and (grades := grades_of(ps))},
        **(_training(*adapter) if adapter else {}),
    )
    groups = {split: {p.id: p.group for p in ps if p.group} for split, ps in rows.items() if split != "train"}
    return Evaluated(model, groups, {split: rows[split] for split in SHOWN_SPLITS if split in rows})


def read_shown_rows(state: Path) -> list[ShownRow]:
    """The rows beside a state that its report shows; none beside a state of an earlier release."""
    path = state / ROWS_FILE
    return read_records(path, ShownRow) if path.exists() else []


def _training(folder: Path, uri: str) -> dict[str, Any]:
    path = folder / "train.json"
    facts = read_json(path)
    try:
        return {
            "adapter_uri": uri,
            "steps": facts["steps"],
            "rows": facts["rows"],
            "synthetic_rows": facts["synthetic_rows"],
            "dropped_rows": len(facts["dropped_too_long"]),
            "train_seconds": facts["seconds"],
            "losses": thinned(facts.get("losses", [])),
        }
    except (KeyError, TypeError) as e:
        raise InputError(f"{path}: {e} is missing; is this an adapter that train_lora wrote?") from e
