"""Pays for replies in batches: less money, within a day. A batch that was made is waited for, whoever is killed meanwhile."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pada_agent.components.backends.llm.answer import Answer
from pada_agent.components.backends.llm.batch.lines import MOST_LINES, how_many, read_results, request_line
from pada_agent.components.backends.llm.batch.on_its_way import OnItsWay
from pada_agent.components.backends.llm.batch.provider import ENDED, BatchProvider
from pada_agent.components.backends.llm.budget_guard import BudgetGuard
from pada_agent.components.backends.llm.caller import Caller
from pada_agent.components.backends.llm.endpoint import Endpoint, Trouble
from pada_agent.components.backends.llm.exchange import Exchange
from pada_agent.components.backends.llm.ledger.calls import Call, Ledger, LedgerWriter, now
from pada_agent.components.backends.llm.pace import GaveUp
from pada_agent.components.backends.llm.reply import one_line
from pada_agent.components.backends.llm.stopping import Stop
from pada_agent.components.backends.progress import notice
from pada_agent.components.core.errors import EndpointError

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types import Batch

POLL_SECONDS, POLL_MOST, POLL_GROWTH = 2.0, 60.0, 1.5  # between two looks at a batch
BATCHES = 3  # without a reply are enough: for one request, which then fails, and for all, which ends the run


class BatchCaller(Caller):
    """Asks what is open in one round after the other. What it learns of the endpoint stays from step to step."""

    def __init__(self, endpoint: Endpoint, budget: BudgetGuard, ledger: Ledger) -> None:
        super().__init__(endpoint, budget)
        self._ledger = ledger
        self._most_lines, self._one_at_once = MOST_LINES, False  # less where the account's queue is short
        self._on_their_way: list[OnItsWay] = []
        self._tries: Counter[str] = Counter()  # by key
        self._barren = self._moved = self._successes_before = 0

    def begin(self, client: "AsyncOpenAI", writer: LedgerWriter, stop: Stop) -> None:
        """As its base."""
        super().begin(client, writer, stop)
        self._provider = BatchProvider(self._endpoint, client)
        self._barren, self._successes_before = 0, self.successes

    async def pay_all(self, exchanges: Sequence[Exchange[Any]], pulse: Callable[[], None]) -> None:
        """One round, until its last batch has ended: then an exchange has a reply in the ledger, met trouble, is over, or waits
        for room under the caps. `pulse` is called at each look.

        Raises GaveUp when an endpoint is silent for `give_up_seconds`, or answered nothing in a few batches.
        """
        if self._ledger.full:
            for exchange in exchanges:
                exchange.leave(f"ledger: {self._ledger.full}")
            return
        if self._barren:
            await asyncio.sleep(min(POLL_MOST, POLL_SECONDS * 2**self._barren))
        self._moved = 0
        self._on_their_way.clear()
        todo: dict[str, Exchange[Any]] = {}
        for exchange in exchanges:
            todo.setdefault(exchange.key, exchange)  # of equal ones the first: its reply will serve all
        try:
            await self._make(await self._take_up(todo))
            await self._wait_for_all(pulse)
        finally:
            self._say_what_goes_on()
        self._barren = 0 if self._moved else self._barren + 1
        if self._barren >= BATCHES and not self._answering:
            raise GaveUp(f"answered nothing in {BATCHES} batches, one after the other")

    @property
    def _answering(self) -> bool:
        """Whether anything was answered in this step."""
        return self.successes > self._successes_before

    async def _take_up(self, todo: dict[str, Exchange[Any]]) -> dict[str, Exchange[Any]]:
        """Find the batches of an earlier try. Gives what is in none of them."""
        for note in self._ledger.batches():
            mine = {key: todo[key] for key in note.keys if key in todo}
            if not mine:
                continue
            found = note.id
            if not found:
                made = await self._provider.find(note.mark, note.time)
                found = made.id if made else ""
                await self._note(note.mark, **({"id": found} if found else {"end": "never made"}))
            if found:
                notice(f"batch {found} was made before: the replies to {len(mine)} requests in it are waited for, and paid once")
                bodies = {key: self._asked(exchange) for key, exchange in mine.items()}
                others = [key for key in note.keys if key not in mine and key not in self._ledger]
                self._on_their_way.append(OnItsWay(note.mark, found, mine, bodies, note.time, ours=False, others=others))
                todo = {key: exchange for key, exchange in todo.items() if key not in mine}
        return todo

    async def _make(self, todo: dict[str, Exchange[Any]]) -> None:
        """Send as many as fit under the caps; if none does, the others are left unless room may come."""
        bodies = {key: self._asked(exchange) for key, exchange in todo.items()}
        costs = [self._budget.most(bodies[key], exchange.max_tokens) for key, exchange in todo.items()]
        sent = [self._budget.most(b.bodies[k], e.max_tokens) for b in self._on_their_way for k, e in b.exchanges.items()]
        fitting = self._budget.fitting(costs, sent)
        if costs and not fitting and not sent:
            self._budget.fits(costs[0])  # which says by which cap
            for exchange in todo.values():
                exchange.leave(f"budget: {self._budget.usage.capped}")
        keys = list(todo)[:fitting]
        lines = [request_line(key, bodies[key]) for key in keys]
        while lines:
            count = how_many(lines, self._most_lines)
            part, keys = keys[:count], keys[count:]
            await self._send_off(b"".join(lines[:count]), {k: todo[k] for k in part}, {k: bodies[k] for k in part})
            lines = lines[count:]
            if self._one_at_once:
                break

    async def _send_off(self, lines: bytes, exchanges: dict[str, Exchange[Any]], bodies: dict[str, dict[str, Any]]) -> None:
        file = await self._provider.upload(lines)
        batch = OnItsWay(uuid.uuid4().hex, "", exchanges, bodies, now(), ours=True)
        with self._stop.paying():
            await self._note(batch.mark, keys=list(exchanges))  # first: a batch that nobody noted would be paid twice
            batch.id = (await self._provider.create(file, batch.mark, batch.since)).id
            self._on_their_way.append(batch)
            await self._note(batch.mark, id=batch.id)
        notice(f"batch {batch.id} was made: {len(exchanges)} requests, to be answered within 24 hours")

    async def _wait_for_all(self, pulse: Callable[[], None]) -> None:
        pause = POLL_SECONDS
        while True:
            for batch in list(self._on_their_way):
                found = await self._provider.retrieve(batch.id)
                if found is not None and found.status in ENDED:
                    await self._take_in(batch, found)
                elif found is not None:
                    batch.tell(found)
                elif time.time() - batch.since > self._settings.give_up_seconds:  # not only too young to be seen
                    notice(f"batch {batch.id} is not at the provider any more: what was in it is asked again")
                    await self._end(batch, "gone")
                    for key in batch.exchanges:
                        self._meet(batch, key, None, "is gone")
            pulse()
            if not self._on_their_way:
                return
            await asyncio.sleep(pause)
            pause = min(pause * POLL_GROWTH, POLL_MOST)

    async def _take_in(self, batch: OnItsWay, found: "Batch") -> None:
        """Replies into the ledger, then to their exchanges, then the trouble. Raises EndpointError for what ends the run."""
        results: dict[str, Answer | Trouble | EndpointError] = {}
        for file in filter(None, (found.error_file_id, found.output_file_id)):
            text = await self._provider.read(file)
            if text is None:
                notice(f"batch {batch.id}: its file {file} is not at the provider any more")
            results.update(read_results(self._endpoint, text or b""))
        calls = {
            key: replace(self._call(exchange, batch.bodies[key], answer), batch=batch.id)
            for key, exchange in batch.exchanges.items()
            if isinstance(answer := results.get(key), Answer)
        }
        if calls:
            await asyncio.to_thread(self._ledger.add, list(calls.values()))
        await self._end(batch, found.status)
        for key, call in calls.items():
            self._budget.count(call, replayed=False)
            self._hear(batch.exchanges[key], call, batch.ours)
        if found.status == "failed":
            self._consider_failed(batch, found)
            return
        errors = [self._meet(batch, key, results.get(key), f"is {found.status}") for key in batch.exchanges if key not in calls]
        if error := next(filter(None, errors), None):
            raise error
        if found.status == "cancelled" and len(calls) < len(batch.exchanges):
            raise EndpointError(
                f"{self._endpoint}: batch {batch.id} was cancelled there; {len(calls)} replies of it are kept, "
                "start the run again to ask for the rest"
            )

    def _hear(self, exchange: Exchange[Any], call: Call, form_known: bool) -> None:
        self._pace.succeeded()
        self._moved += 1
        reading = exchange.hear(call)
        if form_known and reading.kind not in {"cut off", "filtered"}:
            self._dialect.answered(exchange.schema, exchange.form, reading.fits)

    def _meet(
        self, batch: OnItsWay, key: str, result: Answer | Trouble | EndpointError | None, state: str
    ) -> EndpointError | None:
        """Ask what has no reply again in the next round, in another form or as it was, or end it. Gives what ends the run."""
        if isinstance(result, EndpointError):
            return result
        exchange, body = batch.exchanges[key], batch.bodies[key]
        trouble = result if isinstance(result, Trouble) else Trouble("not reached in its batch", f"the batch {state}, without it")
        self.last_trouble = str(trouble)
        if refused := self._dialect.refused(exchange, body, trouble.status, trouble.full_text):
            exchange.troubles.append(f"{refused} refused")
            self._moved += 1
            return None
        if trouble.kind == "refused":
            exchange.refuse(str(trouble))
            self._moved += 1
            return None
        exchange.troubles.append(trouble.kind)
        self._tries[key] += 1
        if self._tries[key] >= BATCHES and self._answering:
            exchange.fail(f"failed in {self._tries[key]} batches; the last: {trouble}")
        self._budget.usage.retries += exchange.reply is None
        return None

    def _consider_failed(self, batch: OnItsWay, found: "Batch") -> None:
        """A batch of which nothing was run. One too long for the account's queue is asked in halves, one after the other."""
        errors = (found.errors.data if found.errors else None) or []
        said = self.last_trouble = "; ".join(f"{e.code}: {one_line(e.message or '')}" for e in errors[:3]) or "no reason given"
        if any("token_limit" in (e.code or "") for e in errors) and len(batch.exchanges) > 1:
            self._most_lines, self._one_at_once = (len(batch.exchanges) + 1) // 2, True
            self._moved += 1
            notice(f"batch {batch.id}: {said}; asking for {self._most_lines} at once, one batch after the other")
        else:
            raise EndpointError(f"{self._endpoint}: batch {batch.id} failed before anything was run ({said})")

    def _say_what_goes_on(self) -> None:
        """Of batches that nobody waits for any more."""
        if not self._on_their_way:
            return
        ids = ", ".join(batch.id for batch in self._on_their_way)
        then = (
            "start the run again and it takes their replies in, paid once"
            if self._ledger.path
            else "cancel them there: without a ledger nobody takes their replies in"
        )
        notice(f"what is in batches goes on at the provider ({ids}): {then}")

    def _asked(self, exchange: Exchange[Any]) -> dict[str, Any]:
        exchange.form = max(exchange.form, self._dialect.start(exchange.schema))
        return self._endpoint.whole(self._body(exchange))

    async def _note(self, mark: str, **known: Any) -> None:
        await asyncio.to_thread(self._ledger.note_batch, mark, **known)

    async def _end(self, batch: OnItsWay, how: str) -> None:
        """Nothing more comes of it now. What was answered in it and is not asked for now may still be."""
        known: dict[str, Any] = {"keys": batch.others} if batch.others and how not in {"failed", "gone"} else {"end": how}
        await self._note(batch.mark, **known)
        self._on_their_way.remove(batch)
