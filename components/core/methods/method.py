"""What a method of augmentation is: which rows it asks a teacher for, from which training rows, and what it shows of them.

`Method` is what every stage may ask of one. A method writes by a plan of strategies (pada.py), or it is a `FromRow`: each of its
batches is written from one training row, as in most published methods. Every file beside this one is one method.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any, ClassVar, Literal, Protocol

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.methods.registry import METHODS
from pada_agent.components.core.records import Branch, Fields, Strategy, TrainRow
from pada_agent.components.core.separation.nearest import NearestRows
from pada_agent.components.core.settings import AnalyzeSettings, Context, ControlSettings, GenerateSettings
from pada_agent.components.core.tasks.sample_form import SampleForm, on_context, whole
from pada_agent.components.core.tasks.task import Task


class Method:
    """Base of all methods. What it does not say is as in PaDA."""

    finds_patterns: ClassVar[bool] = False  # a teacher is asked why validation rows fail; else the analysis asks nobody
    repeats: ClassVar[Literal["", "answers", "rows"]] = ""  # what of training rows its own rows repeat on purpose

    def check(self, task: Task) -> None:
        """Raises InputError for a task that the method cannot do."""

    def checked_by(self, control: ControlSettings) -> ControlSettings:
        """The quality control that its rows are put to under these settings."""
        return control

    def strategies(
        self, task: Task, train: Sequence[TrainRow], settings: AnalyzeSettings, iteration: int, seed: int
    ) -> list[Strategy]:
        """Those it has without asking anybody."""
        return []

    def form(self, task: Task, context: Context) -> SampleForm:
        """What a teacher writes of one row. Raises InputError for a task that has no context to keep."""
        return on_context(task) if context == "kept" else whole(task)

    def novelty(self, task: Task) -> "Novelty | None":
        """A rule of the method's own on what is new, beside that of all; None for none."""
        return None


def load_method(name: str) -> Method:
    """The method `name`, which the settings have checked."""
    found: Method = getattr(import_module(f"pada_agent.components.core.methods.{name}"), METHODS[name])()
    return found


def check_transfer(analyze: AnalyzeSettings, method: str, patterns: bool) -> None:
    """Check that a run whose patterns are to be taken is of use. `patterns`: whether any row is written against one.

    Raises InputError.
    """
    if analyze.patterns_from and not (patterns and load_method(method).finds_patterns):
        without = f"generate.method {method} writes" if patterns else "generate.pattern_share 0 has no row written"
        raise InputError(
            f"analyze.patterns_from: {without} against no pattern; leave it out, or take method pada and a share above 0"
        )


class Novelty(Protocol):
    """Rows so far."""

    def add(self, fields: Fields) -> None:
        """Remember a row."""

    def twin(self, fields: Fields) -> str:
        """Why a row is too like one of them, '' if it is not."""


@dataclass(frozen=True)
class TrainingRows:
    """The training rows by id, and which of them the SLM got wrong."""

    task: Task
    rows: Mapping[str, Fields]
    wrong: Collection[str]

    @cached_property
    def right(self) -> list[str]:
        """Ids of the others."""
        return [i for i in self.rows if i not in self.wrong]

    @cached_property
    def _near(self) -> NearestRows:
        return NearestRows(self.task, [self.rows[i] for i in self.right])

    def nearest_right(self, row: str, most: int) -> list[str]:
        """The rows got right that ask for nearly the same as this one, the nearest last."""
        near = [self.right[i] for i in self._near.places(self.rows[row], most + 1)]
        return [i for i in near if i != row][-most:] if most else []


@dataclass(frozen=True)
class Origin:
    """What one batch is written from: a training row, what the SLM said to it ('' if right), and what is shown beside it."""

    row: Fields
    output: str
    beside: Sequence[Fields]


class FromRow(Method):
    """Writes each batch from one training row, of those that the SLM got wrong unless it says otherwise."""

    prompt: ClassVar[str]  # of generate_data; '' asks nobody: rows are copied
    branch: ClassVar[Branch] = "error"  # `row` takes right rows as well as wrong ones

    def rows_each(self, rows: int, origins: int, settings: GenerateSettings) -> int:
        """How many rows a batch asks for, where `rows` are wanted and there are so many rows to write from."""
        return settings.per_row

    def sizes(self, rows: int, origins: int, settings: GenerateSettings) -> list[int]:
        """The rows of each batch; they take turns with the rows to write from."""
        if not rows or not origins:
            return []
        whole, rest = divmod(rows, self.rows_each(rows, origins, settings))
        return [self.rows_each(rows, origins, settings)] * whole + ([rest] if rest else [])

    def beside(self, row: str, train: TrainingRows, shots: int) -> list[str]:
        """Ids of the training rows that are shown beside one."""
        return []

    def shown(self, task: Task, origin: Origin) -> dict[str, Any]:
        """The variables of its prompt, beside those of every prompt: task, refused, feedback and count."""
        return {}


def drawn_beside(row: str, train: TrainingRows, without: Sequence[str] = ()) -> list[str]:
    """The id of another row, if possible one that the SLM got right, to show the form of a row; none where there is no other."""
    others = [i for i in train.rows if i != row]
    right = [i for i in others if i not in train.wrong]
    left = [i for i in right if i not in without] or right or others
    return [random.Random(row).choice(left)] if left else []
