"""What changed from model to model: validation rows that were fixed or broken, and patterns that stayed or went."""

from itertools import pairwise
from typing import Any

from pada_agent.components.core.records import Pattern
from pada_agent.components.core.state import IterationRecord, State

SPLIT = "validation"


def changes(state: State) -> dict[str, Any]:
    """`steps`: rows right and wrong from each analysed model to the next. `lines`: each pattern through the iterations."""
    analysed = [m for m in state.models if m.kind in ("start", "candidate") and SPLIT in m.outcomes]
    steps = []
    for before, after in pairwise(analysed):
        old, new = before.outcomes[SPLIT], after.outcomes[SPLIT]
        pairs = [(old[row], new[row]) for row in old]
        counts = {"right": (True, True), "fixed": (False, True), "broken": (True, False), "wrong": (False, False)}
        steps.append({"of": before.name, "to": after.name, "n": len(pairs)} | {k: pairs.count(v) for k, v in counts.items()})
    return {"steps": steps, "lines": _lines(state)}


def _lines(state: State) -> list[dict[str, Any]]:
    """Patterns of later iterations stand in the line of the one they continue; a gap is None."""
    lines: list[dict[str, Any]] = []
    tips: dict[str, dict[str, Any]] = {}
    for number, record in enumerate(state.iterations):
        now: dict[str, dict[str, Any]] = {}
        for pattern in record.patterns:
            line = tips.pop(pattern.previous_id, None)
            if line is None:
                line = {"name": pattern.name, "cells": [None] * len(state.iterations)}
                lines.append(line)
            line["cells"][number] = _cell(record, pattern)
            now[pattern.id] = line
        tips = now
    return lines


def _cell(record: IterationRecord, pattern: Pattern) -> dict[str, Any]:
    progress = record.progress.get(pattern.id)
    return {
        "id": pattern.id,
        "name": pattern.name,
        "size": pattern.size,
        "rows": len(pattern.row_ids),
        "trend": progress.trend if progress else "new",
        "failing": progress.failing if progress else None,
        "outcome": progress.outcome if progress else None,
    }
