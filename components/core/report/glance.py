"""What a newcomer asks first, each answered in one line that links to the section with the rest."""

from pada_agent.components.core.figures import count, duration, p_value, percent, plural, points
from pada_agent.components.core.report.facts import Glance, Measured, ModelFacts


def glance(facts: Measured) -> list[Glance]:
    """`question`, `answer`, `note` and the `section` they are about, '' where the page has none yet."""
    answers = [("Did it help?", "result", *_helped(facts)), ("How sure is that?", "notes", *_sure(facts))]
    if facts.iterations:
        answers += [
            ("What did it not understand?", "changes", *_misunderstood(facts)),
            ("What was done about it?", "samples" if any(i.written for i in facts.iterations) else "", *_done(facts)),
        ]
    answers.append(("What did it cost?", "cost" if facts.usage.stages else "", *_cost(facts)))
    return [Glance(question=q, section=s, answer=a, note=n) for q, s, a, n in answers]


def _latest(facts: Measured) -> ModelFacts | None:
    """The shipped iteration, else the last one."""
    candidates = [m for m in facts.models if m.kind == "candidate" and m.test]
    return next((m for m in candidates if m.shipped), candidates[-1] if candidates else None)


def _helped(facts: Measured) -> tuple[str, str]:
    start = next((m for m in facts.models if m.kind == "start" and m.test), None)
    latest = _latest(facts)
    if start is None or start.test is None:
        return "–", "no model has been evaluated yet"
    before = percent(start.test.accuracy)
    if latest is None or latest.test is None:
        return before, f"of the test rows, by {start.label.lower()}; no iteration yet"
    return (
        f"{before} → {percent(latest.test.accuracy)}",
        f"of the test rows, {start.label.lower()} to {latest.label.lower()}",
    )


def _sure(facts: Measured) -> tuple[str, str]:
    latest = _latest(facts)
    over = latest and (latest.over_baseline or latest.over_start)
    if not over:
        return "–", "nothing to compare yet"
    against = next(m.label.lower() for m in facts.models if m.name == over.to)
    chance = "it may be chance" if over.p >= facts.run.alpha else "unlikely to be chance"
    return f"{points(over.low)} to {points(over.high)}", f"points over {against}; p\u00a0{p_value(over.p)}: {chance}"


def _misunderstood(facts: Measured) -> tuple[str, str]:
    first, steps = facts.iterations[0], facts.changes.steps
    patterns = plural(sum(len(i.patterns) for i in facts.iterations), "pattern")
    failures = first.summary.get("failures", 0)
    if all(i.summary.get("taken_from") for i in facts.iterations):
        return patterns, f"taken from another run, for {plural(failures, 'validation failure')}"
    if not steps:
        return patterns, f"in {plural(failures, 'validation failure')}"
    left = steps[-1].wrong + steps[-1].broken
    return patterns, f"behind {plural(failures, 'validation failure')}; {count(left)} are left after the last iteration"


def _done(facts: Measured) -> tuple[str, str]:
    accepted, written = sum(i.accepted for i in facts.iterations), sum(i.written for i in facts.iterations)
    rounds = plural(len(facts.iterations), "iteration")
    return plural(accepted, "row"), f"let in of {count(written)} written by the teacher, in {rounds}"


def _cost(facts: Measured) -> tuple[str, str]:
    usage = facts.usage
    calls = plural(usage.total.calls, "LLM call")
    hours = duration(usage.train_seconds + usage.evaluate_seconds)
    return f"{usage.total.usd:.2f} USD", f"{calls}; {hours} of training and evaluation"
