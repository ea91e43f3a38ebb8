"""Patterns and strategies from predictions, and nothing else: no splits, no training."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any

from pada_agent.components.backends.artifacts.plan import read_plan
from pada_agent.components.backends.artifacts.predictions import known_rows, read_predictions
from pada_agent.components.backends.artifacts.task_files import open_task
from pada_agent.components.backends.artifacts.unsplit_rows import write_unsplit
from pada_agent.components.backends.files import write_atomic
from pada_agent.components.backends.progress import notice
from pada_agent.components.backends.record_files import read_json, read_records, write_json, write_records
from pada_agent.components.core.cost.budget import Usage
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.foreign.read import ANALYSED_SPLITS
from pada_agent.components.core.records import Analysis, Pattern, Prediction, Strategy
from pada_agent.components.core.settings import Settings
from pada_agent.components.core.tasks.task import Task
from pada_agent.pipelines.alone.config import Config, default_folder, is_whole, read_partial
from pada_agent.pipelines.alone.page import render
from pada_agent.pipelines.alone.workplace import Workplace, as_library

RESULT, PAGE = "analysis.json", "report.html"


@dataclass(frozen=True)
class FailureAnalysis:
    """What a model cannot do, and what to write against it. `folder` holds it as files: analysis.json, report.html, plan/.

    `summary` counts failures, those analysed, and whether the failures fall into groups at all (`structure`).
    """

    folder: Path
    settings: Settings = field(repr=False)
    predictions: Sequence[Prediction] = field(repr=False)
    patterns: Sequence[Pattern]
    strategies: Sequence[Strategy]
    analyses: Sequence[Analysis] = field(repr=False)
    summary: dict[str, Any]
    usage: Usage

    @property
    def report(self) -> Path:
        """The page, one HTML file."""
        return self.folder / PAGE

    @property
    def train_data(self) -> Path:
        """The training rows that strategies name as seeds, as a stage reads them."""
        return self.folder / "prepare" / "train_data"

    def table(self) -> list[dict[str, Any]]:
        """A row for each pattern, as pandas.DataFrame takes them; `share` is of the failures analysed, 0 to 1."""
        analysed = max(int(self.summary.get("analysed", 0)), 1)
        strategy = {s.pattern_id: s.text for s in self.strategies}
        return [
            {
                "pattern": p.name,
                "failures": p.size,
                "share": round(p.size / analysed, 3),
                "description": p.description,
                "strategy": strategy.get(p.id, ""),
            }
            for p in self.patterns
        ]

    def _repr_html_(self) -> str:
        """The table, for notebooks."""
        rows = self.table()
        head = "".join(f"<th>{escape(name)}</th>" for name in (rows[0] if rows else {"no patterns": ""}))
        cells = ("".join(f"<td>{escape(str(value))}</td>" for value in row.values()) for row in rows)
        return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def analyze(
    predictions: str | Path, config: Config, *, folder: str | Path | None = None, seed: int | None = None
) -> FailureAnalysis:
    """Find out what a model cannot do, from its answers.

    Args:
        predictions: what evaluate_slm, lm-eval (`--log_samples`) or Inspect wrote, a file or their output folder; or JSONL with
            `output` and the task's fields, or with the id or prompt of a row of the task.
        config: a YAML file, or its values: `task` and `teacher` at the least.
        folder: where files and paid calls are kept; default: runs/<name of the config>-analysis.
        seed: in place of the config's.

    Raises:
        PadaError: with what is wrong and what to do; InputError for predictions or config, EndpointError for the teacher.
    """
    with as_library():
        return find_patterns(Path(predictions), config, Path(folder or default_folder(config)), seed)


def find_patterns(file: Path, config: Config, folder: Path, seed: int | None = None) -> FailureAnalysis:
    """As `analyze`, for a program: one that is asked to end gets SystemExit."""
    place = Workplace(folder.resolve(), read_partial(config, seed))
    with place.open():
        return _analyze(file, place)


def _analyze(file: Path, place: Workplace) -> FailureAnalysis:
    settings = place.settings
    task = open_task(settings.task, settings.prompts)
    train = list(known_rows(task, "train", settings.task.train)) if settings.task.train else []
    validation = known_rows(task, "validation", settings.task.validation) if settings.task.validation else ()
    answers = read_predictions(file, task, chain(train, validation))
    ours = place.fresh("predictions")
    for split in ANALYSED_SPLITS:
        write_records(ours / f"{split}.jsonl", (p for p in answers if p.split == split))
    if is_whole(settings):
        place.run("prepare", "prepare_data", {})
    elif left := write_unsplit(place.fresh("prepare") / "train_data", task, train, answers, settings):
        notice(f"task.train: {left} rows are among the predictions, which are held out, and are left out")
    if not train:
        notice("task.train is not given: texts on patterns may quote the rows analysed, so nothing can be written from them")
    inputs = {"predictions": ours, "train_data": place.folder / "prepare" / "train_data"}
    made = place.run("analyze", "analyze_patterns", inputs)
    return _publish(_read(place, made, answers), task, file)


def _read(place: Workplace, made: Path, answers: Sequence[Prediction]) -> FailureAnalysis:
    strategies, _, _ = read_plan(made / "plan")
    usage = read_json(made / "analyses" / "usage.json")["analyze_patterns"]
    return FailureAnalysis(
        folder=place.folder,
        settings=place.settings,
        predictions=answers,
        patterns=read_records(made / "analyses" / "patterns.jsonl", Pattern),
        strategies=strategies,
        analyses=read_records(made / "analyses" / "analyses.jsonl", Analysis),
        summary=read_json(made / "analyses" / "summary.json"),
        usage=Usage.model_validate(usage),
    )


def _publish(found: FailureAnalysis, task: Task, file: Path) -> FailureAnalysis:
    """Write analysis.json and the page."""
    strategies = {s.pattern_id: s.model_dump(mode="json") for s in found.strategies}
    patterns = [{**p.model_dump(mode="json"), "strategy": strategies.get(p.id)} for p in found.patterns]
    facts = {"task": task.name, "predictions": str(file), "answers": len(found.predictions), **found.summary}
    write_json(found.folder / RESULT, {**facts, "patterns": patterns, "usage": found.usage.model_dump(mode="json")})
    write_atomic(found.folder / PAGE, render(task, found.predictions, found.patterns, found.strategies, found.analyses, facts))
    return found


def check_screened(found: FailureAnalysis) -> None:
    """Raises InputError where strategies may quote held-out rows: there were no training rows to tell by."""
    if found.summary.get("unscreened"):
        raise InputError(
            "these strategies may quote the rows that were analysed; name task.train in the config and analyse again"
        )
