"""Fixtures for the tests of manifests/."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import manifest_builds as BUILDS
import pytest

Objects = list[dict[str, Any]]


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A fresh copy of manifests/ each time it is called. Skips where there is no kubectl that can build them."""
    if lacking := BUILDS.lacking():
        pytest.skip(f"NO MANIFEST IS TESTED: {lacking}")

    def copy() -> Path:
        return Path(shutil.copytree(BUILDS.MANIFESTS, tmp_path_factory.mktemp("manifests") / "manifests"))

    return copy


@pytest.fixture(scope="session")
def build(tree: Callable[[], Path]) -> Callable[..., Objects]:
    """`build("base")`, or `build("gke", "llm-in-cluster")`: the objects of an overlay with these optional pieces alone."""
    cache: dict[tuple[str, ...], Objects] = {}

    def built(name: str, *components: str) -> Objects:
        key = (name, *components)
        if key not in cache:
            cache[key] = BUILDS.build(tree(), name, components)
        return cache[key]

    return built


@pytest.fixture(scope="session")
def everything(build: Callable[..., Objects]) -> Objects:
    """Each object of any way to build, once."""
    distinct = {json.dumps(o, sort_keys=True): o for way in BUILDS.WAYS for o in [*build(*way), *BUILDS.plain_files()]}
    return list(distinct.values())
