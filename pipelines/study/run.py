"""`pada study`: one run for each seed, and what their mean says. Started again it goes on where it stopped.

The table of three seeds:

    | model | mean | SD | seed 0 | seed 1 | seed 2 |
    |---|---|---|---|---|---|
    | vanilla | 70.1 % | 1.3 | 69.0 % | 70.0 % | 71.5 % |

A difference is given with its interval from a hierarchical bootstrap over seeds and test rows: the seeds share the rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from pydantic import BaseModel

from pada_agent.components.backends.files import write_atomic
from pada_agent.components.backends.record_files import read_records
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Prediction
from pada_agent.components.core.settings import Settings
from pada_agent.components.core.state import State
from pada_agent.components.core.statistics import Interval, hierarchical_bootstrap
from pada_agent.pipelines.local import run as local
from pada_agent.pipelines.local.log import RunLog
from pada_agent.pipelines.local.run import Outcome
from pada_agent.pipelines.study.side_by_side import run_side_by_side

MODELS = ("untuned", "vanilla", "step-matched vanilla", "PaDA, last iteration", "PaDA, shipped")
PADA = MODELS[3:]
BASELINE = "step-matched vanilla"
Answers = dict[str, bool]


@dataclass(frozen=True)
class SeedResult:
    """One seed's run: for each model its test rows (id -> correct), and the rows' groups."""

    seed: int
    answers: dict[str, Answers]
    groups: dict[str, str]
    note: str = ""


class Study(BaseModel):
    """What study.json holds. Accuracies are shares, one for each seed; differences are shares too."""

    seeds: list[int]
    rows_compared: int
    confidence: float
    accuracy: dict[str, list[float]]
    differences: dict[str, Interval]
    notes: list[str]


def parse_seeds(text: str) -> list[int]:
    """Seeds from `0,1,2`. Raises InputError."""
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError as e:
        raise InputError(f"--seeds {text}: give whole numbers separated by commas, e.g. 0,1,2") from e
    if len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise InputError(f"--seeds {text}: every seed must occur once and not be negative")
    return seeds


def conduct(
    settings: Settings,
    seeds: Sequence[int],
    out: Path,
    start: Callable[[Settings, Path], Outcome] = local.run,
    log: RunLog | None = None,
    jobs: int = 1,
) -> str:
    """Run every seed under `out`, `jobs` at a time, write study.json and study.md there, and print and return the latter."""
    log = log or RunLog()
    runs = {seed: (settings.model_copy(update={"seed": seed, "step_matched": True}), out / f"seed-{seed}") for seed in seeds}
    if jobs > 1:
        run_side_by_side(list(runs.values()), jobs, start, log.say)
    results = []
    for number, (seed, (own, folder)) in enumerate(runs.items(), 1):
        log.say(f"seed {seed} ({number} of {len(seeds)})")
        results.append(_result(seed, start(own, folder)))
    facts = compare(results, settings.evaluate.confidence)
    text = table(facts)
    write_atomic(out / "study.json", facts.model_dump_json(indent=1))
    write_atomic(out / "study.md", text)
    log.say(text)
    return text


def _result(seed: int, outcome: Outcome) -> SeedResult:
    """What the models of one run answered to the test rows."""
    tuned = [name for name in outcome.tasks if name.startswith("evaluate-") and name.rpartition("-")[2].isdigit()]
    last = tuned[-1] if tuned else "evaluate-vanilla"
    baseline = "evaluate-step-matched" if tuned else "evaluate-vanilla"
    assert outcome.state, "a run of a study goes to its end"
    state = State.load(outcome.state)
    shipped = f"evaluate-{state.incumbent.removeprefix('iteration-')}"
    tasks = ("evaluate-untuned", "evaluate-vanilla", baseline, last, shipped)
    answers, groups = {}, {}
    for model, task in zip(MODELS, tasks, strict=True):
        rows = read_records(outcome.tasks[task]["report_predictions"] / "test.jsonl", Prediction)
        answers[model] = {row.id: row.score.correct for row in rows}
        groups.update({row.id: row.group for row in rows})
    note = "" if tuned else f"no iteration was trained ({state.decision.reason}); vanilla stands in for PaDA"
    return SeedResult(seed, answers, groups, note)


def compare(results: Sequence[SeedResult], confidence: float) -> Study:
    """The study's facts. Raises InputError when the seeds have no test row in common."""
    shared = sorted(set.intersection(*(set(r.answers[m]) for r in results for m in MODELS)))
    if not shared:
        raise InputError("the seeds were tested on different rows; set task.test_size to 0 so that all share the test set")
    groups = {row: results[0].groups[row] for row in shared}

    def difference(model: str) -> Interval:
        by_seed = [{i: float(r.answers[model][i]) - float(r.answers[BASELINE][i]) for i in shared} for r in results]
        return hierarchical_bootstrap(by_seed, groups, confidence)

    return Study(
        seeds=[r.seed for r in results],
        rows_compared=len(shared),
        confidence=confidence,
        accuracy={m: [fmean(r.answers[m].values()) for r in results] for m in MODELS},
        differences={f"{m} minus {BASELINE}": difference(m) for m in PADA},
        notes=[f"seed {r.seed}: {r.note}" for r in results if r.note],
    )


def table(study: Study) -> str:
    """The study in Markdown."""
    lines = [
        "| model | mean | SD | " + " | ".join(f"seed {seed}" for seed in study.seeds) + " |",
        "|---|---|---|" + "---|" * len(study.seeds),
    ]
    for model, shares in study.accuracy.items():
        spread = f"{100 * stdev(shares):.1f}" if len(shares) > 1 else "-"
        each = " | ".join(f"{100 * share:.1f} %" for share in shares)
        lines.append(f"| {model} | {100 * fmean(shares):.1f} % | {spread} | {each} |")
    lines.append("")
    for name, found in study.differences.items():
        interval = f"{100 * found.low:+.1f} to {100 * found.high:+.1f}"
        lines.append(f"{name}: {100 * found.mean:+.1f} points ({100 * study.confidence:.0f} % interval {interval})")
    lines.append(f"{study.rows_compared} test rows, {len(study.seeds)} seeds; intervals by bootstrap over both.")
    return "\n".join([*lines, *study.notes]) + "\n"
