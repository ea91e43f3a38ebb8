"""The plan that analyze_patterns writes and a person may edit: strategies, training errors, what was spent so far.

Batches carry the plan that they were written by, for those who judge and merge them.
"""

from pathlib import Path

import yaml
from pydantic import ValidationError

from pada_agent.components.backends.files import write_atomic
from pada_agent.components.backends.record_files import read_json, read_records
from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Strategy, TrainingError
from pada_agent.components.core.validation import validation_message

STRATEGIES, ERRORS, SPENT = "strategies.yaml", "training_errors.jsonl", "spent.json"


def carry_plan(folder: Path, into: Path) -> None:
    """Copy the files of the plan in `folder` into another artifact."""
    for name in (STRATEGIES, ERRORS, SPENT):
        write_atomic(into / name, (folder / name).read_bytes())


def read_plan(folder: Path) -> tuple[list[Strategy], list[TrainingError], dict[str, Usage]]:
    """Strategies, training errors, and what each stage has spent. Raises InputError with the file and entry an edit broke."""
    path = folder / STRATEGIES
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
    spent = {stage: Usage.model_validate(value) for stage, value in read_json(folder / SPENT).items()}
    return strategies, read_records(folder / ERRORS, TrainingError), spent
