"""What changed from model to model: validation rows that were fixed or broken, and patterns that stayed or went."""

from itertools import pairwise

from pada_agent.components.core.records import Pattern
from pada_agent.components.core.report.facts import Cell, Changes, Line, Step
from pada_agent.components.core.state import IterationRecord, State

ANALYSED_SPLIT = "validation"


def changes(state: State) -> Changes:
    """`steps`: rows right and wrong from each analysed model to the next. `lines`: each pattern through the iterations."""
    analysed = [m for m in state.models if m.kind in ("start", "candidate") and ANALYSED_SPLIT in m.outcomes]
    steps = []
    for before, after in pairwise(analysed):
        old, new = before.outcomes[ANALYSED_SPLIT], after.outcomes[ANALYSED_SPLIT]
        pairs = [(old[row], new[row]) for row in old]
        counts = {"right": (True, True), "fixed": (False, True), "broken": (True, False), "wrong": (False, False)}
        steps.append(Step(of=before.name, to=after.name, n=len(pairs), **{k: pairs.count(v) for k, v in counts.items()}))
    return Changes(steps=steps, lines=_lines(state))


def _lines(state: State) -> list[Line]:
    """Patterns of later iterations stand in the line of the one they continue; a gap is None."""
    lines: list[Line] = []
    tips: dict[str, Line] = {}
    for number, record in enumerate(state.iterations):
        now: dict[str, Line] = {}
        for pattern in record.patterns:
            line = tips.pop(pattern.previous_id, None)
            if line is None:
                line = Line(name=pattern.name, cells=[None] * len(state.iterations))
                lines.append(line)
            line.cells[number] = _cell(record, pattern)
            now[pattern.id] = line
        tips = now
    return lines


def _cell(record: IterationRecord, pattern: Pattern) -> Cell:
    progress = record.progress.get(pattern.id)
    return Cell(
        id=pattern.id,
        name=pattern.name,
        size=pattern.size,
        rows=len(pattern.row_ids),
        trend=progress.trend if progress else "new",
        failing=progress.failing if progress else None,
        outcome=progress.outcome if progress else None,
    )
