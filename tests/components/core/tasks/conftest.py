"""The public benchmark rows, and a code runner for tasks that must not run any."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pada_agent.components.core.tasks.task import CodeResult, CodeRunner

BENCHMARKS = Path(__file__).parents[4].parent / "shared" / "data" / "benchmarks"


@pytest.fixture(scope="session")
def published() -> Callable[[str], list[dict[str, Any]]]:
    """All rows of a benchmark, of train, validation and test, as published."""

    def rows(name: str) -> list[dict[str, Any]]:
        files = [BENCHMARKS / name / f"{split}.jsonl" for split in ("train", "val", "test")]
        if not all(file.exists() for file in files):
            pytest.skip(f"the benchmark data is not at {BENCHMARKS}")
        return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]

    return rows


@pytest.fixture(scope="session")
def no_code() -> CodeRunner:
    """Fails the test when a task that runs no code runs some."""

    def run(program: str, seconds: float) -> CodeResult:
        raise AssertionError("this task runs no code")

    return run
