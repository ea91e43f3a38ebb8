"""The figures of study.html as numbers: where each mark stands, and what is said of it in words.

Every place is in percent of its panel's width or height, so that marks stretch with the page and letters do not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, log10

from pada_agent.components.core.statistics import Interval

EDGE = 3.0  # percent that is left free at both ends of an axis
TICKS = 5  # steps between the ends of an axis, at most


@dataclass(frozen=True)
class Axis:
    """From `low` to `high` over the width or the height of a panel."""

    low: float
    high: float

    @classmethod
    def over(cls, values: Iterable[float]) -> "Axis":
        """One that has all values and 0."""
        values = [0.0, *values]
        low, high = min(values), max(values)
        return cls(low, high if high > low else low + 1)

    def at(self, value: float) -> float:
        """Where a value stands."""
        return EDGE + (100 - 2 * EDGE) * (value - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> list[float]:
        """Round numbers within it, 0 among them."""
        rough = (self.high - self.low) / TICKS
        power: float = 10 ** floor(log10(rough))
        step = next(power * n for n in (1, 2, 2.5, 5, 10) if power * n >= rough)
        return [step * i for i in range(ceil(self.low / step), floor(self.high / step) + 1)]


@dataclass(frozen=True)
class Tick:
    """A line across a panel, with what stands at its end."""

    at: float
    text: str
    zero: bool = False


@dataclass(frozen=True)
class Bar:
    """A part of a mark: `kind` is its class in study.css."""

    kind: str
    start: float
    width: float


@dataclass(frozen=True)
class Mark:
    """What a line has in one column: a dot in its interval, or bars. `alt` says all of it; `told` is printed below."""

    alt: str
    value: str
    dot: float | None = None
    hollow: bool = False
    interval: tuple[float, float] | None = None
    bars: Sequence[Bar] = ()
    told: str = ""


@dataclass(frozen=True)
class Series:
    """A line of a panel; None where there is nothing to show. `first`: of the method that the study is about."""

    name: str
    marks: Sequence[Mark | None]
    first: bool = False
    note: str = ""


@dataclass(frozen=True)
class Panel:
    """Lines by columns, all on one scale."""

    title: str
    columns: Sequence[str]
    series: Sequence[Series]
    ticks: Sequence[Tick] = ()
    note: str = ""


@dataclass(frozen=True)
class Point:
    """A method in a scatter plot; its name stands at `slot`, percent from the top as `y` is."""

    name: str
    value: str
    x: float
    y: float
    interval: tuple[float, float]
    slot: float
    first: bool
    hollow: bool


@dataclass(frozen=True)
class Scatter:
    """Points by two axes; `unit` of the one across, `height` in rem."""

    title: str
    alt: str
    points: Sequence[Point]
    across: Sequence[Tick]
    up: Sequence[Tick]
    unit: str
    height: float


@dataclass(frozen=True)
class Figure:
    """`keys`: kind of a bar -> what it means."""

    caption: str
    panels: Sequence[Panel] = ()
    scatters: Sequence[Scatter] = ()
    keys: dict[str, str] = field(default_factory=dict)


def dot(axis: Axis, found: Interval, alt: str, value: str, hollow: bool) -> Mark:
    """A dot in its interval."""
    return Mark(alt, value, axis.at(found.mean), hollow, (axis.at(found.low), axis.at(found.high)))


def stacked(axis: Axis, parts: Iterable[tuple[str, float]]) -> list[Bar]:
    """Bars one behind the other, from 0 on; those of no length are left out."""
    bars, sum_ = [], 0.0
    for kind, length in parts:
        if length:
            bars.append(Bar(kind, axis.at(sum_), axis.at(sum_ + length) - axis.at(sum_)))
        sum_ += length
    return bars


def slots(wanted: Sequence[float], gap: float) -> list[float]:
    """Places as near to the wanted ones as they can be with `gap` between them, within 0 to 100 if they fit there."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed: dict[int, float] = {}
    last = gap / 2 - gap
    for i in order:
        last = placed[i] = max(wanted[i], last + gap)
    limit = 100 - gap / 2
    for i in reversed(order):
        limit = placed[i] = min(placed[i], limit)
        limit -= gap
    return [placed[i] for i in range(len(wanted))]
