"""The LLM client: many requests at once to one endpoint that speaks the OpenAI API, each paid once.

    llm = open_llm(settings.teacher, settings.budget, ledger="runs/a/ledger/analyze_patterns.jsonl")
    replies = llm.ask_all("failures analysed", requests)

What is in the ledger is replayed first and costs nothing; the endpoint is asked only for the rest.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from pada_agent.components.backends.llm.batch.caller import BatchCaller
from pada_agent.components.backends.llm.batch.provider import BatchProvider
from pada_agent.components.backends.llm.budget_guard import BudgetGuard
from pada_agent.components.backends.llm.caller import Caller
from pada_agent.components.backends.llm.endpoint import Endpoint
from pada_agent.components.backends.llm.exchange import Exchange
from pada_agent.components.backends.llm.ledger.calls import Ledger, LedgerWriter, open_ledger
from pada_agent.components.backends.llm.pace import GaveUp
from pada_agent.components.backends.llm.stopping import Stop
from pada_agent.components.backends.progress import Track, notice, track
from pada_agent.components.core.cost.budget import Limit, Usage, limits
from pada_agent.components.core.errors import EndpointError, InputError, PadaError
from pada_agent.components.core.llm_interface import LlmReply, LlmRequest
from pada_agent.components.core.settings import CAPS, BudgetSettings, LlmSettings

T = TypeVar("T")


def open_llm(
    settings: LlmSettings, budget: BudgetSettings, ledger: str, stage: str = "", spent: Mapping[str, Usage] | None = None
) -> "OpenAiLlm":
    """A client of `settings`' endpoint under the caps of the run and of `stage`; `ledger` '' is kept in memory.

    `spent` is what each stage has spent in the run so far.

    Raises InputError for a ledger that is in use or cannot be written. The API key is looked for when the first call is due.
    """
    if settings.base_url == "embedded":
        raise InputError(
            f"base_url: embedded ({settings.model}): only `pada run` starts llama.cpp's server; give the URL of a running one"
        )
    held = [limit for limit in limits(budget, spent or {}, [stage]) if any(getattr(limit.caps, name) for name in CAPS)]
    llm = OpenAiLlm(settings, held, open_ledger(ledger))
    if any(limit.caps.usd for limit in held) and not settings.priced and not llm.endpoint.loopback:
        notice(f"budget.usd cannot cap {settings.model}: usd_per_million_input and usd_per_million_output are not set")
    return llm


class OpenAiLlm:
    """An Llm (pada_agent.components.core.llm_interface) behind the `openai` package."""

    def __init__(self, settings: LlmSettings, limits: Sequence[Limit], ledger: Ledger) -> None:
        self.endpoint = Endpoint(settings)
        self._settings, self._ledger = settings, ledger
        self._budget = BudgetGuard(settings, limits)
        self._batches = BatchCaller(self.endpoint, self._budget, ledger) if settings.mode == "batch" else None
        self._caller = self._batches or Caller(self.endpoint, self._budget)
        self._on_their_way: dict[str, asyncio.Event] = {}
        self._closed: set[str] = set()  # first keys of exchanges that are over

    @property
    def usage(self) -> Usage:
        """What this client used so far; what was spent before is not in it."""
        return self._budget.usage

    def bill(self) -> dict[str, int | float]:
        """For `Executor.say_numbers`: calls, tokens and, at the settings' prices, USD; what an earlier try had paid is apart."""
        paid, usage = self._budget.paid, self.usage
        priced = self._settings.priced
        cached = {"cached input tokens": self._budget.paid_cached} if self._budget.paid_cached else {}
        usd = {"USD": round(paid.usd, 4)} if priced else {}
        usd_before = {"USD paid before": round(usage.usd - paid.usd, 4)} if priced else {}
        before = {"calls paid before": usage.replayed, **usd_before} if usage.replayed else {}
        lost = {"requests failed": usage.failed, "requests not asked": usage.unasked}
        return {"calls": paid.calls, "tokens": paid.tokens, **cached, **usd, **before, **{k: n for k, n in lost.items() if n}}

    def ask_all(self, what: str, requests: Sequence[LlmRequest[T]]) -> list[LlmReply[T]]:
        """One reply for each request, in order. See core.llm_interface.Llm for what is raised and what is not."""
        exchanges = [Exchange(r, self._settings.model, self._settings.max_tokens, self._settings.body_extras) for r in requests]
        unasked = self.usage.unasked
        with track(what, len(requests)) as bar:
            for exchange in exchanges:
                self._replay(exchange)
                if exchange.reply:
                    self._close(exchange, bar.find)
            todo = [e for e in exchanges if e.reply is None]
            if todo:
                _run(self._ask(todo, bar))
        if self.usage.unasked > unasked:
            notice(f"{what}: {self.usage.capped}; {self.usage.unasked - unasked} of {len(requests)} requests were not asked")
        return [e.reply for e in exchanges if e.reply]

    def _replay(self, exchange: Exchange[Any]) -> None:
        while exchange.reply is None and (call := self._ledger.get(exchange.key)) and exchange.replays(call):
            if call.name == exchange.request.key:  # else another step's equal request paid it, and has it in its own usage
                self._budget.count(call, replayed=True)
            exchange.hear(call)

    def _close(self, exchange: Exchange[Any], count: Callable[[], None]) -> None:
        """Book an exchange that is over."""
        count()
        if exchange.first_key not in self._closed:
            self._closed.add(exchange.first_key)
            self.usage.silences += self._ledger.silences(exchange.first_key)
        reply = exchange.reply
        if reply is not None and reply.unasked:
            self.usage.unasked += 1
            return
        error = reply.error if reply else ""
        self._budget.met(exchange.troubles, overcome=not error)
        if error:
            self.usage.failed += 1
            notice(f"{exchange.request.key}: {error}")

    def _warn_of_batches(self, exchanges: Sequence[Exchange[Any]]) -> None:
        """Where chats ask for what a batch of an earlier start is to answer."""
        keys = {exchange.key for exchange in exchanges}
        for note in self._ledger.batches():
            if note.id and (twice := len(keys.intersection(note.keys))):
                notice(
                    f"{twice} requests are in batch {note.id} of an earlier start and are now asked in chats, to be paid twice; "
                    "set mode: batch to wait for it, or cancel it at the provider"
                )

    async def _ask(self, exchanges: Sequence[Exchange[Any]], bar: Track) -> None:
        self._on_their_way.clear()
        if not self._batches:
            self._warn_of_batches(exchanges)
        writer, stop = LedgerWriter(self._ledger), Stop()
        async with self.endpoint.client() as client:
            self._caller.begin(client, writer, stop)
            with stop.watched():
                try:
                    async with asyncio.TaskGroup() as group:
                        if self._batches:
                            stop.of([group.create_task(self._in_batches(self._batches, exchanges, bar))])
                        else:
                            stop.of([group.create_task(self._finish(exchange, bar)) for exchange in exchanges])
                except BaseExceptionGroup as e:
                    raise self._told(e, exchanges) from e
                finally:
                    await writer.drain()
        if self._ledger.full:
            raise InputError(
                f"ledger {self._ledger.path}: {self._ledger.full}: the {len(self._ledger)} replies paid so far are kept, no more "
                "are asked for; make room and start the run again"
            )
        refused = [e.reply.error for e in exchanges if e.refused and e.reply]
        if len(refused) == len(exchanges) and not self._caller.successes:
            raise EndpointError(f"{self.endpoint}: refused all {len(refused)} requests; the last: {refused[-1]}")

    async def _finish(self, exchange: Exchange[Any], bar: Track) -> None:
        while exchange.reply is None:
            self._replay(exchange)
            if exchange.reply is not None:
                break
            if exchange.key in self._on_their_way:  # an equal request: its reply will serve both
                await self._on_their_way[exchange.key].wait()
                continue
            key, arrived = exchange.key, asyncio.Event()
            self._on_their_way[key] = arrived
            try:
                await self._caller.pay(exchange)
            finally:
                del self._on_their_way[key]
                arrived.set()
        self._close(exchange, bar.advance)

    async def _in_batches(self, caller: BatchCaller, exchanges: Sequence[Exchange[Any]], bar: Track) -> None:
        todo = list(exchanges)
        while todo:
            await caller.pay_all(todo, lambda: bar.advance(0))
            for exchange in todo:
                self._replay(exchange)
                if exchange.reply is not None:
                    self._close(exchange, bar.advance)
            todo = [e for e in todo if e.reply is None]

    def check_batches(self) -> None:
        """Raises EndpointError for an endpoint without the batch API."""

        async def check() -> None:
            async with self.endpoint.client() as client:
                await BatchProvider(self.endpoint, client).check()

        _run(check())

    def _told(self, group: BaseExceptionGroup[BaseException], exchanges: Sequence[Exchange[Any]]) -> BaseException:
        """The one error of many that the user is to read. That the endpoint fell silent is kept for the run's report."""
        errors = _leaves(group)
        own = next((e for e in errors if isinstance(e, PadaError)), errors[0])
        if not isinstance(own, GaveUp):
            return own
        with suppress(InputError):  # the one error is this silence
            self._ledger.add_silence(next(e.first_key for e in exchanges if e.reply is None), str(own))
        last = f"; the last trouble: {self._caller.last_trouble}" if self._caller.last_trouble else ""
        kept = (
            f"the {len(self._ledger)} paid replies are in {self._ledger.path}: start the run again and it resumes from there"
            if self._ledger.path
            else "paid replies of this step were in memory only; give a ledger to keep them"
        )
        return EndpointError(f"{self.endpoint}: {own}{last}; {kept}")


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for e in error.exceptions for leaf in _leaves(e)]
    return [error]


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end, even for a caller that is inside an event loop itself, such as a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
    else:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, work).result()
