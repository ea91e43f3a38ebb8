"""`pada export` where a part of it is missing here."""

import sys

import pytest

from pada_agent.components.core.errors import InputError
from pada_agent.pipelines.kubeflow.handover.model_registry import Registry, register


def test_without_the_client_of_model_registry(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "mr_openapi", None)
    with pytest.raises(InputError, match=r"--model-registry: the client is missing .*pip install 'pada-agent\[registry\]'"):
        register(exported, "sql", Registry("http://127.0.0.1:1"))
