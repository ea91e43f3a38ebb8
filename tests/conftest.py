"""Fixtures for all tests."""

import inspect
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import batch_stub as BATCH
import http_stub as HTTP
import llm_stub as STUB
import pytest
import tiny_slm as TINY
from fake_stages import FakeStages

from pada_agent.components.backends import patience

os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"  # gcsfs reads it once, whichever test imports it first; see open_store
# kfp asks for its caller's name at each setting of a task. With the source of every frame, the default, that is 11 of the 18
# seconds that a package takes where torch is loaded.
inspect.stack.__defaults__ = (0,)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Two workers must collect the same names, and bytes may be random or packed with the time: no name shows them."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a store or a hub that does not answer; the tests of waiting say for how long."""
    monkeypatch.setattr(patience, "SECONDS", 0.0)


@pytest.fixture
def llm_stub() -> Iterator[Any]:
    """A loopback LLM endpoint that fails the test when it is asked what it was not told about."""
    with STUB.serving() as stub:
        yield stub


@pytest.fixture
def batch_stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The same with OpenAI's batch API, looked at without much waiting."""
    for name, seconds in (("caller.POLL_SECONDS", 0.005), ("caller.POLL_MOST", 0.02), ("provider.SETTLED", 0.05)):
        monkeypatch.setattr(f"pada_agent.components.backends.llm.batch.{name}", seconds)
    monkeypatch.setattr("pada_agent.components.backends.llm.pace.BACKOFF_SECONDS", 0.02)
    with BATCH.serving() as stub:
        yield stub


@pytest.fixture
def http_stub() -> Iterator[Any]:
    """A loopback HTTP server that fails the test when it is asked what it was not told about."""
    with HTTP.serving() as stub:
        yield stub


@pytest.fixture(scope="session")
def google_key() -> str:
    """The private key of a service account that signs for its own tokens."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


@pytest.fixture
def google_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, http_stub: Any, google_key: str) -> Path:
    """Google's default credentials: a service account whose tokens come from the stub's /token. Its file."""
    who = {"type": "service_account", "project_id": "proj-1", "client_email": "me@proj-1.iam.gserviceaccount.com"}
    file = tmp_path / "account.json"
    file.write_text(json.dumps({**who, "private_key": google_key, "token_uri": f"{http_stub.url}/token"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    # In the background google-auth asks a fixed address of Google's about the account.
    unasked = "google.auth.credentials.CredentialsWithRegionalAccessBoundary._is_regional_access_boundary_lookup_required"
    monkeypatch.setattr(unasked, lambda self: False, raising=False)
    return file


@pytest.fixture(scope="session")
def tiny_slm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model that trains in seconds; float32 on one thread, so that results can be compared exactly."""
    import torch

    torch.set_num_threads(1)
    folder: Path = TINY.build(tmp_path_factory.mktemp("tiny-slm"))
    return folder


@pytest.fixture
def fakes() -> FakeStages:
    """Fresh fake stages."""
    return FakeStages()
