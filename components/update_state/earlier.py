"""What became of the patterns that an earlier run found: its failing validation rows, looked up among those of this run.

A row is known by its content, since data that grew may number its rows anew. Nothing of the earlier run is trained on.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence

from pada_agent.components.core.patterns.pattern_rules import trend
from pada_agent.components.core.records import Prediction
from pada_agent.components.core.state import Earlier, EarlierPattern, State

PRINT = 16  # hex digits


def prints(rows: Sequence[Prediction]) -> dict[str, str]:
    """By row id, a hash of what the row says."""
    texts = {row.id: json.dumps([row.fields or row.prompt, row.reference], sort_keys=True) for row in rows}
    return {row: hashlib.sha256(text.encode()).hexdigest()[:PRINT] for row, text in texts.items()}


def look_up(earlier: State, uri: str, state: State) -> Earlier | None:
    """The patterns that the run of `earlier` left, by what the model that `state` starts from makes of their rows.

    A stage that is started again may find at `uri` what it left there itself: then what it found the first time.
    """
    if any(m.adapter_uri == state.start.adapter_uri for m in earlier.models if m.kind == "start"):
        return earlier.earlier
    right = state.start.outcomes.get("validation", {})
    rows = {state.row_prints[row]: ok for row, ok in right.items() if row in state.row_prints}
    return Earlier(uri=uri, shipped=earlier.incumbent, patterns=[_now(pattern, rows) for pattern in _left(earlier)])


def _left(earlier: State) -> list[EarlierPattern]:
    """Those that no later pattern of the run continues, and those that it was told of itself and that were not gone."""
    continued = {p.previous_id for i in earlier.iterations for p in i.patterns}
    found = [
        EarlierPattern(
            name=p.name,
            description=p.description,
            prints=sorted({earlier.row_prints[row] for row in p.row_ids if row in earlier.row_prints}),
        )
        for i in earlier.iterations
        for p in i.patterns
        if p.id not in continued
    ]
    told = earlier.earlier.patterns if earlier.earlier else []
    seen = {row for pattern in found for row in pattern.prints}
    return [*found, *(p for p in told if p.outcome != "fixed" and not seen.issuperset(p.prints))]


def _now(pattern: EarlierPattern, right: Mapping[str, bool]) -> EarlierPattern:
    there = [right[row] for row in pattern.prints if row in right]
    failing = there.count(False)
    outcome = trend(len(there), failing) if there else None
    return pattern.model_copy(update={"rows": len(there), "failing": failing, "outcome": outcome})
