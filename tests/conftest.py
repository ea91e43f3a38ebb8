"""Fixtures for all tests."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # so that tests can import llm_stub; there are no packages under tests/

from llm_stub import LlmStub, serving


@pytest.fixture
def llm_stub() -> Iterator[LlmStub]:
    """A loopback LLM endpoint that fails the test when it is asked what it was not told about."""
    with serving() as stub:
        yield stub
