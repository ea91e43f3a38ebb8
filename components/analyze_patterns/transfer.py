"""Patterns that another run found, offered to this one: screened and grounded here anew, and the teacher is asked nothing.

Names, descriptions and strategies cross, no row does. Features (such as HAVING) are a task's own: they stay where both runs have
the same task. Iteration n takes what iteration n of the other run found, or its last patterns where it had fewer iterations.
"""

from collections.abc import Sequence

from pada_agent.components.analyze_patterns.analyze import Findings, Tools, continued, plain_name, plain_strategy, strategy_of
from pada_agent.components.analyze_patterns.grounding import SeedRanking
from pada_agent.components.analyze_patterns.teacher import PatternName
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Pattern, Strategy, TrainRow
from pada_agent.components.core.settings import AnalyzeSettings
from pada_agent.components.core.state import State
from pada_agent.components.core.tasks.task import Task

Offer = tuple[Pattern, Strategy]


def transfer(
    task: Task,
    other: State,
    train: Sequence[TrainRow],
    settings: AnalyzeSettings,
    tools: Tools,
    iteration: int,
    previous: Sequence[Pattern] = (),
) -> Findings:
    """What iteration `iteration` takes from the run of `other`, which `settings.patterns_from` names. Asks no LLM.

    A text that the screen strikes is replaced by a plain one made of its features, and without features the pattern is dropped;
    the summary counts both. Raises InputError if that run has no patterns.
    """
    number, offers = _offered(other, settings.patterns_from, iteration)
    same_task = other.run.task == task.name
    findings = Findings()
    struck = 0
    seeds = SeedRanking(task, train, tools.embed)
    centres = tools.embed([_said(pattern) for pattern, _ in offers])
    for i, ((pattern, strategy), centre) in enumerate(zip(offers, centres, strict=True), 1):
        features = strategy.features if same_task else []
        named: PatternName | None = PatternName(category_name=pattern.name, pattern=pattern.description)
        text = strategy.text
        if any(map(tools.screen, (pattern.name, pattern.description))):
            struck, named = struck + 1, plain_name(features)
        if tools.screen(text):
            struck, text = struck + 1, plain_strategy(features)
        if named is None or not text:
            continue
        taken = Pattern(id=f"it{iteration}-p{i}", name=named.category_name, description=named.pattern, size=0, row_ids=[])
        findings.patterns.append(taken)
        nearest = seeds.nearest(features, centre)[: settings.seeds]
        findings.strategies.append(strategy_of(taken, text, features, nearest))
    origin = {"run": settings.patterns_from, "task": other.run.task, "slm": other.run.slm, "iteration": number}
    dropped = len(offers) - len(findings.patterns)
    findings.summary = {"analysed": 0, "taken_from": origin, "struck": struck, "redrafted": 0, "dropped": dropped}
    findings.patterns = continued(findings.patterns, previous, tools)
    return findings


def _offered(other: State, address: str, iteration: int) -> tuple[int, list[Offer]]:
    """The number of the other run's iteration, and its patterns each with the strategy against it."""
    found = []
    for record in other.iterations:
        patterns = {p.id: p for p in record.patterns}
        if offers := [(patterns[s.pattern_id], s) for s in record.strategies if s.pattern_id in patterns]:
            found.append((record.number, offers))
    if not found:
        raise InputError(
            f"analyze.patterns_from: the run at {address} has no patterns (task {other.run.task}, method {other.run.method}, "
            f"{len(other.iterations)} iterations so far); name one that has found some, and not where this run exports to"
        )
    return found[min(iteration, len(found)) - 1]


def _said(pattern: Pattern) -> str:
    return f"{pattern.name}: {pattern.description}"
