"""Settings of a small run, the command line, and small packages for clusters."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_cases import compile_packages, write_config
from fake_stages import two_iterations
from forks import forks

from pada_agent.components.core.settings import Settings
from pada_agent.pipelines import cli


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a run over two iterations."""
    return two_iterations(tmp_path)


@pytest.fixture
def pada(monkeypatch, capsys):
    """Call the command line; returns exit code, standard output and the message on standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["pada", *map(str, arguments)])
        code = 0
        message = ""
        try:
            cli.main()
        except SystemExit as e:
            code = e.code if isinstance(e.code, int) else int(bool(e.code))
            message = e.code if isinstance(e.code, str) else ""
        out, err = capsys.readouterr()
        return code, out, message + err

    return call


@pytest.fixture(scope="session")
def fork() -> Iterator[Any]:
    """Starts `pada` as a process of its own, at once; see forks.py."""
    with forks() as found:
        yield found


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small compiled package for each target."""
    return compile_packages(tmp_path_factory.mktemp("packages"))


@pytest.fixture
def cluster_config(tmp_path: Path) -> Path:
    """A config that a cluster can run."""
    return write_config(tmp_path / "demo.yaml")
