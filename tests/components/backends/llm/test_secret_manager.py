"""Keys from Secret Manager, over a real socket, with an account that signs for its own tokens."""

import base64

import pytest

from pada_agent.components.backends.llm.endpoint import Endpoint
from pada_agent.components.backends.llm.secret_manager import OVERRIDE, read_secret
from pada_agent.components.core.errors import EndpointError
from pada_agent.components.core.settings import LlmSettings

google_auth = pytest.importorskip("google.auth", reason="needs pip install 'pada-agent[storage]'")
NAME = "projects/p/secrets/teacher/versions/latest"
PATH = f"/v1/{NAME}:access"


@pytest.fixture(autouse=True)
def account(google_account, monkeypatch, http_stub):
    monkeypatch.setenv(OVERRIDE, http_stub.url)
    http_stub.on("POST", "/token", {"access_token": "a-token", "expires_in": 3600, "token_type": "Bearer"})


def payload(text):
    return {"name": NAME, "payload": {"data": base64.b64encode(text.encode()).decode()}}


def test_a_key_is_read_with_the_accounts_token(http_stub):
    http_stub.on("GET", PATH, payload("key-1\n"))
    assert read_secret(NAME) == "key-1"
    assert http_stub.asked("GET", PATH)[0].headers["authorization"] == "Bearer a-token"


def test_an_endpoint_takes_its_key_from_the_secret_unless_the_variable_is_set(http_stub, monkeypatch):
    http_stub.on("GET", PATH, payload("from-the-secret"))
    monkeypatch.delenv("TEACHER_API_KEY", raising=False)
    llm = LlmSettings(model="m", base_url="https://llm.example/v1", api_key_env="TEACHER_API_KEY", api_key_secret=NAME)
    assert Endpoint(llm).client().api_key == "from-the-secret"
    monkeypatch.setenv("TEACHER_API_KEY", "from-the-variable")
    assert Endpoint(llm).client().api_key == "from-the-variable"
    assert len(http_stub.asked("GET", PATH)) == 1


@pytest.mark.parametrize(
    ("status", "reply", "message"),
    [
        (403, {"error": {"message": "denied"}}, "may not read it .HTTP 403.; give it the role"),
        (404, {"error": {"message": "none"}}, "HTTP 404; check project"),
        (200, {"payload": {}}, "the answer holds no text"),
    ],
)
def test_what_is_wrong_is_one_line(http_stub, status, reply, message):
    http_stub.on("GET", PATH, reply, status=status)
    with pytest.raises(EndpointError, match=message) as error:
        read_secret(NAME)
    assert "\n" not in str(error.value)


def test_a_name_that_is_none_and_an_account_that_is_none(monkeypatch, tmp_path):
    with pytest.raises(EndpointError, match="is not projects/PROJECT/secrets/SECRET/versions/VERSION"):
        read_secret("my-secret")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(EndpointError, match="cannot be read"):
        read_secret(NAME)
