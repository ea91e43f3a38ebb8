"""The verdicts that record.py wrote, and the published rows that some of them are of."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pada_agent.components.core.tasks.task import CodeResult

VERDICTS = Path(os.environ.get("PARITY_VERDICTS", Path(__file__).with_name("verdicts")))
BENCHMARKS = Path(__file__).parents[2].parent / "shared" / "data" / "benchmarks"


def verdicts(name: str) -> tuple[dict[str, Any], list[Any]]:
    """What a file says of itself, and its lines."""
    head, *lines = (json.loads(line) for line in (VERDICTS / f"{name}.jsonl").read_text(encoding="ascii").splitlines())
    assert lines, f"{name}.jsonl holds no verdict"
    return head, lines


def rows_of(head: dict[str, Any]) -> list[dict[str, Any]]:
    """The published rows that the verdicts are of; skips the test without them, and fails it if they are others."""
    ((name, digest),) = head["data"].items()
    if not (BENCHMARKS / name).exists():
        pytest.skip(f"the benchmark data is not at {BENCHMARKS}")
    content = (BENCHMARKS / name).read_bytes()
    assert hashlib.sha256(content).hexdigest().startswith(digest), f"{name} is not what the verdicts are of: run record.py again"
    return [json.loads(line) for line in content.decode().splitlines()]


def no_code(program: str, seconds: float) -> CodeResult:
    """Fails the test when a task that runs no code runs some."""
    raise AssertionError("this task runs no code")
