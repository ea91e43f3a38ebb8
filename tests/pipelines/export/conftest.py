"""A run with real, tiny models, made once."""

from pathlib import Path

import exported_run
import pytest
import tiny_slm


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's directory; tests copy what they change."""
    folder = tmp_path_factory.mktemp("tiny-run")
    return exported_run.made(folder / "run", tiny_slm.build(folder / "slm", byte_tokens=True))


@pytest.fixture(scope="session")
def whole_run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with all weights trained."""
    return exported_run.made(tmp_path_factory.mktemp("whole-run") / "run", tiny_run.parent / "slm", whole=True)
