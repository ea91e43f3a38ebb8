"""The state of a small run that is over, and its small report, for tests of what is said of one."""

from pathlib import Path
from typing import Any

from pada_agent.components.backends.store.objects import write
from pada_agent.components.core.records import Prediction, Score
from pada_agent.components.core.state import Decision, IterationRecord, Kind, ModelRecord, RunFacts, State
from pada_agent.components.core.statistics import summarise

RUN: dict[str, Any] = {
    "task": "gsm8k",
    "slm": "slm",
    "teacher": "t",
    "judge": "j",
    "seed": 0,
    "iterations": 1,
    "patience": 2,
    "alpha": 0.05,
    "confidence": 0.95,
    "threshold": 7,
    "share": 0.5,
    "scope": "total",
    "step_matched": True,
}


def model(name: str, kind: Kind, right: int, iteration: int = 0) -> ModelRecord:
    """A model that answers `right` of a hundred rows."""
    outcomes = {f"row-{i}": i < right for i in range(100)}
    rows = [
        Prediction(id=i, split="test", prompt="", output="", reference="", score=Score(correct=ok, valid=True))
        for i, ok in outcomes.items()
    ]
    return ModelRecord(
        name=name,
        kind=kind,
        iteration=iteration,
        metrics={"test": summarise(rows), "selection": summarise(rows)},
        outcomes={"test": outcomes, "selection": outcomes},
    )


def finished() -> State:
    """After one iteration, whose adapter is shipped."""
    return State(
        run=RunFacts(**RUN),
        models=[
            model("untuned", "untuned", 10),
            model("vanilla", "start", 60),
            model("iteration-1", "candidate", 80, 1),
            model("step-matched", "step_matched", 65),
        ],
        iterations=[IterationRecord(number=1, model="iteration-1")],
        incumbent="iteration-1",
        decision=Decision(go_on=False, reason="all 1 iterations are done"),
    )


def without_new_data() -> State:
    """Like it, but no row was let in, so that it ships its start."""
    nothing = IterationRecord(number=1, wanted=12)
    over = Decision(go_on=False, reason="no row was let in: the cap budget.calls: 5 is reached")
    models = [one for one in finished().models if one.kind in {"untuned", "start"}]
    return finished().model_copy(update={"models": models, "iterations": [nothing], "decision": over, "incumbent": "vanilla"})


def keep(state: State, place: Path | str) -> None:
    """As update_state leaves it at `events_uri`/RUN, a folder or a URI."""
    write(f"{place}/report.html", b"<p>the report")
    write(f"{place}/state.json", state.model_dump_json().encode())
