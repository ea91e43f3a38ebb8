"""What was spent on LLMs, and the caps on it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from pada_agent.components.core.settings import CAPS, BudgetSettings, Caps, LlmSettings


class Usage(BaseModel):
    """Calls, tokens and money. `a + b` adds them up, so `sum(usages, Usage())` is the total."""

    model_config = ConfigDict(extra="forbid")

    calls: int = Field(default=0, description="replies used, paid now or replayed from the ledger")
    paid_calls: int = Field(default=0, description="of those, paid in this process")
    replayed: int = Field(default=0, description="of those, found in the ledger")
    input_tokens: int = Field(default=0, description="of all calls, including replayed ones: they were paid once")
    cached_input_tokens: int = Field(default=0, description="of the input tokens, those the endpoint had cached")
    output_tokens: int = 0
    usd: float = Field(default=0.0, description="at the settings' prices, of all calls")
    retries: int = Field(default=0, description="requests sent again after trouble on the way")
    recovered: dict[str, int] = Field(default_factory=dict, description="kind of trouble -> replies mended or asked for again")
    failed: int = Field(default=0, description="requests that ended without a value, caps aside")
    unrecovered: dict[str, int] = Field(default_factory=dict, description="kind of trouble -> how often those met it")
    silences: int = Field(default=0, description="times the endpoint gave no reply for so long that the run stopped")
    unasked: int = Field(default=0, description="requests not asked because a cap was reached")
    capped: str = Field(default="", description="the cap that was reached, '' if none")

    def __add__(self, other: "Usage") -> "Usage":
        """The sum; of two caps the first that was reached is kept."""
        by_kind = ("recovered", "unrecovered")
        counts = {
            name: getattr(self, name) + getattr(other, name)
            for name in type(self).model_fields
            if name not in {*by_kind, "capped"}
        }
        kinds = {name: _added(getattr(self, name), getattr(other, name)) for name in by_kind}
        return Usage(**counts, **kinds, capped=self.capped or other.capped)

    @property
    def tokens(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens


class Cost(NamedTuple):
    """The amounts that caps limit."""

    calls: int
    tokens: int
    usd: float


@dataclass(frozen=True)
class Limit:
    """Caps, what they are called, and what was spent under them before."""

    name: str
    caps: Caps
    spent: Usage

    def exceeded(self, more: Cost) -> str:
        """The cap that would be exceeded if `more` were spent too, '' if none."""
        for name in CAPS:
            cap = getattr(self.caps, name)
            if cap and getattr(self.spent, name) + getattr(more, name) > cap:
                return f"{self.name}.{name}: {cap:g}"
        return ""

    @property
    def reached(self) -> str:
        """The cap that is used up, and what was spent of it; '' if none."""
        for name in CAPS:
            cap, amount = getattr(self.caps, name), getattr(self.spent, name)
            if cap and amount >= cap:
                return f"{amount:g} of {self.name}.{name}: {cap:g} is spent"
        return ""


def usd(llm: LlmSettings, input_tokens: float, output_tokens: float, batch: bool, cached: float = 0) -> float:
    """What so many tokens cost at an LLM's prices; `cached` are of the input. A `batch` has its discount on all of it."""
    usual, cheaper = llm.usd_per_million_input, llm.usd_per_million_cached_input
    read = (input_tokens - cached) * usual + cached * (usual if cheaper is None else cheaper)
    full = (read + output_tokens * llm.usd_per_million_output) / 1e6
    return full * (1 - llm.batch_discount) if batch else full


def limits(budget: BudgetSettings, spent: Mapping[str, Usage], stages: Collection[str]) -> list[Limit]:
    """The run's limit and those of `stages`; `spent` is what each stage has spent in the run so far."""
    of_stages = [(name, caps) for name, caps in budget.stages.items() if name in stages]
    return [
        Limit("budget", budget, sum(spent.values(), Usage())),
        *(Limit(f"budget.stages.{name}", caps, spent.get(name, Usage())) for name, caps in of_stages),
    ]


def by_stage(*usages: Mapping[str, Usage]) -> dict[str, Usage]:
    """The sums of usages that are kept by stage."""
    names = dict.fromkeys(name for usage in usages for name in usage)
    return {name: sum((u[name] for u in usages if name in u), Usage()) for name in names}


def _added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {kind: one.get(kind, 0) + other.get(kind, 0) for kind in sorted(one.keys() | other.keys())}
