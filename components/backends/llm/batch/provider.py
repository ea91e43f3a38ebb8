"""The batch API of an endpoint (https://developers.openai.com/api/docs/guides/batch): files, batches, and trouble on the way.

    validating -> in_progress -> finalizing -> completed, or expired after 24 hours, or cancelling -> cancelled
    validating -> failed: nothing was run, `errors` says why

Replies are in the file `output_file_id`, requests that failed or were not reached in `error_file_id`; there may be none or both.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from pada_agent.components.backends.llm.batch.lines import URL
from pada_agent.components.backends.llm.caller import UNREACHABLE_SECONDS
from pada_agent.components.backends.llm.endpoint import CONNECT_SECONDS, Endpoint, Trouble, lost_connection
from pada_agent.components.backends.llm.pace import GaveUp, Pace, retry_after
from pada_agent.components.core.errors import EndpointError

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types import Batch

T = TypeVar("T")
ENDED = {"completed", "failed", "expired", "cancelled"}
ABSENT = {404, 405, 501}
OURS = "pada_agent"  # key of our mark in a batch's metadata
CLOCKS = 3600.0  # seconds that this machine's clock and the provider's may differ
LISTED = 100  # batches on a page
SETTLED = 10.0  # seconds from which on a list is taken to hold what was made


class BatchProvider:
    """Each call is tried until `give_up_seconds` are over. Raises EndpointError when it is no use."""

    def __init__(self, endpoint: Endpoint, client: "AsyncOpenAI") -> None:
        self._endpoint, self._client, self._settings = endpoint, client, endpoint.settings
        self._reached = False

    async def upload(self, lines: bytes) -> str:
        """The id of a file with these lines."""
        file = ("requests.jsonl", lines, "application/jsonl")
        return (await self._there(lambda: self._client.files.create(file=file, purpose="batch"))).id

    async def create(self, file: str, mark: str, since: float) -> "Batch":
        """A batch of what is in a file, made once: when an answer is lost, it is looked for by its mark before the next try."""
        tried = False

        async def make() -> "Batch":
            nonlocal tried
            if tried and (made := await self._look_for(mark, since)):
                return made
            tried = True
            return await self._client.batches.create(
                input_file_id=file, endpoint=URL, completion_window="24h", metadata={OURS: mark}
            )

        return await self._there(make)

    async def find(self, mark: str, since: float) -> "Batch | None":
        """The batch with this mark that was made after `since`, seconds since the epoch; None: none was made."""
        return await self._there(lambda: self._look_for(mark, since))

    async def retrieve(self, batch: str) -> "Batch | None":
        """The state of a batch; None: there is none with this id."""
        return await self._or_none(lambda: self._client.batches.retrieve(batch))

    async def read(self, file: str) -> bytes | None:
        """What is in a file; None: it is not there any more."""
        content = await self._or_none(lambda: self._client.files.content(file))
        return content.content if content is not None else None

    async def check(self) -> None:
        """Raises EndpointError for an endpoint without batches."""
        await self._there(lambda: self._client.batches.list(limit=1))

    async def _look_for(self, mark: str, since: float) -> "Batch | None":
        made = await self._listed(mark, since)
        if made is None and (left := since + SETTLED - time.time()) > 0:
            await asyncio.sleep(left)
            made = await self._listed(mark, since)
        return made

    async def _listed(self, mark: str, since: float) -> "Batch | None":
        async for batch in self._client.batches.list(limit=LISTED):  # the newest first
            if (batch.metadata or {}).get(OURS) == mark:
                return batch
            if batch.created_at < since - CLOCKS:
                break
        return None

    async def _there(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            return await self._patiently(call)
        except Trouble as trouble:
            if trouble.status in ABSENT:
                raise EndpointError(
                    f"{self._endpoint}: has no batch API at this address ({trouble}); set mode: chat, or correct base_url"
                ) from trouble
            raise EndpointError(f"{self._endpoint}: refuses the batch ({trouble})") from trouble

    async def _or_none(self, call: Callable[[], Awaitable[T]]) -> T | None:
        try:
            return await self._patiently(call)
        except Trouble as trouble:
            if trouble.status in ABSENT:
                return None
            raise EndpointError(f"{self._endpoint}: refuses what is asked about a batch ({trouble})") from trouble

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """What a call gives in the end. Raises Trouble that does not pass, GaveUp after `give_up_seconds` without an answer."""
        pace, tries = Pace(1, self._settings.give_up_seconds), 0
        patience = min(UNREACHABLE_SECONDS, pace.left)
        while True:
            try:
                async with pace.slot():
                    answer = await self._once(call, min(self._settings.timeout_seconds * 2**tries, pace.left))
            except Trouble as trouble:
                if trouble.status in ABSENT or trouble.kind == "refused":
                    raise
                if trouble.unreachable and not self._reached and pace.left < self._settings.give_up_seconds - patience:
                    raise GaveUp("cannot be reached; start the server or correct base_url") from trouble
                seconds = retry_after(trouble.headers)
            else:
                self._reached = True
                return answer
            tries += 1
            if seconds is not None:
                pace.pause(seconds)
            else:
                await pace.back_off(tries - 1)

    async def _once(self, call: Callable[[], Awaitable[T]], seconds: float) -> T:
        import openai

        try:
            async with asyncio.timeout(seconds):
                answer = await call()
        except TimeoutError as e:
            raise Trouble("timeout", f"no whole reply within {seconds:.0f} s") from e
        except openai.APIStatusError as e:
            text = e.response.text
            if e.status_code in ABSENT:
                raise Trouble("absent", f"HTTP {e.status_code}: {text}", e.status_code) from e
            raise self._endpoint.refusal(e.status_code, text, e.response.headers) from e
        except openai.APITimeoutError as e:
            raise Trouble("no connection", f"no connection within {CONNECT_SECONDS:g} s") from e
        except openai.APIConnectionError as e:
            raise lost_connection(e) from e
        except ValueError as e:
            raise Trouble("server error", f"HTTP 200, but no JSON ({e})") from e
        if isinstance(answer, str):
            raise EndpointError(f"{self._endpoint}: answers with a web page; base_url must lead to an API and often ends in /v1")
        return answer
