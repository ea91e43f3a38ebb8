"""What one finished run says, as the facts of a cell."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from pada_agent.components.backends.record_files import read_json, read_records
from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.records import Prediction
from pada_agent.components.core.settings import Settings
from pada_agent.components.core.state import State
from pada_agent.components.core.statistics import grades_of, summarise
from pada_agent.components.core.tasks.registry import load_task
from pada_agent.pipelines.local.run import Outcome
from pada_agent.pipelines.loop import Finished
from pada_agent.pipelines.study.outcomes import (
    REPORTED,
    SPLITS,
    UNTUNED,
    VANILLA,
    CellFacts,
    ModelFacts,
    PatternFacts,
    Samples,
    Spent,
    TaskFacts,
    rows_of,
    verdicts,
)

Answers = dict[str, list[Prediction]]


def gather(task: str, regime: int, method: str, settings: Settings, outcome: Outcome) -> tuple[CellFacts, TaskFacts]:
    """The cell, and what it says of its task. Vanilla's has the models before the loop, a method's those from the loop on."""
    prepared = outcome.tasks["prepare"]
    names = [name.removeprefix("evaluate-") for name in outcome.tasks if name.startswith("evaluate-")]
    # Where an LLM scores answers its task has them too, with their scores.
    answers = {name: _answers(outcome.tasks.get(f"grade-{name}", outcome.tasks[f"evaluate-{name}"])) for name in names}
    before = (UNTUNED, VANILLA)
    own = [name for name in names if (name in before) == (method == VANILLA)]
    cell = CellFacts(
        task=task,
        regime=regime,
        seed=settings.seed,
        method=method,
        train_rows=prepared["train_rows"],
        models=[_model(name, answers[name], outcome.tasks, settings) for name in own],
        **(_of_the_loop(State.load(outcome.state)) if outcome.state else {}),
    )
    return cell, _task(settings, prepared, answers[VANILLA])


def _answers(evaluated: Finished) -> Answers:
    folders = [evaluated[name] for name in ("predictions", "report_predictions")]
    files = [file for split in SPLITS for folder in folders if (file := folder / f"{split}.jsonl").exists()]
    return {file.stem: read_records(file, Prediction) for file in files}


def _model(name: str, answers: Answers, tasks: Mapping[str, Finished], settings: Settings) -> ModelFacts:
    own = settings.evaluate
    metrics = {split: summarise(rows, own.confidence, own.collapse_share) for split, rows in answers.items()}
    return ModelFacts(
        name=f"iteration-{name}" if name.isdigit() else name,
        iteration=int(name) if name.isdigit() else 0,
        steps=tasks[f"train-{name}"]["steps"] if name != UNTUNED else 0,
        outcomes={split: verdicts(rows) for split, rows in answers.items()},
        grades={split: list(grades.values()) for split, rows in answers.items() if (grades := grades_of(rows))},
        collapsed=[split for split, found in metrics.items() if found.collapsed],
    )


def _task(settings: Settings, prepared: Finished, answers: Answers) -> TaskFacts:
    task = load_task(settings.task.name, settings.task.options, prepared["train_data"] / "assets")
    options = [len(task.options_of(p.fields)) for p in answers[REPORTED]]
    removed = {**_removed(prepared["train_data"]), **_removed(prepared["heldout_data"])}
    return TaskFacts(
        kind=settings.task.name,
        slm=settings.slm.model,
        metric=task.metric,
        graded=bool(grades_of(answers[REPORTED])),
        chance=sum(1 / n for n in options if n) / len(options),
        confidence=settings.evaluate.confidence,
        rows={split: rows_of(rows) for split, rows in answers.items()},
        removed={split: count for split, count in removed.items() if count},
    )


def _removed(prepared: Path) -> dict[str, int]:
    return {split: count["removed"] for split, count in read_json(prepared / "manifest.json")["splits"].items()}


def _of_the_loop(state: State) -> dict[str, object]:
    return {
        "shipped": state.incumbent,
        "ended": state.decision.reason,
        "samples": _samples(state),
        "spent": {stage: _spent(usage) for stage, usage in state.usage_by_stage.items()},
        "patterns": _patterns(state),
        "struck": sum(iteration.summary.get("struck", 0) for iteration in state.iterations),
    }


def _samples(state: State) -> Samples:
    batches = [batch for iteration in state.iterations for batch in iteration.batches]
    samples = [sample for batch in batches for sample in batch.samples]
    refills = {batch.id for batch in batches if batch.refill_of}
    return Samples(
        wanted=sum(iteration.wanted for iteration in state.iterations),
        written=len(samples),
        accepted=len(state.synthetic_rows),
        repaired=sum(r.provenance.attempt > 0 or r.provenance.batch_id in refills for r in state.synthetic_rows),
        rejected=dict(sorted(Counter(s.kind or "judge" for s in samples if s.status == "rejected").items())),
        unwritten=sum(sum(batch.unwritten.values()) for batch in batches),
    )


def _patterns(state: State) -> list[PatternFacts]:
    return [
        PatternFacts(
            iteration=iteration.number,
            name=pattern.name,
            description=pattern.description,
            strategy=next((s.text for s in iteration.strategies if s.pattern_id == pattern.id), ""),
            rows=pattern.row_ids,
        )
        for iteration in state.iterations
        for pattern in iteration.patterns
    ]


def _spent(usage: Usage) -> Spent:
    return Spent(**usage.model_dump(include=set(Spent.model_fields)))
