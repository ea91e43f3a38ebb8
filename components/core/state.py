"""What a run knows: small enough to travel between pods, enough to explain every number of the report.

    {"version": 1, "run": {"task": "text_to_sql", "slm": "HuggingFaceTB/SmolLM2-135M-Instruct", ...},
     "models": [{"name": "vanilla", "kind": "start", "adapter_uri": "gs://...", "metrics": {"test": {"accuracy": 0.7, ...}}}],
     "iterations": [{"number": 1, "patterns": [...], "strategies": [...], "batches": [...], "accepted": 44, ...}],
     "incumbent": "iteration-1", "decision": {"go_on": false, "reason": "the planned iteration is done"}}

It points to adapters and data and holds neither. It is not for generators: `row_ids` and `analyses` come from validation rows.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from pada_agent.components.core.cost.budget import Usage, by_stage
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.patterns.pattern_rules import Trend
from pada_agent.components.core.quality.judge_check import JudgeCheck
from pada_agent.components.core.quality.scorer_check import ScorerCheck
from pada_agent.components.core.records import Analysis, Batch, Pattern, Record, Strategy, SyntheticRow
from pada_agent.components.core.settings import UpdateState
from pada_agent.components.core.statistics import SplitMetrics

VERSION: Literal[1] = 1
STATE_FILE = "state.json"
LATEST_STATE = "latest_state"  # file of a run directory: where in it the state is


class RunFacts(Record):
    """The settings a reader of the report needs."""

    task: str
    metric: str = Field(default="", description="what counts as correct, e.g. exact match")
    slm: str
    thinking: bool = Field(default=False, description="whether the SLM's chat template let it think, in training too")
    teacher: str
    judge: str
    scorer: str = Field(default="", description="the model that scored answers, where an LLM did")
    seed: int
    iterations: int
    patience: int
    alpha: float
    confidence: float
    threshold: float = Field(description="mean judge score from which a sample or a batch is accepted")
    method: str = Field(default="pada", description="what the teacher was asked for")
    verdict: Literal["batch", "sample", "checks", "none"] = "batch"
    lowest: float = Field(default=1, description="verdict sample: no score may be lower")
    share: float = Field(description="synthetic rows asked for, for each training row")
    scope: str
    step_matched: bool = Field(default=False, description="whether vanilla is also trained for as many steps as the last adapter")

    @classmethod
    def of(cls, settings: UpdateState, metric: str) -> Self:
        """What the stage's settings say. Endpoints are left out: where a model was reached changes nothing."""
        return cls(
            task=settings.task.name,
            metric=metric,
            slm=settings.slm.model,
            thinking=settings.slm.thinking,
            teacher=settings.teacher.model,
            judge=settings.judge.model,
            scorer=settings.scorer.model if settings.scorer else "",
            seed=settings.seed,
            iterations=settings.loop.iterations,
            patience=settings.loop.patience,
            alpha=settings.loop.alpha,
            confidence=settings.evaluate.confidence,
            threshold=settings.control.threshold,
            method=settings.generate.method,
            verdict=settings.control.verdict,
            lowest=settings.control.lowest,
            share=settings.generate.share,
            scope=settings.generate.scope,
            step_matched=settings.step_matched,
        )


Kind = Literal["untuned", "start", "candidate", "step_matched"]


class ModelRecord(Record):
    """One evaluated model. Only a candidate can be promoted; a step-matched model is what it is compared with."""

    name: str
    kind: Kind
    iteration: int = 0
    adapter_uri: str = ""
    steps: int = Field(default=0, description="optimizer steps")
    rows: int = Field(default=0, description="training rows, synthetic ones included")
    synthetic_rows: int = 0
    dropped_rows: int = Field(default=0, description="longer than the maximum length, not trained on")
    train_seconds: float = 0
    evaluate_seconds: float = 0
    losses: list[float] = Field(default_factory=list, description="of its training, thinned: see core/report/losses.py")
    engine: str = Field(default="", description="what answered in evaluation: transformers, vllm 0.33.0 or a server's model")
    metrics: dict[str, SplitMetrics] = Field(description="by split")
    outcomes: dict[str, dict[str, bool]] = Field(description="by split: row id -> correct")
    grades: dict[str, dict[str, float]] = Field(default_factory=dict, description="by split, of a graded task: row id -> grade")
    usage: dict[str, Usage] = Field(default_factory=dict, description="by stage: what scoring its answers took, where an LLM did")

    def scores(self, split: str) -> Mapping[str, float]:
        """What models are compared by on a split, by row: grades, else right or wrong."""
        return self.grades.get(split) or self.outcomes[split]


class Promotion(Record):
    """The test that decided whether a candidate may be shipped, on the selection split."""

    against: str = Field(description="the model the run started from")
    gains: int = Field(description="rows right now and wrong before")
    losses: int
    difference: float = Field(description="in selection accuracy, 0 to 1")
    p: float = Field(description="one-sided: chance of so much gain from a candidate that is no better")
    level: float = Field(description="alpha over the number of candidates the run may try")
    promoted: bool
    reason: str


class Progress(Record):
    """What became of a pattern."""

    trend: Trend = Field(description="against the iteration before")
    failing: int | None = Field(default=None, description="of its rows, after training on this iteration's data")
    outcome: Trend | None = Field(default=None, description="after that training")


