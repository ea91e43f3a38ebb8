"""Reads the plan that analyze_patterns writes and a person may edit: strategies, training errors, what was spent so far."""

from pathlib import Path

import yaml
from pydantic import ValidationError

from pada_agent.components.backends.record_files import read_json, read_records
from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Strategy, TrainingError
from pada_agent.components.core.validation import validation_message


def read_plan(folder: Path) -> tuple[list[Strategy], list[TrainingError], dict[str, Usage]]:
    """Strategies, training errors, and what each stage has spent. Raises InputError with the file and entry an edit broke."""
    path = folder / "strategies.yaml"
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    except (OSError, yaml.YAMLError) as e:
        raise InputError(f"{path}: cannot be read as YAML: {' '.join(str(e).split())}") from e
    if not isinstance(entries, list):
        raise InputError(f"{path}: must be a list of strategies, each starting with '- id:'")
    strategies = []
    for number, entry in enumerate(entries, 1):
        try:
            strategies.append(Strategy.model_validate(entry))
        except ValidationError as e:
            raise InputError(f"{path}: strategy {number}: {validation_message(e)}") from e
    if len({s.id for s in strategies}) != len(strategies):
        raise InputError(f"{path}: two strategies have the same id")
    spent = {stage: Usage.model_validate(value) for stage, value in read_json(folder / "spent.json").items()}
    return strategies, read_records(folder / "training_errors.jsonl", TrainingError), spent
