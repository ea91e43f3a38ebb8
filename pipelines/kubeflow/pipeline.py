"""The loop as a Kubeflow pipeline: every stage a container component, iterations unrolled behind gates.

    prepare ─ untuned, vanilla ─ start ─┬─ analyze ─ (generate ─ control) x attempts ─ merge
                                        │     [go on?] ─ train, evaluate (beside them the control) ─ score
                                        └─────────────── the next iteration ◄─ [go on?] ─────────────┘

Kubeflow has no while: iteration k + 1 is laid out inside iteration k's gate, and whether a gate opens is decided at run time by
update_state. State flows inwards only, so nothing outside a gate waits for a task inside it. A GPU is asked for only behind the
gate of `merge`, which stays shut when there is nothing new to train on.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from kfp import dsl

from pada_agent.components.analyze_patterns.component import analyze_patterns
from pada_agent.components.control_quality.component import control_quality
from pada_agent.components.evaluate_slm.component import evaluate_slm
from pada_agent.components.generate_data.component import generate_data
from pada_agent.components.prepare_data.component import prepare_data
from pada_agent.components.train_lora.component import train_lora
from pada_agent.components.update_state.component import update_state
from pada_agent.pipelines.kubeflow.placement import Kubernetes, Machine, Vertex

NAME = "pada-agent-improvement-loop"
REPORTED = "selection,test"
Place = Callable[[dsl.PipelineTask, str], None]  # a task, and the stage it runs


@dataclass(frozen=True)
class Shape:
    """What is fixed when a package is compiled."""

    max_iterations: int = 3
    attempts: int = 3  # generate/control pairs of an iteration: one, and regenerations
    step_matched: bool = True  # beside each iteration, vanilla for as many steps


@dataclass(frozen=True)
class Run:
    """What every iteration is given: the shape, the run's parameters, the prepared data."""

    shape: Shape
    place: Place
    settings: Any
    work_uri: Any
    export_uri: Any
    data: Any = None

    def task(self, component: Any, name: str, /, **arguments: Any) -> Any:
        """One task of a stage, placed and named as in the local engine."""
        found = component(settings=self.settings, **arguments)
        found.set_display_name(name)
        self.place(found, component.name.replace("-", "_"))
        return found

    def ledger(self, stage: str) -> Any:
        """Where a stage keeps its paid calls. All tasks of a stage share it: a call is known by what was asked."""
        return f"{self.work_uri}/ledger/{stage}"

    @property
    def rows(self) -> dict[str, Any]:
        """Training rows and the fingerprints against leaks: what may be trained on and written from."""
        return {"train_data": self.data["train_data"], "fingerprints": self.data["fingerprints"]}


def build(shape: Shape, place: Kubernetes | Vertex) -> Any:
    """The pipeline of this shape for one target (placement.py). A docstring here is what the UI shows."""
    if isinstance(place, Vertex):

        @dsl.pipeline(name=NAME)  # type: ignore[untyped-decorator]
        def on_vertex(  # type: ignore[no-untyped-def]
            settings: dict,  # type: ignore[type-arg]
            work_uri: str,
            export_uri: str = "",
            accelerator_type: str = "NVIDIA_L4",
            accelerator_count: int = 1,
            cpu_limit: str = "8",
            memory_limit: str = "32G",
        ):
            """Evaluate a small language model, find patterns in its failures, write data against them, fine-tune, repeat.

            Args:
                settings: a whole run's settings, one JSON object.
                work_uri: gs:// folder for paid replies and checkpoints; a run started again with it pays nothing twice.
                export_uri: gs:// folder for the adapter to ship; empty: it stays an artifact of the run.
                accelerator_type: of training and evaluation, e.g. NVIDIA_L4, NVIDIA_A100_80GB.
                accelerator_count: how many.
                cpu_limit: of training and evaluation; Vertex takes the smallest machine that has it.
                memory_limit: the same.
            """
            machine = Machine(accelerator_type, accelerator_count, cpu_limit, memory_limit)
            _lay_out(Run(shape, place.on(machine), settings, work_uri, export_uri))

        return on_vertex

    @dsl.pipeline(name=NAME)  # type: ignore[untyped-decorator]
    def on_kubernetes(settings: dict, work_uri: str, export_uri: str = ""):  # type: ignore[no-untyped-def,type-arg]
        """Evaluate a small language model, find patterns in its failures, write data against them, fine-tune, repeat.

        Args:
            settings: a whole run's settings, one JSON object.
            work_uri: gs:// or s3:// folder for paid replies and checkpoints; a run started again with it pays nothing twice.
            export_uri: gs:// or s3:// folder for the adapter to ship; empty: it stays an artifact of the run.
        """
        _lay_out(Run(shape, place, settings, work_uri, export_uri))

    return on_kubernetes


def _lay_out(run: Run) -> None:
    prepared = run.task(prepare_data, "prepare", max_iterations=run.shape.max_iterations)
    run = replace(run, data=prepared.outputs)
    state, predictions = _begin(run)
    _iterate(run, 1, state, predictions)


