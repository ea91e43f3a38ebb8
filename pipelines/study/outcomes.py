"""What study.json holds: every answer's verdict, and what each cell counted. All tables are made of it alone.

    {"tasks": {"sql": {"rows": {"test": {"ids": ["test-031", ...], "groups": []}, ...}, "chance": 0.0, ...}},
     "cells": [{"task": "sql", "regime": 300, "seed": 0, "method": "pada",
                "models": [{"name": "iteration-1", "iteration": 1, "steps": 190, "outcomes": {"test": "1101x0...", ...}}, ...],
                "samples": {"wanted": 150, "accepted": 121, ...}, "spent": {"generate_data": {"calls": 34, ...}}, ...}], ...}

A verdict is one character, in the order of the task's ids: 1 right, 0 wrong, x no answer (which is wrong too). Models of a graded
task have each answer's grade beside it, by which they are compared.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pydantic import Field

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.records import Prediction, Record
from pada_agent.components.core.statistics import measure

SPLITS = ("validation", "selection", "test")
REPORTED = "test"
VANILLA, UNTUNED, STEP_MATCHED = "vanilla", "untuned", "step-matched"
RIGHT, INVALID = "1", "x"


class Rows(Record):
    """The held-out rows of a split, in the order of all verdicts."""

    ids: list[str]
    groups: list[str] = Field(default_factory=list, description="of each row; empty where every row is its own")


class TaskFacts(Record):
    """What is the same for all cells of a task."""

    kind: str = Field(default="", description="name of the task as a config has it")
    slm: str = Field(default="", description="the base model")
    metric: str = ""
    graded: bool = Field(default=False, description="scores from 0 to 1, and not right or wrong")
    chance: float = Field(default=0, description="accuracy of who guesses among a row's options; 0 where there are none")
    confidence: float = 0.95
    rows: dict[str, Rows] = Field(default_factory=dict, description="by split")
    removed: dict[str, int] = Field(
        default_factory=dict, description="by split: rows left out because a split used later has them too"
    )

    @property
    def measure(self) -> str:
        """What its models are compared by, in words."""
        return measure(self.graded)


class ModelFacts(Record):
    """One model's verdicts, by split. Of the untuned and the step-matched model there are none on validation rows."""

    name: str
    iteration: int = 0
    steps: int = Field(default=0, description="optimizer steps")
    outcomes: dict[str, str]
    grades: dict[str, list[float]] = Field(
        default_factory=dict, description="of a graded task: by split, in the order of the ids"
    )
    collapsed: list[str] = Field(default_factory=list, description="splits on which nearly all answers are one and the same")

    def scores(self, split: str = REPORTED) -> list[float]:
        """Each row's grade; of a task without any 1 for a right answer, 0 for another."""
        return self.grades.get(split) or [float(verdict == RIGHT) for verdict in self.outcomes[split]]

    def invalid(self, split: str = REPORTED) -> float:
        """Share of the rows without an answer."""
        return self.outcomes[split].count(INVALID) / len(self.outcomes[split])


class Samples(Record):
    """Synthetic rows of a cell. `repaired` are of the accepted: let in after they were sent back, or in place of such."""

    wanted: int = 0
    written: int = 0
    accepted: int = 0
    repaired: int = 0
    rejected: dict[str, int] = Field(default_factory=dict, description="by the rule that rejected them")
    unwritten: int = Field(default=0, description="asked for and never written")


class Spent(Record):
    """What one stage asked of the LLMs in a cell, each reply counted once, whenever it was paid."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0


class PatternFacts(Record):
    """A pattern that an iteration found, and what was to be written against it."""

    iteration: int
    name: str
    description: str
    strategy: str
    rows: list[str] = Field(description="validation rows whose failures it was found in")


class CellFacts(Record):
    """One run: a task at a regime, with a seed, by a method. The method `vanilla` holds the untuned model too."""

    task: str
    regime: int
    seed: int
    method: str
    train_rows: int
    models: list[ModelFacts]
    shipped: str = ""
    ended: str = Field(default="", description="why the run tried no further iteration")
    samples: Samples = Samples()
    spent: dict[str, Spent] = Field(default_factory=dict, description="by stage")
    patterns: list[PatternFacts] = Field(default_factory=list, description="of all iterations, in order")
    struck: int = Field(default=0, description="texts on patterns and strategies that quoted held-out rows and were redrafted")

    @property
    def name(self) -> str:
        """How the cell is called, and its folder below the study's."""
        return cell_name(self.task, self.regime, self.seed, self.method)

    @property
    def iterations(self) -> list[ModelFacts]:
        """The models of its iterations, in order."""
        return [model for model in self.models if model.iteration]

    def model(self, name: str) -> ModelFacts | None:
        """A model by name."""
        return next((model for model in self.models if model.name == name), None)


