"""How shares are written in a study's tables."""

from pada_agent.components.core.statistics import Interval


def percent(share: float) -> str:
    """0.624 is '62.4'; the unit is in the head of the table."""
    return f"{100 * share:.1f}"


def points(share: float) -> str:
    """A difference: 0.006 is '+0.6'."""
    return f"{100 * share:+.1f}"


def ends(found: Interval) -> str:
    """'-3.2 to +4.4'."""
    return f"{points(found.low)} to {points(found.high)}"


def gain(found: Interval) -> str:
    """'+0.6; -3.2 to +4.4'."""
    return f"{points(found.mean)}; {ends(found)}"
