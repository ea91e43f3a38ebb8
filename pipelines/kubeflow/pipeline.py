"""The loop as a Kubeflow pipeline: the recipe (loop.py) laid out as container tasks, with optional parts behind gates.

    root ─┬─ loop ─┬─ prepare-and-start
          │        └─ iteration-1 ─┬─ write-and-check-1
          │                        └─ train-and-score-1 ─┬─ iteration-2 ─ ...
          └─ result                                      └─ step-matched

Kubeflow has no while loop: iteration k + 1 is laid out inside iteration k's gate, and update_state decides at run time whether a
gate opens. A GPU is asked for only behind the gate of `merge`, which stays shut when there is nothing new to train on. All of it
is inside `loop`, an exit handler, whose exit task `result` runs however the run ends.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NamedTuple

from kfp import dsl

from pada_agent.components.core.form import FIELDS
from pada_agent.components.core.quality.chain import links
from pada_agent.components.core.settings import GenerateSettings
from pada_agent.components.stages import STAGES
from pada_agent.pipelines.kubeflow.form import form, with_form
from pada_agent.pipelines.kubeflow.package import KEYS
from pada_agent.pipelines.kubeflow.placement import Kubernetes, Parameters, Vertex
from pada_agent.pipelines.loop import Loop

NAME = "pada-agent-improvement-loop"
Place = Callable[[dsl.PipelineTask, str], None]  # a task, and the stage it runs


@dataclass(frozen=True)
class Shape:
    """What is fixed when a package is compiled."""

    max_iterations: int = 3
    attempts: int = links(GenerateSettings())  # generate/control pairs of an iteration: one, and regenerations
    scored: bool = False  # whether there are tasks in which an LLM scores the SLM's answers


class _Task:
    """A task that is laid out: what it will have left, by name."""

    def __init__(self, task: dsl.PipelineTask) -> None:
        self.task = task

    def __getitem__(self, name: str) -> Any:
        return self.task.outputs[name]


@dataclass
class Layout:
    """The runner that writes Kubeflow tasks. See loop.Runner."""

    shape: Shape
    place: Place
    configured: Mapping[str, Any]  # a run's settings and its form's fields: for prepare_data, which leaves them beside its rows
    data_version: Any
    work_uri: Any
    export_uri: Any
    layers: dict[str, list[str]] = field(default_factory=dict, init=False)  # tasks by layer, for arrange.py
    _layer: str = field(default="", init=False)

    def task(self, name: str, stage: str, artifacts: Mapping[str, Any], /, *, after: Any = None, **parameters: Any) -> _Task:
        """A task, placed and named as on one machine. An artifact that is not there must not be passed at all."""
        component = getattr(import_module(f"pada_agent.components.{stage}.component"), stage)
        given = {key: artifact for key, artifact in artifacts.items() if artifact is not None}
        task = component(**given, **parameters, **self._own(stage))
        task.set_display_name(name)
        self.place(task, stage)
        if self._layer:
            self.layers[self._layer].append(name)
        if after is not None:
            task.after(after.task)
        return _Task(task)

    def when(self, condition: Any, name: str, body: Callable[[], None]) -> None:
        """A gate."""
        with dsl.If(condition == True, name=name):  # noqa: E712 - it builds a condition
            body()

    @contextmanager
    def layer(self, name: str) -> Iterator[None]:
        """A group of tasks. The SDK knows such groups only as pipelines of their own, with an interface to be written out."""
        self.layers[name], self._layer = [], name
        try:
            yield
        finally:
            self._layer = ""

    def may_be_positive(self, count: Any) -> bool:
        """All pairs are laid out; those after the last open batch only pass through."""
        return True

    def _own(self, stage: str) -> dict[str, Any]:
        """What a stage is given besides."""
        own: dict[str, Any] = {"work_uri": self.work_uri}  # a call is known by what was asked: all tasks share a stage's ledger
        if stage == "prepare_data":
            own |= {**self.configured, "max_iterations": self.shape.max_iterations, "data_version": self.data_version}
            own |= {"score_answers": True} if self.shape.scored else {}
        if STAGES[stage].exports:
            own["export_uri"] = self.export_uri
        return own


def lay_out(layout: Layout) -> None:
    """Lay out all tasks of the loop, and the one that runs after it however it ends."""
    result = layout.task("result", "publish_result", {})
    with dsl.ExitHandler(result.task, name="loop"):
        Loop(layout, layout.shape.max_iterations, layout.shape.attempts, layout.shape.scored).follow()


class Built(NamedTuple):
    """A pipeline as the SDK takes it, and which tasks belong to which layer."""

    pipeline: Any
    layers: dict[str, list[str]]


def build(shape: Shape, place: Kubernetes | Vertex) -> Built:
    """The pipeline of this shape for one target (placement.py), with the parameters of form.py."""
    layers: dict[str, list[str]] = {}

    def body(given: dict[str, Any]) -> None:
        on_task = place.on(Parameters(*(given[name] for name in Parameters._fields))) if isinstance(place, Vertex) else place
        configured = {name: given[name] for name in ("settings", *FIELDS)}
        if isinstance(place, Kubernetes):
            # Of its secrets, the same in each package. A scorer says its own: a run may have none.
            configured |= {f"{role}_key": KEYS[role] for role in ("teacher", "judge")}
        layout = Layout(shape, on_task, configured, given["data_version"], given["work_uri"], given["export_uri"])
        lay_out(layout)
        layers.update(layout.layers)

    return Built(dsl.pipeline(name=NAME)(with_form(body, form(place))), layers)
