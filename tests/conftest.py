"""Fixtures for all tests."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def _load(name: str) -> Any:
    """Make tests/NAME.py importable as NAME. The folder cannot go on sys.path: its `components` would hide the real one."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec and spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


STUB = _load("llm_stub")
HTTP = _load("http_stub")
CASES = _load("cluster_cases")
TINY = _load("tiny_slm")
_load("forks")
_load("package_runner")
_load("whole_run")


@pytest.fixture
def llm_stub() -> Iterator[Any]:
    """A loopback LLM endpoint that fails the test when it is asked what it was not told about."""
    with STUB.serving() as stub:
        yield stub


@pytest.fixture
def http_stub() -> Iterator[Any]:
    """A loopback HTTP server that fails the test when it is asked what it was not told about."""
    with HTTP.serving() as stub:
        yield stub


@pytest.fixture(scope="session")
def tiny_slm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model that trains in seconds; float32 on one thread, so that results can be compared exactly."""
    import torch

    torch.set_num_threads(1)
    folder: Path = TINY.build(tmp_path_factory.mktemp("tiny-slm"))
    return folder
