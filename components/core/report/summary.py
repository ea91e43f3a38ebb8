"""A run in a handful of numbers: for whoever compares runs, and for the line that a log ends with."""

from pada_agent.components.core.figures import p_value, percent, points
from pada_agent.components.core.report.facts import Comparison, Facts, ModelFacts

NAMES = {"untuned": "untuned", "start": "vanilla", "step_matched": "step-matched"}


def summary(facts: Facts) -> dict[str, float]:
    """Numbers by what a reader of a table needs to hear; accuracies, mean scores and the shipped model's gain are shares, 0 to 1.

    Numbers only: the metrics of a Kubeflow without ML Metadata take nothing else.
    """
    numbers: dict[str, float] = {f"{_measure(facts)}: {name}": round(share, 4) for name, share in _reached(facts).items()}
    if over := _gain(facts):
        gain = f"gain over {over.to}"
        numbers |= {gain: round(over.difference, 4), f"{gain}: from": round(over.low, 4), f"{gain}: to": round(over.high, 4)}
    return numbers | {
        "iterations": len(facts.iterations),
        "synthetic rows": sum(i.accepted for i in facts.iterations),
        "LLM cost in USD": round(facts.usage.total.usd, 4),
    }


def worded(facts: Facts) -> dict[str, int | float | str]:
    """The same as a person reads it in a line, by words (`figures.listed`)."""
    shown = ", ".join(f"{name} {percent(share)}" for name, share in _reached(facts).items())
    said: dict[str, int | float | str] = {_measure(facts): f"{shown} ({facts.shipped})"} if shown else {}
    if over := _gain(facts):
        interval = f"{points(over.low)} to {points(over.high)}"
        said[f"gain over {over.to}"] = f"{points(over.difference)} points ({interval}, p\u00a0{p_value(over.p)})"
    rows = sum(i.accepted for i in facts.iterations)
    return {**said, "iterations": len(facts.iterations), "synthetic rows": rows, "USD": facts.usage.total.usd}


def _measure(facts: Facts) -> str:
    """'test accuracy', or 'test mean score' of a graded task."""
    return f"test {next((m.test.measure for m in facts.models if m.test), 'accuracy')}"


def _reached(facts: Facts) -> dict[str, float]:
    found = {NAMES[m.kind]: m.test.main.mean for m in facts.models if m.kind in NAMES and m.test}
    shipped = _shipped(facts)
    return found | ({"shipped": shipped.test.main.mean} if shipped and shipped.test else {})


def _gain(facts: Facts) -> Comparison | None:
    """Of an iteration that is shipped: a start that is shipped gained nothing."""
    shipped = _shipped(facts)
    return shipped.over_baseline if shipped and shipped.kind == "candidate" else None


def _shipped(facts: Facts) -> ModelFacts | None:
    return next((m for m in facts.models if m.shipped), None)
