"""What `make quickstart` and `make test` install: one lock, within the project's own bounds, of this machine's making nowhere."""

import os
import re
import subprocess
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "constraints.txt").read_text()
# Of extras for an environment of their own: one holds fsspec below what gcsfs needs, one brings its own PyTorch.
APART = {"inspect-ai", "vllm"}
PLATFORMS = {
    "Linux, x86_64": {"sys_platform": "linux", "platform_machine": "x86_64", "platform_system": "Linux"},
    "Linux, ARM": {"sys_platform": "linux", "platform_machine": "aarch64", "platform_system": "Linux"},
    "macOS": {"sys_platform": "darwin", "platform_machine": "arm64", "platform_system": "Darwin"},
}


def locked(environment):
    """By name, the exact version for a platform."""
    pins = [Requirement(line) for line in LOCK.splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(p.name): p.specifier for p in pins if not p.marker or p.marker.evaluate(environment)}


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_requirement_has_one_exact_version_within_its_bounds(platform, python):
    environment = {**default_environment(), **PLATFORMS[platform], "python_version": python, "python_full_version": f"{python}.5"}
    pins = locked(environment)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = [Requirement(text) for text in chain(project["dependencies"], *project["optional-dependencies"].values())]
    for need in needs:
        if need.name in {"pada-agent", *APART} or (need.marker and not need.marker.evaluate(environment)):
            continue
        (exact,) = pins[canonicalize_name(need.name)]
        assert exact.operator == "==" and need.specifier.contains(exact.version, prereleases=True), need


def test_the_lock_names_no_place_and_no_build():
    lines = [line for line in LOCK.splitlines() if not line.startswith("#")]
    assert not [line for line in lines if re.search(r"://|\+|--|@ ", line)]


def steps(*goals):
    """What make would run in a fresh checkout."""
    command = ["make", "-n", "-B", *goals, "PIP_ARGS="]
    outside = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "NEWEST"}}  # of the make that tests
    return subprocess.run(command, cwd=ROOT, env=outside, capture_output=True, text=True, check=True).stdout


def test_make_installs_what_is_locked():
    installs = [line for line in steps("test").splitlines() if "pip install" in line]
    assert len(installs) == 3 and all("-c constraints.txt" in line and ".venv/bin" in line for line in installs)


def test_the_newest_versions_are_tried_in_an_environment_of_their_own():
    lines = [line for line in steps("test", "NEWEST=1").splitlines() if "pip install" in line or "pytest" in line]
    assert len(lines) == 4 and all(".venv-newest/bin" in line and "-c constraints.txt" not in line for line in lines)