class Failure(Record):
    """A cell that is not there, and the last line it said."""

    cell: str
    line: str


class StudyFacts(Record):
    """The whole study."""

    version: Literal[1] = 1
    methods: list[str] = Field(description="without vanilla; the first is the one that the others are compared with")
    seeds: list[int]
    regimes: dict[str, list[int]] = Field(description="by task")
    tasks: dict[str, TaskFacts] = Field(default_factory=dict)
    cells: list[CellFacts] = Field(default_factory=list)
    failed: list[Failure] = Field(default_factory=list)

    @property
    def measure(self) -> str:
        """What the numbers of its tables are; both words where it has tasks of both kinds."""
        return " or ".join(sorted({task.measure for task in self.tasks.values()} or {measure(graded=False)}))


def cell_name(task: str, regime: int, seed: int, method: str) -> str:
    """`sql/300/seed-0/pada`."""
    return f"{task}/{regime_name(regime)}/seed-{seed}/{method}"


def regime_name(regime: int) -> str:
    """How a number of training rows is called."""
    return str(regime) if regime else "all"


def rows_of(predictions: Sequence[Prediction]) -> Rows:
    """The rows that were answered."""
    groups = [p.group for p in predictions]
    return Rows(ids=[p.id for p in predictions], groups=groups if len(set(groups)) < len(groups) and any(groups) else [])


def verdicts(predictions: Iterable[Prediction]) -> str:
    """One character for each."""
    return "".join(RIGHT if p.score.correct else "0" if p.score.valid else INVALID for p in predictions)


def joined(one: TaskFacts | None, other: TaskFacts, cell: str) -> TaskFacts:
    """What two cells say of their task. Raises InputError when they were evaluated on other rows."""
    if one is None:
        return other
    for split, rows in other.rows.items():
        if split in one.rows and one.rows[split] != rows:
            raise InputError(
                f"{cell} was evaluated on other {split} rows than the cells before it: the data changed since they ran. "
                "Put the data back, or start anew with another --out"
            )
    return one


def together(studies: Mapping[str, StudyFacts]) -> StudyFacts:
    """One study of several that ran other seeds of it, by the name of their files.

    Raises InputError for tasks that are not the same, and for a seed in two files: methods of a seed are compared, and must have
    begun with one vanilla model.
    """
    every = list(studies.values())
    tasks: dict[str, tuple[str, TaskFacts]] = {}
    begun: dict[tuple[str, int, int], str] = {}
    for file, study in studies.items():
        for name, task in study.tasks.items():
            before, known = tasks.setdefault(name, (file, task))
            for field in TaskFacts.model_fields:
                if getattr(known, field) != getattr(task, field):
                    raise InputError(f"{file}: {name} has other {field} than in {before}: these are not seeds of one study")
        for cell in study.cells:
            if begun.setdefault((cell.task, cell.regime, cell.seed), file) != file:
                raise InputError(f"{file}: seed {cell.seed} of {cell.task} is in {begun[cell.task, cell.regime, cell.seed]} too")
    sizes: dict[str, list[int]] = {}
    for name, own in (item for study in every for item in study.regimes.items()):
        sizes[name] = list(dict.fromkeys([*sizes.get(name, []), *own]))
    return StudyFacts(
        methods=list(dict.fromkeys(method for study in every for method in study.methods)),
        seeds=sorted({seed for study in every for seed in study.seeds}),
        regimes=sizes,
        tasks={name: task for name, (_, task) in tasks.items()},
        cells=sorted((cell for study in every for cell in study.cells), key=lambda cell: cell.seed),
        failed=[failure for study in every for failure in study.failed],
    )
