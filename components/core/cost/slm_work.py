"""How much a run trains and answers, and about how many hours of a GPU that takes.

Training takes 6 operations for each parameter and token, forward and backward, answering 2 for each token that is read or written
(Kaplan et al., arXiv 2001.08361, section 2.1). For an adapter that is a third too much: frozen weights need no gradients.

The card is the paper's, an A10G, which does 70 TFLOPS in bfloat16 without sparsity (NVIDIA's data sheet). The shares of that are
round figures, no measurement: large models are trained at 20 to 46 % (Chowdhery et al., arXiv 2204.02311, table 3), and a small
model and short rows keep a card less busy; words that are written one after the other wait for memory, not for arithmetic.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from statistics import fmean

from pada_agent.components.core.cost.prompt_sizes import CHAT
from pada_agent.components.core.cost.tokens import token_count
from pada_agent.components.core.records import Fields
from pada_agent.components.core.row_quotas import iteration_rows
from pada_agent.components.core.settings import Settings
from pada_agent.components.core.tasks.task import Task

CARD, TFLOPS = "A10G", 70
TRAIN_OPERATIONS, ANSWER_OPERATIONS = 6, 2  # for each parameter and token
TRAIN_SHARE, ANSWER_SHARE = 0.3, 0.1  # of the card's TFLOPS
_UNITS = {"m": 1e6, "b": 1e9}
_SIZE = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)([mb])(?![a-z0-9])")


@dataclass(frozen=True)
class Rows:
    """Of one task at one size."""

    train: int
    validation: int
    reported: int  # selection and test

    @property
    def all(self) -> int:
        """What an adapter answers whose failures are analysed."""
        return self.train + self.validation + self.reported


@dataclass(frozen=True)
class Work:
    """Adapters trained; rows they are trained on, in all epochs; rows that are answered."""

    adapters: int = 0
    trained: float = 0
    answered: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.adapters + other.adapters, self.trained + other.trained, self.answered + other.answered)

    def times(self, runs: int) -> "Work":
        """That of so many runs."""
        return Work(self.adapters * runs, self.trained * runs, self.answered * runs)


def work_before(settings: Settings, rows: Rows) -> Work:
    """The vanilla adapter, and the untuned model's answers."""
    return Work(1, settings.train.epochs * rows.train, rows.all + rows.reported)


def work_of_loop(settings: Settings, rows: Rows) -> Work:
    """An adapter for each iteration, all rows asked for let in, and one that takes as many steps as the last, if it is wanted."""
    total, synthetic = Work(), 0
    for iteration in range(1, settings.loop.iterations + 1):
        synthetic += iteration_rows(settings.generate, rows.train, iteration, settings.loop.iterations)
        total += Work(1, settings.train.epochs * (rows.train + synthetic), rows.all)
    matched = Work(1, settings.train.epochs * (rows.train + synthetic), rows.reported)
    return total + matched if settings.step_matched else total


@dataclass(frozen=True)
class Hours:
    """Of one A10G."""

    training: float = 0
    answering: float = 0

    def __add__(self, other: "Hours") -> "Hours":
        return Hours(self.training + other.training, self.answering + other.answering)


def gpu_hours(parameters: float, work: Work, task: Task, rows: Sequence[Fields], settings: Settings) -> Hours:
    """About how long `work` takes; `rows` are training rows, at least one, whose mean length stands for that of all.

    Adapters that a server answers for take no time here.
    """
    tokens = fmean(_tokens(task, fields, settings.slm.max_length) for fields in rows)
    answered = 0 if settings.slm.endpoint and settings.slm.endpoint.adapter_folder else work.answered
    return Hours(
        work.trained * tokens * parameters * TRAIN_OPERATIONS / (TRAIN_SHARE * TFLOPS * 1e12) / 3600,
        answered * tokens * parameters * ANSWER_OPERATIONS / (ANSWER_SHARE * TFLOPS * 1e12) / 3600,
    )


def _tokens(task: Task, fields: Fields, most: int) -> int:
    """Of a prompt and its answer."""
    texts = [*(m["content"] for m in task.messages(fields)), task.target(fields)]
    return min(most, sum(token_count(text) + CHAT for text in texts))


def size_by_name(model: str) -> float:
    """Parameters as a model's name has them: 1e9 of `meta-llama/Llama-3.2-1B-Instruct`; 0 where it names none, or several."""
    sizes = {float(number) * _UNITS[unit] for number, unit in _SIZE.findall(PurePosixPath(model).name.lower())}
    return sizes.pop() if len(sizes) == 1 else 0
