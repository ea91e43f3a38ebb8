"""What `pada estimate` says of GPU hours.

    GPU hours on one A10G: about 190 to train, about 70 to answer. Assumed: 6 operations a parameter and token in training, at
    30 % of its 70 TFLOPS, 2 in answering, at 10 %; meta-llama/Llama-3.2-1B-Instruct has 1 billion parameters, by its name.

The assumptions are slm_work's, in core.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache

from pada_agent.components.backends.models.sources import model_here
from pada_agent.components.core.cost.slm_work import (
    ANSWER_OPERATIONS,
    ANSWER_SHARE,
    CARD,
    TFLOPS,
    TRAIN_OPERATIONS,
    TRAIN_SHARE,
    Hours,
    Work,
    gpu_hours,
    size_by_name,
)
from pada_agent.components.core.errors import PadaError
from pada_agent.components.core.records import Fields
from pada_agent.components.core.settings import EMBEDDED, Settings
from pada_agent.components.core.tasks.task import Task


@dataclass
class GpuTime:
    """Hours so far; what is known of the models that they are for, and of whose tasks there are none."""

    hours: Hours = field(default_factory=Hours)
    models: dict[str, str] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)

    def takes(self, name: str, settings: Settings) -> bool:
        """Whether the task called `name` can be counted; why it cannot is noted."""
        if _on_cpus(settings):
            self.without.append(f"{name} (on CPUs)")
            return False
        if not _parameters(settings.slm.model)[0]:
            self.without.append(f"{name} (the size of {settings.slm.model} is not known here)")
            return False
        return True

    def add(self, settings: Settings, work: Work, task: Task, rows: Sequence[Fields]) -> None:
        """The work of a task that it takes; `rows` are the first of its training rows."""
        model = settings.slm.model
        parameters, source = _parameters(model)
        self.hours += gpu_hours(parameters, work, task, rows, settings)
        self.models[model] = f"{model} has {_size(parameters)} parameters, {source}"

    def lines(self) -> Iterator[str]:
        """In words; nothing where there are none."""
        if not self.models:
            return
        yield (
            f"GPU hours on one {CARD}: {_about(self.hours.training)} to train, {_about(self.hours.answering)} to answer. "
            f"Assumed: {TRAIN_OPERATIONS} operations a parameter and token in training, at {100 * TRAIN_SHARE:g} % of its "
            f"{TFLOPS} TFLOPS, {ANSWER_OPERATIONS} in answering, at {100 * ANSWER_SHARE:g} %; {'; '.join(self.models.values())}."
        )
        if self.without:
            yield f"Not in these hours: {', '.join(self.without)}."


def _on_cpus(settings: Settings) -> bool:
    """A run whose teacher or judge is a child process is one on this machine."""
    if settings.slm.device != "auto":
        return settings.slm.device == "cpu"
    return EMBEDDED in (settings.teacher.base_url, settings.judge.base_url) and not _cuda()


def _cuda() -> bool:
    try:
        from pada_agent.components.backends.slm.sizes import cuda_here
    except ImportError:
        return False
    return cuda_here()


@cache
def _parameters(model: str) -> tuple[float, str]:
    """Their number and how it is known; 0 where it is not."""
    with suppress(PadaError, OSError, ValueError, ImportError):  # `pada doctor` says what is wrong with the model
        if model_here(model):
            from pada_agent.components.backends.slm.sizes import parameters_of

            if found := parameters_of(model):
                return found, "counted"
    return size_by_name(model), "by its name"


def _size(parameters: float) -> str:
    return f"{parameters / 1e9:.3g} billion" if parameters >= 1e9 else f"{parameters / 1e6:.3g} million"


def _about(hours: float) -> str:
    """Two digits are more than is known."""
    if hours < 1:
        return "less than 1"
    return f"about {float(f'{hours:.2g}'):,g}"
