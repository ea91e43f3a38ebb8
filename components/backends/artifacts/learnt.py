"""Reads what the stages of one iteration left behind, up to quality control."""

from pathlib import Path
from typing import Any

from pada_agent.components.backends.artifacts.plan import read_plan
from pada_agent.components.backends.record_files import read_json, read_records
from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.evidence import Learnt
from pada_agent.components.core.quality.judge_check import JUDGE_CHECK_FILE, JudgeCheck
from pada_agent.components.core.records import Analysis, Batch, Pattern


def read_learnt(analyses: Path, checked: Path) -> Learnt:
    """The analyses, and the checked batches with the plan they carry. Raises InputError with the file and line that is wrong."""
    strategies, errors, _ = read_plan(checked)
    usages: dict[str, Any] = {**read_json(analyses / "usage.json"), **read_json(checked / "usage.json")}
    return Learnt(
        summary=read_json(analyses / "summary.json"),
        analyses=read_records(analyses / "analyses.jsonl", Analysis),
        patterns=read_records(analyses / "patterns.jsonl", Pattern),
        strategies=strategies,
        batches=read_records(checked / "batches.jsonl", Batch),
        errors=errors,
        usage={stage: Usage.model_validate(value) for stage, value in usages.items()},
        judge_check=JudgeCheck.model_validate(read_json(judged)) if (judged := checked / JUDGE_CHECK_FILE).exists() else None,
    )
