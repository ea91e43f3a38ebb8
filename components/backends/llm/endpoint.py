"""One endpoint: sends a chat, tells replies from trouble, and knows which trouble passes."""

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pada_agent.components.backends.llm.answer import Answer, NoCompletion, read_answer
from pada_agent.components.backends.llm.reply import one_line
from pada_agent.components.backends.llm.secret_manager import read_secret
from pada_agent.components.core.errors import EndpointError
from pada_agent.components.core.settings import LlmSettings

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OPENAI = "https://api.openai.com/v1"
CONNECT_SECONDS = 30.0
OVERLOADED = {429, 503, 529}
PASSING = {408, 409, 425, 500, 502, 504} | OVERLOADED
_FLAGGED = re.compile(r"\b(flagged|moderation)\b", re.IGNORECASE)


class Trouble(Exception):
    """No completion came. `status` is 0 when nothing came at all."""

    def __init__(self, kind: str, text: str, status: int = 0, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(one_line(text))
        self.kind, self.status, self.headers = kind, status, headers or {}
        self.full_text = text

    @property
    def unreachable(self) -> bool:
        """Nobody listens there: unlike a reset or a time-out, this will hardly pass by itself."""
        return self.kind == "no connection"


class Endpoint:
    """Where an LLM is, and the client to reach it."""

    def __init__(self, settings: LlmSettings) -> None:
        self.settings = settings
        self.url = settings.base_url or OPENAI
        self.loopback = _is_loopback(self.url)

    def __str__(self) -> str:
        return f"endpoint {self.url}, model {self.settings.model}"

    def client(self) -> "AsyncOpenAI":
        """A client of the `openai` package. Raises EndpointError when there is no key; its own retries are off."""
        import openai

        from pada_agent.components.backends.llm.connection_pool import connection_pool

        # A proxy from the environment does not lead to this machine's own loopback; to others it takes the place of the pool.
        http = openai.DefaultAsyncHttpxClient(
            transport=connection_pool(), trust_env=not self.loopback, event_hooks={"request": [self._add_headers]}
        )
        return openai.AsyncOpenAI(
            api_key=self._key(),
            base_url=self.url,
            timeout=openai.Timeout(None, connect=min(CONNECT_SECONDS, self.settings.timeout_seconds)),  # the rest is the caller's
            max_retries=0,
            http_client=http,
        )

    def whole(self, body: dict[str, Any]) -> dict[str, Any]:
        """What is sent to have `body` answered."""
        return {"model": self.settings.model, **body}

    async def _add_headers(self, request: Any) -> None:
        # So late that neither openai's own headers take the place of these, nor its debug log sees them.
        request.headers.update(self.settings.headers)

    async def send(self, client: "AsyncOpenAI", body: dict[str, Any]) -> Answer:
        """One call. Raises Trouble when no completion comes back, EndpointError when none ever will."""
        import httpx2
        import openai

        try:
            # Not chat.completions.create: checking each field of question and answer is a third of the time a call takes here.
            reply = await client.post("/chat/completions", cast_to=httpx2.Response, body=self.whole(body))
        except openai.APIStatusError as e:
            raise self.refusal(e.status_code, e.response.text, e.response.headers) from e
        except openai.APITimeoutError as e:
            raise Trouble("no connection", f"no connection within {CONNECT_SECONDS:g} s") from e
        except openai.APIConnectionError as e:
            raise lost_connection(e) from e
        if "html" in reply.headers.get("content-type", ""):
            raise EndpointError(f"{self}: answers with a web page; base_url must lead to an API and often ends in /v1")
        return self.read(reply.text, reply.headers)

    def read(self, text: str, headers: Mapping[str, str]) -> Answer:
        """The completion in the body of a reply of HTTP 200. Raises as `send` does."""
        try:
            return read_answer(text)
        except NoCompletion as e:
            if not e.status:
                raise Trouble("server error", f"HTTP 200, but no completion: {text}") from e
            raise self.refusal(e.status, text, headers) from e

    def refusal(self, status: int, text: str, headers: Mapping[str, str]) -> Trouble | EndpointError:
        """What a reply with another status than 200 means: trouble with one call, or an error that ends the run."""
        said = one_line(text)
        key = self.settings.api_key_env
        if status == 403 and _FLAGGED.search(text):  # this prompt alone, e.g. by OpenRouter's moderation
            return Trouble("refused", f"HTTP {status}: {text}", status, headers)
        if status in {401, 403}:
            return EndpointError(f"{self}: refuses the key (HTTP {status}: {said}); put a valid one into {key}")
        if status == 402 or "insufficient_quota" in text:
            return EndpointError(f"{self}: the account behind {key} has no credit left (HTTP {status}: {said}); top it up")
        if status == 404 or "model_not_found" in text:
            return EndpointError(
                f"{self}: there is no such model or address (HTTP {status}: {said}); "
                "check model and base_url, which often ends in /v1"
            )
        kind = "overload" if status in OVERLOADED else "server error" if status in PASSING else "refused"
        return Trouble(kind, f"HTTP {status}: {text}", status, headers)

    def _key(self) -> str:
        name = self.settings.api_key_env
        key = os.environ.get(name, "").strip()
        if not key and self.settings.api_key_secret:
            key, name = read_secret(self.settings.api_key_secret), f"secret {self.settings.api_key_secret}"
        if not key and not self.loopback:
            raise EndpointError(f"{self}: the environment variable {name} (api_key_env) holds no API key; set it")
        if not key.isascii():
            raise EndpointError(f"{self}: the key in {name} holds characters that no key has; copy it again")
        return key or "none"


def lost_connection(error: Exception) -> Trouble:
    """What came of a connection that was not made or broke."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and isinstance(cause, Exception):
        causes.append(cause)
    said = str(causes[1]) if len(causes) > 1 and str(causes[1]) else repr(causes[-1])
    refused = any(isinstance(c, ConnectionRefusedError) or type(c).__name__ in {"ConnectError", "gaierror"} for c in causes)
    return Trouble("no connection" if refused else "connection lost", said)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
