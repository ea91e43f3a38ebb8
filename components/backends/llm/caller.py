"""Pays for one reply: waits for its turn and the caps, sends, retries what may pass, and writes it into the ledger."""

import asyncio
import time
from typing import TYPE_CHECKING, Any

from pada_agent.components.backends.llm.answer import Answer
from pada_agent.components.backends.llm.budget_guard import BudgetGuard
from pada_agent.components.backends.llm.dialect import Dialect
from pada_agent.components.backends.llm.endpoint import OVERLOADED, Endpoint, Trouble
from pada_agent.components.backends.llm.exchange import Exchange
from pada_agent.components.backends.llm.ledger.calls import Call, LedgerWriter, now
from pada_agent.components.backends.llm.pace import GaveUp, Pace, retry_after
from pada_agent.components.backends.llm.prompt_check import PromptCheck
from pada_agent.components.backends.llm.stopping import Stop
from pada_agent.components.backends.progress import notice
from pada_agent.components.core.cost.tokens import token_count

if TYPE_CHECKING:
    from openai import AsyncOpenAI

ALONE_TRIES = 5  # a request that fails so often while others go through is given up by itself
UNREACHABLE_SECONDS = 20.0  # patience with an address where nobody ever answered
NOTICE_SECONDS = 15.0


class Caller:
    """Pays the calls of exchanges, many at once. What it learns of the endpoint stays from step to step."""

    def __init__(self, endpoint: Endpoint, budget: BudgetGuard) -> None:
        self.last_trouble = ""
        self._endpoint, self._budget, self._settings = endpoint, budget, endpoint.settings
        self._pace = Pace(self._settings.concurrency, self._settings.give_up_seconds)
        self._dialect = Dialect()
        self._prompts = PromptCheck(str(endpoint))
        self._began = self._noticed = 0.0

    def begin(self, client: "AsyncOpenAI", writer: LedgerWriter, stop: Stop) -> None:
        """A new step, in an event loop of its own."""
        self._client, self._writer, self._stop = client, writer, stop
        self._pace.begin()
        self._budget.begin()
        self._began = time.monotonic()

    @property
    def successes(self) -> int:
        """Completions that came so far."""
        return self._pace.successes

    async def pay(self, exchange: Exchange[Any]) -> None:
        """Give the exchange one paid reply that is in the ledger, or end it with an error."""
        tries, successes = 0, self.successes
        while exchange.reply is None:
            outcome, body, began = await self._in_turn(exchange)
            if isinstance(outcome, Call):
                reading = exchange.hear(outcome)
                if reading.kind not in {"cut off", "filtered"}:
                    self._dialect.answered(exchange.schema, exchange.form, reading.fits)
                return
            if outcome is None:
                continue
            if refused := self._dialect.refused(exchange, body, outcome.status, outcome.full_text):
                exchange.troubles.append(f"{refused} refused")
                continue
            tries += 1
            self._consider(exchange, outcome, tries, self.successes > successes)
            if exchange.reply is None:
                await self._wait(outcome, began, tries)

    async def _in_turn(self, exchange: Exchange[Any]) -> tuple[Call | Trouble | None, dict[str, Any], float]:
        """What came of one try, what was sent and when; no outcome if the caps did not let it go, now or at all.

        A call that came is in the ledger.
        """
        async with self._pace.slot() as began:
            if self._writer.full:  # those on their way still come in; then the client says what is to be done
                exchange.leave(f"ledger: {self._writer.full}")
                return None, {}, began
            exchange.form = max(exchange.form, self._dialect.start(exchange.schema))
            body = self._body(exchange)
            cost = self._budget.most(body, exchange.max_tokens)
            fits = self._budget.fits(cost)
            if fits:
                with self._budget.holding(cost), self._stop.paying():
                    outcome = await self._send(exchange, body)
                    if isinstance(outcome, Trouble):
                        return outcome, body, began
                    call = self._call(exchange, body, outcome)
                    self._budget.count(call, replayed=False)
                    # Inside the slot: when a write takes long, no more calls are paid than can be lost at once.
                    await self._writer.add(call)
                    return call, body, began
        if fits is False:
            exchange.leave(f"budget: {self._budget.usage.capped}")
        else:
            await self._budget.changed()
        return None, body, began

    async def _send(self, exchange: Exchange[Any], body: dict[str, Any]) -> Answer | Trouble:
        # More time after each time-out: a slow server would meet the same end again and again.
        patience = self._settings.timeout_seconds * 2 ** exchange.troubles.count("timeout")
        limit = min(patience, max(self._pace.left, 0.0))
        try:
            async with asyncio.timeout(limit):  # on the clock, for servers that drip a byte now and then
                answer = await self._endpoint.send(self._client, body)
        except TimeoutError:
            return Trouble("timeout", f"no whole reply within {limit:.0f} s")
        except Trouble as trouble:
            return trouble
        self._pace.succeeded()
        return answer

    def _body(self, exchange: Exchange[Any]) -> dict[str, Any]:
        # A seed of its own for each request: repeatable where the server can, and different where the salt differs.
        seed = int(exchange.key[:7], 16) if exchange.request.temperature else 0
        return self._dialect.body(exchange, seed)

    def _call(self, exchange: Exchange[Any], body: dict[str, Any], answer: Answer) -> Call:
        asked = "".join(m["content"] for m in body["messages"])
        self._prompts.counted(asked, answer.input_tokens)
        return Call(
            key=exchange.key,
            name=exchange.request.key,
            model=self._settings.model,
            time=now(),
            text=answer.text,
            finish=answer.finish,
            input_tokens=token_count(asked) if answer.input_tokens is None else answer.input_tokens,
            output_tokens=token_count(answer.reasoning + answer.text) if answer.output_tokens is None else answer.output_tokens,
            cached_input_tokens=answer.cached_tokens,
            reasoning="" if answer.text.strip() else answer.reasoning,
        )

    def _consider(self, exchange: Exchange[Any], trouble: Trouble, tries: int, others_succeed: bool) -> None:
        """Decide whether a request that met trouble is tried again. Raises GaveUp for an address where nobody ever was."""
        self.last_trouble = str(trouble)
        if trouble.kind == "refused":
            exchange.refuse(str(trouble))
        elif tries >= ALONE_TRIES and others_succeed and trouble.status not in OVERLOADED:
            exchange.troubles.append(trouble.kind)
            exchange.fail(f"failed {tries} times while others went through; the last: {trouble}")
        elif trouble.unreachable and not self.successes and time.monotonic() - self._began > UNREACHABLE_SECONDS:
            raise GaveUp("cannot be reached; start the server or correct base_url")
        else:
            exchange.troubles.append(trouble.kind)

    async def _wait(self, trouble: Trouble, began: float, tries: int) -> None:
        self._budget.usage.retries += 1
        if trouble.status in OVERLOADED or trouble.kind == "timeout":
            self._pace.overloaded(began)
        if time.monotonic() - max(self._noticed, self._began) > NOTICE_SECONDS:
            self._noticed = time.monotonic()
            notice(f"{self._endpoint}: {trouble}; still trying, for at most {max(self._pace.left, 0):.0f} s more without a reply")
        seconds = retry_after(trouble.headers)
        if seconds is not None:
            self._pace.pause(seconds)
        else:
            await self._pace.back_off(tries - 1)