class IterationRecord(Record):
    """One iteration: what was found, written, let in and gained."""

    number: int = Field(ge=1)
    summary: dict[str, Any] = Field(default_factory=dict, description="counts of the analysis and the choice of clusters")
    training_errors: int = 0
    analyses: list[Analysis] = Field(default_factory=list)
    patterns: list[Pattern] = Field(default_factory=list)
    progress: dict[str, Progress] = Field(default_factory=dict, description="by pattern id")
    strategies: list[Strategy] = Field(default_factory=list)
    batches: list[Batch] = Field(default_factory=list)
    wanted: int = Field(default=0, description="rows the budget allowed")
    accepted: int = 0
    usage: dict[str, Usage] = Field(default_factory=dict, description="by stage")
    judge_check: JudgeCheck | None = Field(default=None, description="measured once per run, in the first iteration that judges")
    model: str = ""
    promotion: Promotion | None = None

    @property
    def shortfall(self) -> int:
        """How many rows asked for were not let in."""
        return max(0, self.wanted - self.accepted)


class EarlierPattern(Record):
    """A pattern that an earlier run left, looked up among this run's validation rows."""

    name: str
    description: str = ""
    prints: list[str] = Field(default_factory=list, description="hashes of the validation rows that failed then")
    rows: int = Field(default=0, description="of these, how many are validation rows now")
    failing: int = Field(default=0, description="of the rows now, how many the model that the run starts from gets wrong")
    outcome: Trend | None = Field(default=None, description="None where none of the rows is left")


class Earlier(Record):
    """An earlier run whose patterns were looked up, or why they were not."""

    uri: str
    shipped: str = ""
    patterns: list[EarlierPattern] = Field(default_factory=list)
    problem: str = ""


class Decision(Record):
    """Whether another iteration is worth it, and if not, why."""

    go_on: bool = True
    reason: str = ""


class State(Record):
    """Everything a run knows so far."""

    version: Literal[1] = VERSION
    run: RunFacts
    expected: dict[str, Usage] = Field(default_factory=dict, description="by stage: what the LLMs were expected to be asked")
    prompts: dict[str, str] = Field(
        default_factory=dict, description="the user's own texts in place of the package's, by file name"
    )
    models: list[ModelRecord] = Field(default_factory=list)
    groups: dict[str, dict[str, str]] = Field(default_factory=dict, description="by split: row id -> group, where rows have one")
    iterations: list[IterationRecord] = Field(default_factory=list)
    incumbent: str = Field(default="", description="the model that would be shipped now")
    decision: Decision = Decision()
    row_prints: dict[str, str] = Field(default_factory=dict, description="of each validation row, a hash of what it says")
    scorer_check: ScorerCheck | None = Field(default=None, description="of the LLM that scored answers, measured once per run")
    earlier: Earlier | None = Field(default=None, description="the patterns of the run that the setting `earlier` names")
    taken_over: dict[str, str] = Field(
        default_factory=dict,
        description="by task, the earlier run it ran in, where a pipeline took over its results",
    )

    def model(self, name: str) -> ModelRecord:
        """A model by name. Raises InputError if it was not recorded."""
        model = next((m for m in self.models if m.name == name), None)
        if model is None:
            raise InputError(f"the state has no model '{name}'; it has {', '.join(m.name for m in self.models) or 'none'}")
        return model

    @property
    def start(self) -> ModelRecord:
        """The fine-tuned model the run started from. Raises InputError before it was recorded."""
        model = next((m for m in self.models if m.kind == "start"), None)
        if model is None:
            raise InputError("the state has no fine-tuned model to start from; run update_state with step=start for it first")
        return model

    @property
    def step_matched_due(self) -> bool:
        """Whether to train the step-matched model now: after the last iteration that trained one, if it was not beside it."""
        kinds = {model.kind for model in self.models}
        return self.run.step_matched and not self.decision.go_on and "candidate" in kinds and "step_matched" not in kinds

    @property
    def over(self) -> bool:
        """Whether nothing is left to do in this run."""
        return not self.decision.go_on and not self.step_matched_due

    def analysed(self, number: int) -> str:
        """Name of the model whose failures iteration `number` is about."""
        return self.start.name if number == 1 else self.iterations[number - 2].model

    @property
    def usage(self) -> Usage:
        """What the run spent on LLMs."""
        return sum(self.usage_by_stage.values(), Usage())

    @property
    def usage_by_stage(self) -> dict[str, Usage]:
        """What each stage spent on LLMs, over all models and iterations."""
        return by_stage(*(m.usage for m in self.models), *(i.usage for i in self.iterations))

    @property
    def synthetic_rows(self) -> list[SyntheticRow]:
        """All accepted rows, oldest first."""
        return [row for i in self.iterations for batch in i.batches for row in batch.accepted]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read `state.json` of a state artifact. Raises InputError with the file and what is wrong."""
        path = folder / STATE_FILE
        try:
            text = path.read_bytes()
        except OSError as e:
            raise InputError(f"{path}: cannot be read ({e.strerror})") from e
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: bytes, path: str) -> Self:
        """The state in what `state.json` holds. Raises InputError with the file's path or URI and what is wrong."""
        try:
            value = json.loads(text)
        except ValueError as e:
            raise InputError(f"{path}: not JSON ({e})") from e
        version = value.get("version") if isinstance(value, dict) else None
        if version != VERSION:
            raise InputError(f"{path}: state of version {version}, this release reads version {VERSION}; start a new run")
        try:
            return cls.model_validate(value)
        except ValidationError as e:
            first = e.errors()[0]
            raise InputError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from e
