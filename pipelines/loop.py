"""The recipe: which stage follows which. Written once, for a runner that calls stages here and one that lays out Kubeflow tasks.

    prepare ─ vanilla, untuned ─ start ─ [go on?] ─┬─ analyze ─ (generate ─ control) x links ─ merge
                                                   │        [go on?] ─ train, evaluate ─ score
                                                   └───────── the next iteration ◄─ [go on?]
                                                              the last one ─ step-matched

Where an LLM scores answers (`scored`), score_answers follows each evaluation.

State flows inwards only: what happens in the body of a `when` is seen by nothing outside it, which is all that Kubeflow can do.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

PREPARE = "prepare"
STEP_MATCHED = "step-matched"
REPORTED = "selection,test"
ALL_SPLITS = "train,validation,selection,test"


class Finished(Protocol):
    """What a task left, or will leave: its artifacts and output parameters by name."""

    def __getitem__(self, name: str) -> Any: ...


class Runner(Protocol):
    """Follows the recipe."""

    def task(self, name: str, stage: str, artifacts: Mapping[str, Any], /, *, after: Any = None, **parameters: Any) -> Finished:
        """One task of a stage. It is also given what `components/stages.py` says: settings, ledger, checkpoints, export."""

    def when(self, condition: Any, name: str, body: Callable[[], None]) -> None:
        """Follow `body`, a layer called `name`, if `condition` (an output parameter, true or false) holds."""

    def layer(self, name: str) -> AbstractContextManager[Any]:
        """The tasks made in this context belong together and are shown as a layer called `name`."""

    def may_be_positive(self, count: Any) -> bool:
        """Whether an output parameter is above zero; one that is not known yet may be."""


@dataclass(frozen=True)
class Position:
    """Where the loop stands: the state, what the next analysis reads, the synthetic rows so far, the last adapter's steps."""

    state: Any
    predictions: Any
    synthetic: Any = None
    steps: Any = None


@dataclass(frozen=True)
class Loop:
    """The recipe of at most `iterations`, each with at most `links` pairs of generation and quality control.

    `scored`: whether an LLM scores the SLM's answers, in a task of its own.
    """

    runner: Runner
    iterations: int
    links: int
    scored: bool = False

    def follow(self) -> None:
        """From rows to the last state."""
        with self.runner.layer("prepare-and-start"):
            run, at, start = self._begin()
        self.runner.when(start["go_on"], "iteration-1", lambda: run.iterate(1, at))

    def _begin(self) -> tuple["_Prepared", "Position", Finished]:
        data = self.runner.task(PREPARE, "prepare_data", {})
        rows = {"train_data": data["train_data"]}
        evaluated = {**rows, "heldout_data": data["heldout_data"]}
        run = _Prepared(self.runner, self.links, self.iterations, self.scored, rows, evaluated)
        return run, *run.begin()