def _begin(run: Run) -> tuple[Any, Any]:
    """The untuned model and vanilla fine-tuning; the state, and the predictions to learn from."""
    rows = {"train_data": run.data["train_data"], "heldout_data": run.data["heldout_data"]}
    adapter, scored = _train_and_evaluate(run, "vanilla")
    untuned = run.task(evaluate_slm, "evaluate-untuned", **rows, splits=REPORTED, name="untuned")
    untuned.after(adapter)  # whoever runs code that a model wrote may not reach a model hub: training fills the cache before
    state = run.task(
        update_state,
        "start",
        step="start",
        train_data=run.data["train_data"],
        export_uri=run.export_uri,
        **scored,
        **_beside(_scores(untuned)),
    )
    return state.outputs["state"], scored["predictions"]


def _iterate(run: Run, k: int, state: Any, predictions: Any, synthetic: Any = None) -> None:
    """Iteration k, and inside its gate the next one."""
    found = run.task(
        analyze_patterns,
        f"analyze-{k}",
        **run.rows,
        predictions=predictions,
        state=state,
        iteration=k,
        ledger=run.ledger("analyze_patterns"),
    )
    learnt = {
        "train_data": run.data["train_data"],
        "previous_state": state,
        "analyses": found.outputs["analyses"],
        "plan": found.outputs["plan"],
        "checked_batches": _write(run, k, found.outputs["plan"], synthetic),
        **_given(previous_synthetic_data=synthetic),
    }
    merged = run.task(update_state, f"merge-{k}", step="merge", iteration=k, **learnt)
    with dsl.If(merged.outputs["go_on"] == True, name=f"train-{k}"):  # noqa: E712 - it builds a condition
        scored_state, predictions = _train(run, k, merged)
        if k < run.shape.max_iterations:
            with dsl.If(scored_state.outputs["go_on"] == True, name=f"iteration-{k + 1}"):  # noqa: E712
                _iterate(run, k + 1, scored_state.outputs["state"], predictions, merged.outputs["synthetic_data"])


def _write(run: Run, k: int, plan: Any, synthetic: Any) -> Any:
    """Generate and control in turn. All links are laid out; those after the last open batch only pass through."""
    checked = None
    for link in range(1, run.shape.attempts + 1):
        written = run.task(
            generate_data,
            f"generate-{k}-{link}",
            train_data=run.data["train_data"],
            plan=plan,
            iteration=k,
            ledger=run.ledger("generate_data"),
            **_given(checked_batches=checked),
        )
        judged = run.task(
            control_quality,
            f"control-{k}-{link}",
            **run.rows,
            plan=plan,
            batches=written.outputs["batches"],
            iteration=k,
            ledger=run.ledger("control_quality"),
            **_given(synthetic_data=synthetic),
        )
        checked = judged.outputs["checked_batches"]
    return checked


def _train(run: Run, k: int, merged: Any) -> tuple[Any, Any]:
    """Train from the base model on all rows so far, evaluate, beside it the control, and score."""
    synthetic = merged.outputs["synthetic_data"]
    adapter, scored = _train_and_evaluate(run, f"iteration-{k}", synthetic_data=synthetic)
    beside = {}
    if run.shape.step_matched:
        steps = adapter.outputs["steps"]
        beside = _beside(_train_and_evaluate(run, f"step-matched-{k}", splits=REPORTED, max_steps=steps)[1])
    state = run.task(
        update_state,
        f"score-{k}",
        step="score",
        iteration=k,
        train_data=run.data["train_data"],
        previous_state=merged.outputs["state"],
        previous_synthetic_data=synthetic,
        export_uri=run.export_uri,
        **scored,
        **beside,
    )
    return state, scored["predictions"]


def _train_and_evaluate(
    run: Run, name: str, splits: str = "train,validation,selection,test", **training: Any
) -> tuple[Any, dict[str, Any]]:
    """The training task, and what update_state reads of it and of its evaluation."""
    checkpoints = f"{run.work_uri}/checkpoints/{name}"
    adapter = run.task(train_lora, f"train-{name}", **run.rows, name=name, checkpoint_uri=checkpoints, **training)
    tuned = {
        "train_data": run.data["train_data"],
        "heldout_data": run.data["heldout_data"],
        "adapter": adapter.outputs["adapter"],
    }
    evaluated = run.task(evaluate_slm, f"evaluate-{name}", **tuned, splits=splits, name=name)
    return adapter, {"adapter": adapter.outputs["adapter"], **_scores(evaluated)}


def _scores(evaluated: Any) -> dict[str, Any]:
    return {name: evaluated.outputs[name] for name in ("predictions", "report_predictions")}


def _beside(artifacts: dict[str, Any]) -> dict[str, Any]:
    return {f"baseline_{name}": artifact for name, artifact in artifacts.items()}


def _given(**artifacts: Any) -> dict[str, Any]:
    """Optional artifacts that are there: an absent one must not be passed at all."""
    return {name: artifact for name, artifact in artifacts.items() if artifact is not None}
