"""Runs a stage through the executor input that Kubeflow would give it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from whole_run import SLM, TEXT_TO_SQL, model_or_skip

from pada_agent.components.backends.executor import Executor
from pada_agent.components.core.settings import Settings
from pada_agent.components.prepare_data.__main__ import run as prepare
from pada_agent.components.stages import STAGES


@pytest.fixture
def sql_settings(llm_stub: Any) -> Settings:
    """The text-to-SQL example with the stub as teacher and judge."""
    return Settings.model_validate(
        {
            "task": {
                "name": "text_to_sql",
                **{split: str(TEXT_TO_SQL / f"{split}.jsonl") for split in ("train", "validation", "selection", "test")},
                "options": {"database": str(TEXT_TO_SQL / "shop.sql")},
            },
            "slm": {"model": "unused"},
            "teacher": {"model": "teacher", "base_url": llm_stub.url, "timeout_seconds": 5, "give_up_seconds": 5},
            "judge": {"model": "judge", "base_url": llm_stub.url, "timeout_seconds": 5, "give_up_seconds": 5},
            "control": {"judge_checks": 0, "solve": "off"},
        }
    )


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., tuple[dict[str, Path], dict[str, Any]]]:
    """stage(run, settings, inputs, **parameters) -> paths of the outputs, and output parameters."""
    count = 0

    def start(
        run: Callable[[Executor], None], settings: Settings, inputs: dict[str, Path], **parameters: Any
    ) -> tuple[dict[str, Path], dict[str, Any]]:
        nonlocal count
        count += 1
        name = run.__module__.split(".")[-2]
        folder = tmp_path / f"{count:02}-{name}"
        outputs = {output: folder / output for output in STAGES[name].outputs}
        doc = {
            "inputs": {
                "parameterValues": {"settings": STAGES[name].sections(settings), **parameters},
                "artifacts": {k: {"artifacts": [{"name": k, "uri": str(v)}]} for k, v in inputs.items()},
            },
            "outputs": {
                "artifacts": {k: {"artifacts": [{"name": k, "uri": str(v)}]} for k, v in outputs.items()},
                "outputFile": str(folder / "executor_output.json"),
            },
        }
        run(Executor(json.dumps(doc)))
        return outputs, json.loads((folder / "executor_output.json").read_text())["parameterValues"]

    return start


@pytest.fixture
def settings(sql_settings: Settings) -> Settings:
    """What `data` is prepared with; a test module may have its own."""
    return sql_settings


@pytest.fixture
def data(stage: Callable[..., tuple[dict[str, Path], dict[str, Any]]], settings: Settings) -> dict[str, Path]:
    """The outputs of prepare_data."""
    return stage(prepare, settings, {})[0]


@pytest.fixture
def real_slm() -> str:
    """Name of the quickstart's model; a test is skipped where it cannot be had."""
    model_or_skip(SLM)
    return SLM