@dataclass(frozen=True)
class _Prepared:
    runner: Runner
    links: int
    iterations: int
    scored: bool
    rows: Mapping[str, Any]  # what may be trained on and written from
    evaluated: Mapping[str, Any]

    def begin(self) -> tuple[Position, Finished]:
        """Vanilla fine-tuning and, beside it, the untuned model; where the loop starts, and the first state."""
        adapter = self.adapter("vanilla")
        # Whoever runs code that a model wrote may not reach a model hub: training has filled the cache before.
        untuned = self.runner.task(
            "evaluate-untuned", "evaluate_slm", self.evaluated, after=adapter, splits=REPORTED, name="untuned"
        )
        first = {}
        if self.scored:
            untuned = self.score("untuned", {"report_answers": untuned["report_predictions"]})
            first = {"scored": untuned["report_predictions"]}  # what it cost is in no state yet
        scores = self.scores("vanilla", adapter, spent=first, measure=True)
        baseline = {"baseline_report_predictions": untuned["report_predictions"]}
        state = self.runner.task("start", "update_state", {**self.rows, **scores, **baseline}, step="start")
        return Position(state["state"], scores["predictions"]), state

    def iterate(self, k: int, at: Position) -> None:
        """From failures to data to a new adapter, always trained from the base model; inside it the next iteration."""
        before = at.state if k > 1 or self.scored else None  # no patterns yet, and nothing spent
        sources = {**self.rows, "predictions": at.predictions, "state": before}
        analysis = self.runner.task(f"analyze-{k}", "analyze_patterns", sources, iteration=k)
        learnt = {
            **self.rows,
            "previous_state": at.state,
            "analyses": analysis["analyses"],
            "checked_batches": self.write(k, analysis["plan"], at.synthetic),
        }
        merged = self.runner.task(f"merge-{k}", "update_state", learnt, step="merge", iteration=k)
        self.runner.when(merged["go_on"], f"train-and-score-{k}", lambda: self.learn(k, merged))
        if k > 1:
            self.runner.when(merged["step_matched"], STEP_MATCHED, lambda: self.match(merged, at.steps))

    def write(self, k: int, plan: Any, synthetic: Any) -> Any:
        """Generate and control in turn, until nothing is open or the chain is at its end; the checked batches."""
        with self.runner.layer(f"write-and-check-{k}"):
            return self._write(k, plan, synthetic)

    def _write(self, k: int, plan: Any, synthetic: Any) -> Any:
        checked = None
        for link in range(1, self.links + 1):
            sources = {**self.rows, "plan": None if checked else plan, "checked_batches": checked}
            written = self.runner.task(f"generate-{k}-{link}", "generate_data", sources, iteration=k)
            judged = self.runner.task(
                f"control-{k}-{link}",
                "control_quality",
                {**self.rows, "synthetic_data": synthetic, "batches": written["batches"]},
                iteration=k,
            )
            checked = judged["checked_batches"]
            if not self.runner.may_be_positive(judged["open_batches"]):
                break
        return checked

    def learn(self, k: int, merged: Finished) -> None:
        """Train on all rows so far and evaluate; go on, or train the step-matched model and end."""
        synthetic = merged["synthetic_data"]
        adapter, scores = self.train(str(k), merged["state"], f"iteration-{k}", synthetic_data=synthetic)
        known = {**self.rows, "previous_state": merged["state"], **scores}
        scored = self.runner.task(f"score-{k}", "update_state", known, step="score", iteration=k)
        if k < self.iterations:
            at = Position(scored["state"], scores["predictions"], synthetic, adapter["steps"])
            self.runner.when(scored["go_on"], f"iteration-{k + 1}", lambda: self.iterate(k + 1, at))
        self.runner.when(scored["step_matched"], STEP_MATCHED, lambda: self.match(scored, adapter["steps"]))

    def match(self, last: Finished, steps: Any) -> None:
        """Vanilla for as many steps as the last adapter had: without it a gain may come from the longer training."""
        _, scores = self.train(STEP_MATCHED, last["state"], splits=REPORTED, max_steps=steps)
        known = {**self.rows, "previous_state": last["state"], **scores}
        self.runner.task(f"score-{STEP_MATCHED}", "update_state", known, step="step_matched")

    def train(
        self, task: str, state: Any, model: str = "", splits: str = ALL_SPLITS, synthetic_data: Any = None, **training: Any
    ) -> tuple[Finished, dict[str, Any]]:
        """The tasks train-<task> and evaluate-<task>; the first, and what update_state reads of both."""
        adapter = self.adapter(task, model, synthetic_data, **training)
        return adapter, self.scores(task, adapter, model, splits, {"state": state})

    def adapter(self, task: str, model: str = "", synthetic_data: Any = None, **training: Any) -> Finished:
        """The task train-<task>, of the model that the report calls `model`."""
        sources = {**self.rows, "synthetic_data": synthetic_data}
        return self.runner.task(f"train-{task}", "train_lora", sources, name=model or task, **training)

    def scores(
        self,
        task: str,
        adapter: Finished,
        model: str = "",
        splits: str = ALL_SPLITS,
        spent: Mapping[str, Any] | None = None,
        measure: bool = False,
    ) -> dict[str, Any]:
        """The task evaluate-<task>; what update_state reads of it and of the training.

        Where an LLM scores: `spent` says by its artifacts what the run has spent so far, `measure` to measure the LLM too.
        """
        tuned = {**self.evaluated, "adapter": adapter["adapter"]}
        evaluation = self.runner.task(f"evaluate-{task}", "evaluate_slm", tuned, splits=splits, name=model or task)
        read = ("report_predictions",) if splits == REPORTED else ("predictions", "report_predictions")
        if self.scored:
            answers = {name.replace("predictions", "answers"): evaluation[name] for name in read}
            evaluation = self.score(task, {**answers, **(spent or {})}, **({"measure": True} if measure else {}))
        return {"adapter": adapter["adapter"], **{name: evaluation[name] for name in read}}

    def score(self, task: str, answers: Mapping[str, Any], **how: Any) -> Finished:
        """The task grade-<task>."""
        return self.runner.task(f"grade-{task}", "score_answers", {**self.rows, **answers}, **how)


@dataclass
class _Listing:
    """A runner that does nothing but note the names, as if every gate opened."""

    names: list[str] = field(default_factory=list)

    def task(self, name: str, stage: str, artifacts: Mapping[str, Any], /, **parameters: Any) -> Finished:
        self.names.append(name)
        return _Anything()

    def when(self, condition: Any, name: str, body: Callable[[], None]) -> None:
        body()

    def layer(self, name: str) -> AbstractContextManager[Any]:
        return nullcontext()

    def may_be_positive(self, count: Any) -> bool:
        return True


class _Anything:
    def __getitem__(self, name: str) -> None: ...


def task_names(iterations: int, links: int, scored: bool = False) -> list[str]:
    """Names of all tasks that a run may have, in order, each once."""
    listing = _Listing()
    Loop(listing, iterations, links, scored).follow()
    return list(dict.fromkeys(listing.names))
