"""The LLM client: many requests at once to one endpoint that speaks the OpenAI API, each paid once.

    llm = open_llm(settings.teacher, settings.budget, ledger="runs/a/ledger/analyze_patterns.jsonl")
    replies = llm.ask_all("analyse failures", requests)

What stands in the ledger is replayed first and costs nothing; only then the endpoint is asked for the rest.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from components.backends.ledger import Call, Ledger, LedgerWriter, now, open_ledger
from components.backends.llm_dialect import Dialect
from components.backends.llm_endpoint import OVERLOADED, Answer, Endpoint, Trouble
from components.backends.llm_exchange import Exchange
from components.backends.llm_purse import Purse, estimated_tokens
from components.backends.pace import GaveUp, Pace, retry_after
from components.backends.progress import Track, track
from components.core.budget import Usage
from components.core.errors import EndpointError, InputError, PadaError
from components.core.llm import LlmReply, LlmRequest
from components.core.settings import BudgetSettings, LlmSettings

if TYPE_CHECKING:
    from openai import AsyncOpenAI

T = TypeVar("T")
ALONE_TRIES = 5  # a request that fails so often while others go through is given up by itself
UNREACHABLE_SECONDS = 20.0  # patience with an address where nobody ever answered
NOTICE_SECONDS = 15.0


def open_llm(settings: LlmSettings, budget: BudgetSettings, ledger: str, spent: Usage | None = None) -> "OpenAiLlm":
    """A client of `settings`' endpoint under the run's caps, of which `spent` is gone; `ledger` '' is kept in memory.

    Raises InputError for a ledger that is in use or cannot be written. The API key is looked for when the first call is due.
    """
    if settings.base_url == "embedded":
        raise InputError(
            f"base_url: embedded ({settings.model}): only `pada run` starts llama.cpp's server; give the URL of one that runs"
        )
    llm = OpenAiLlm(settings, budget, open_ledger(ledger), spent or Usage())
    prices = settings.usd_per_million_input + settings.usd_per_million_output
    if budget.usd and not prices and not llm.endpoint.loopback:
        notice(f"budget.usd cannot cap {settings.model}: usd_per_million_input and usd_per_million_output are not set")
    return llm


class OpenAiLlm:
    """An Llm (components.core.llm) behind the `openai` package."""

    def __init__(self, settings: LlmSettings, budget: BudgetSettings, ledger: Ledger, spent: Usage) -> None:
        self.endpoint = Endpoint(settings)
        self.pace = Pace(settings.concurrency, settings.give_up_seconds)
        self.dialect = Dialect()
        self._settings, self._ledger = settings, ledger
        self._purse = Purse(settings, budget, spent)
        self._paying: dict[str, asyncio.Event] = {}
        self._last_trouble = ""
        self._began = self._noticed = 0.0

    @property
    def usage(self) -> Usage:
        """What this client used so far; what was spent before is not in it."""
        return self._purse.usage

    def ask_all(self, label: str, requests: Sequence[LlmRequest[T]]) -> list[LlmReply[T]]:
        """One reply for each request, in order. See components.core.llm.Llm for what is raised and what is not."""
        exchanges = [Exchange(r, self._settings.model, self._settings.max_tokens) for r in requests]
        with track(label, len(requests)) as bar:
            for exchange in exchanges:
                self._replay(exchange)
                if exchange.reply:
                    self._close(exchange, bar)
            todo = [e for e in exchanges if e.reply is None]
            if todo:
                _run(self._ask(todo, bar))
        if self.usage.capped and self.usage.unasked:
            notice(f"{label}: {self.usage.capped}; {self.usage.unasked} requests were not asked")
        return [e.reply for e in exchanges if e.reply]

    def _replay(self, exchange: Exchange[Any]) -> None:
        while exchange.reply is None and (call := self._ledger.get(exchange.key)):
            self._purse.count(call, replayed=True)
            exchange.hear(call)

    def _close(self, exchange: Exchange[Any], bar: Track) -> None:
        """Book an exchange that is over."""
        bar.advance()
        if exchange.unasked:
            self.usage.unasked += 1
        elif exchange.reply and exchange.reply.error:
            self.usage.failed += 1
            notice(f"{exchange.request.key}: {exchange.reply.error}")
        else:
            self._purse.recovered(exchange.troubles)

    async def _ask(self, exchanges: Sequence[Exchange[Any]], bar: Track) -> None:
        self.pace.begin()
        self._purse.begin()
        self._paying.clear()
        self._began = time.monotonic()
        writer = LedgerWriter(self._ledger)
        async with self.endpoint.client() as client:
            try:
                async with asyncio.TaskGroup() as group:
                    for exchange in exchanges:
                        group.create_task(self._finish(exchange, client, writer, bar))
            except BaseExceptionGroup as e:
                raise self._told(e) from e
            finally:
                await writer.drain()
        refused = [e for e in exchanges if e.refused and e.reply]
        if len(refused) == len(exchanges) and not self.pace.successes:
            last = refused[-1].reply
            raise EndpointError(f"{self.endpoint}: refused all {len(refused)} requests; the last: {last.error if last else ''}")

    async def _finish(self, exchange: Exchange[Any], client: "AsyncOpenAI", writer: LedgerWriter, bar: Track) -> None:
        while exchange.reply is None:
            self._replay(exchange)
            if exchange.reply is not None:
                break
            if exchange.key in self._paying:  # an equal request is on its way: its reply will serve both
                await self._paying[exchange.key].wait()
                continue
            done = self._paying[exchange.key] = asyncio.Event()
            try:
                await self._pay(exchange, client, writer)
            finally:
                del self._paying[exchange.key]
                done.set()
        self._close(exchange, bar)

    async def _pay(self, exchange: Exchange[Any], client: "AsyncOpenAI", writer: LedgerWriter) -> None:
        """Get one paid reply into the ledger, or end the exchange with an error."""
        form, tries, successes = self.dialect.start(exchange.schema), 0, self.pace.successes
        while True:
            body = self._body(exchange, form)
            cost = self._purse.most(body["messages"], exchange.max_tokens)
            outcome: Answer | Trouble | None = None
            async with self.pace.slot() as began:
                fits = self._purse.fits(cost)
                if fits:
                    with self._purse.holding(cost):
                        outcome = await self._send(client, body)
                        if isinstance(outcome, Answer):
                            call = self._call(exchange, body, outcome)
                            self._purse.count(call, replayed=False)
            if fits is False:
                exchange.leave(f"budget: {self.usage.capped}")
                return
            if outcome is None:
                await self._purse.changed()
                continue
            if isinstance(outcome, Answer):
                await writer.add(call)
                self._hear(exchange, call, form)
                return
            form, refused = self.dialect.refused(body, exchange.schema, form, outcome.status, outcome.full_text)
            if refused:
                exchange.troubles.append(f"{refused} refused")
                continue
            tries += 1
            self._consider(exchange, outcome, tries, self.pace.successes > successes)
            if exchange.reply is not None:
                return
            await self._wait(outcome, began, tries)

    def _body(self, exchange: Exchange[Any], form: int) -> dict[str, Any]:
        # A seed of its own for each request: repeatable where the server can, and different where the salt differs.
        seed = int(exchange.key[:7], 16) if exchange.request.temperature else 0
        return self.dialect.body(
            exchange.messages, exchange.schema, form, exchange.request.temperature, seed, exchange.max_tokens
        )

    async def _send(self, client: "AsyncOpenAI", body: dict[str, Any]) -> Answer | Trouble:
        limit = min(self._settings.timeout_seconds, max(self.pace.left, 0.0))
        try:
            async with asyncio.timeout(limit):  # on the clock, for servers that drip a byte now and then
                answer = await self.endpoint.send(client, body)
        except TimeoutError:
            return Trouble("timeout", f"no whole reply within {limit:.0f} s")
        except Trouble as trouble:
            return trouble
        self.pace.succeeded()
        return answer

    def _call(self, exchange: Exchange[Any], body: dict[str, Any], answer: Answer) -> Call:
        asked = "".join(m["content"] for m in body["messages"])
        return Call(
            key=exchange.key,
            name=exchange.request.key,
            model=self._settings.model,
            time=now(),
            text=answer.text,
            finish=answer.finish,
            input_tokens=estimated_tokens(asked) if answer.input_tokens is None else answer.input_tokens,
            output_tokens=estimated_tokens(answer.text) if answer.output_tokens is None else answer.output_tokens,
        )

    def _hear(self, exchange: Exchange[Any], call: Call, form: int) -> None:
        reading = exchange.hear(call)
        if reading.kind not in {"cut off", "filtered"}:
            self.dialect.answered(exchange.schema, form, reading.fits)

    def _consider(self, exchange: Exchange[Any], trouble: Trouble, tries: int, others_succeed: bool) -> None:
        """Decide whether a request that met trouble is tried again. Raises GaveUp for an address where nobody ever was."""
        self._last_trouble = str(trouble)
        if trouble.kind == "refused":
            exchange.refuse(str(trouble))
        elif tries >= ALONE_TRIES and others_succeed and trouble.status not in OVERLOADED:
            exchange.fail(f"failed {tries} times while others went through; the last: {trouble}")
        elif trouble.unreachable and not self.pace.successes and time.monotonic() - self._began > UNREACHABLE_SECONDS:
            raise GaveUp("cannot be reached; start the server or correct base_url")
        else:
            exchange.troubles.append(trouble.kind)

    async def _wait(self, trouble: Trouble, began: float, tries: int) -> None:
        self.usage.retries += 1
        if trouble.status in OVERLOADED or trouble.kind == "timeout":
            self.pace.overloaded(began)
        seconds = retry_after(trouble.headers)
        if time.monotonic() - max(self._noticed, self._began) > NOTICE_SECONDS:
            self._noticed = time.monotonic()
            notice(f"{self.endpoint}: {trouble}; trying on, at most {max(self.pace.left, 0):.0f} s more without a reply")
        if seconds is not None:
            self.pace.pause(seconds)
        else:
            await self.pace.back_off(tries - 1)

    def _told(self, group: BaseExceptionGroup[BaseException]) -> BaseException:
        """The one error of many that the user is to read."""
        errors = _leaves(group)
        own = next((e for e in errors if isinstance(e, PadaError)), errors[0])
        if not isinstance(own, GaveUp):
            return own
        last = f"; the last trouble: {self._last_trouble}" if self._last_trouble else ""
        kept = (
            f"the {len(self._ledger)} paid replies are in {self._ledger.path}: start the run again and it goes on from there"
            if self._ledger.path
            else "paid replies of this step were in memory only; give a ledger to keep them"
        )
        return EndpointError(f"{self.endpoint}: {own}{last}; {kept}")


def notice(text: str) -> None:
    """A line for whoever watches the run."""
    print(f"  {text}", file=sys.stderr, flush=True)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for e in error.exceptions for leaf in _leaves(e)]
    return [error]


def _run(work: Any) -> None:
    """Run a coroutine to its end, also for a caller that is inside an event loop itself, such as a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
    else:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, work).result()
