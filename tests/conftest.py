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


@pytest.fixture
def llm_stub() -> Iterator[Any]:
    """A loopback LLM endpoint that fails the test when it is asked what it was not told about."""
    with STUB.serving() as stub:
        yield stub
