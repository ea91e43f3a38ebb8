"""Counts what LLM calls cost and keeps them under the caps, even when many are under way at once."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pada_agent.components.backends.llm.ledger.calls import Call
from pada_agent.components.core.cost.budget import Cost, Limit, Usage, usd
from pada_agent.components.core.settings import LlmSettings


class BudgetGuard:
    """A call is reserved at the most it may cost before it is sent, so that no cap is overshot."""

    def __init__(self, settings: LlmSettings, limits: Sequence[Limit]) -> None:
        self.usage = Usage()
        self.paid = Cost(0, 0, 0.0)  # of it, in this process
        self.paid_cached = 0  # input tokens, of it
        self._settings, self._limits = settings, limits
        self._reserved: list[Cost] = []
        self._released = asyncio.Event()
        self._counted: set[str] = set()

    def begin(self) -> None:
        """Start with no call under way; to be called in the event loop that will wait."""
        self._reserved.clear()
        self._released = asyncio.Event()

    def most(self, body: dict[str, Any], max_tokens: int) -> Cost:
        """The most a call can cost: its input taken high, with the schema and the chat template, and all its room for output."""
        asked = json.dumps([body["messages"], body.get("response_format")], ensure_ascii=False)
        size = len(asked.encode(errors="replace")) // 2 + 64
        return Cost(1, size + max_tokens, usd(self._settings, size, max_tokens, self._settings.mode == "batch"))

    def fits(self, cost: Cost) -> bool | None:
        """Whether a call may be sent now; None: not while others are on their way, ask again after `changed`."""
        if self.usage.capped:
            return False
        cap = self._cap_reached(cost)
        if not cap:
            return True
        if self._reserved:
            return None
        self.usage.capped = cap
        return False

    def fitting(self, costs: Sequence[Cost], on_their_way: Sequence[Cost]) -> int:
        """How many of these calls, from the first, may be sent together while others are on their way."""
        together = _added(Cost(0, 0, 0.0), *on_their_way)
        for number, cost in enumerate(costs):
            together = _added(together, cost)
            if self.usage.capped or self._cap_reached(together):
                return number
        return len(costs)

    @contextmanager
    def holding(self, cost: Cost) -> Iterator[None]:
        """Reserve a call's cost while it is on its way."""
        self._reserved.append(cost)
        try:
            yield
        finally:
            self._reserved.remove(cost)
            self._released.set()

    async def changed(self) -> None:
        """Wait until a reservation ends."""
        self._released.clear()
        await self._released.wait()

    def count(self, call: Call, replayed: bool) -> None:
        """Count a reply that is used. One that serves several equal requests is counted once."""
        if call.key in self._counted:
            return
        self._counted.add(call.key)
        usage = self.usage
        usage.calls += 1
        usage.replayed += replayed
        usage.paid_calls += not replayed
        usage.input_tokens += call.input_tokens
        usage.cached_input_tokens += call.cached_input_tokens
        usage.output_tokens += call.output_tokens
        money = usd(self._settings, call.input_tokens, call.output_tokens, bool(call.batch), call.cached_input_tokens)
        usage.usd += money
        if not replayed:
            self.paid_cached += call.cached_input_tokens
            self.paid = _added(self.paid, Cost(1, call.input_tokens + call.output_tokens, money))

    def met(self, kinds: Sequence[str], overcome: bool) -> None:
        """Count the trouble of a request that is over."""
        counts = self.usage.recovered if overcome else self.usage.unrecovered
        for kind in kinds:
            counts[kind] = counts.get(kind, 0) + 1

    def _cap_reached(self, cost: Cost) -> str:
        if not self._limits:
            return ""
        spent = Cost(self.usage.calls, self.usage.tokens, self.usage.usd)
        more = _added(*self._reserved, spent, cost)
        cap = next((cap for limit in self._limits if (cap := limit.exceeded(more))), "")
        return f"the cap {cap} is reached" if cap else ""


def _added(*costs: Cost) -> Cost:
    return Cost(*map(sum, zip(*costs, strict=True)))
