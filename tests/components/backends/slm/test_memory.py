"""A model that its container cannot hold is refused before it is loaded."""

import json
import os

import pytest

from pada_agent.components.backends.slm import memory
from pada_agent.components.backends.slm.memory import GIB, check_fits, memory_limit
from pada_agent.components.core.errors import ModelError


@pytest.fixture
def model(tmp_path):
    with (tmp_path / "model.safetensors").open("wb") as f:
        f.truncate(8 * GIB)  # sparse
    (tmp_path / "config.json").write_text(json.dumps({"dtype": "float32"}))
    return tmp_path


@pytest.fixture
def limit(tmp_path, monkeypatch):
    def set_to(text):
        (tmp_path / "memory.max").write_text(text)
        monkeypatch.setattr(memory, "CGROUP", (tmp_path / "none", tmp_path / "memory.max"))

    return set_to


def test_the_containers_limit_counts(limit):
    limit(f"{GIB}\n")
    assert memory_limit() == GIB
    limit("max\n")
    assert memory_limit() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_a_model_that_does_not_fit_is_one_line(model, limit):
    limit(str(3 * GIB))
    with pytest.raises(
        ModelError, match=r"model big: its weights take 4.0 GiB as bfloat16, but this container may use 3.0 GiB; raise"
    ):
        check_fits("big", model, "bfloat16")
    limit(str(5 * GIB))
    check_fits("big", model, "bfloat16")
    with pytest.raises(ModelError, match=r"8\.0 GiB as float32"):
        check_fits("big", model, "float32")
