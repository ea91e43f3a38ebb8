"""The records that travel between stages.

One line of `train.jsonl`, as prepare_data writes it for text-to-SQL:

    {"id": "train-017", "fields": {"question": "How many customers live in Oslo?", "sql": "SELECT ..."}, "group": "train-017"}

Training and held-out rows are different types on purpose: a generator takes `TrainRow` and cannot be handed a `HeldOutRow`.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pada_agent.components.core.errors import InputError

Fields = dict[str, Any]
RawRow = tuple[str, Fields | InputError]  # its place, 'file:line'; the row as published, or why it cannot be read
Share = Annotated[float, Field(ge=0, le=1)]
HeldOutSplit = Literal["validation", "selection", "test"]
Branch = Literal["pattern", "error", "row"]  # written against a pattern, a training error, or from any training row
RejectionKind = Literal[
    "wrong answer", "off the pattern", "not new", "leak", "not verified", "doubtful answer", "not judged", "judge"
]
UnwrittenKind = Literal["no reply", "no row", "too few"]


class Record(BaseModel):
    """Base of every record: unknown keys are refused, so that a file of another kind is never read as this one."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainRow(Record):
    """A labelled row the SLM may be trained on and an agent may see. `fields` has the task's own keys."""

    id: str = Field(min_length=1)
    fields: Fields
    group: str = Field(default="", description="unit of clustering for statistics, e.g. the SQuAD article")


class HeldOutRow(Record):
    """A validation, selection or test row. Never a subclass of TrainRow."""

    id: str = Field(min_length=1)
    split: HeldOutSplit
    fields: Fields
    group: str = ""


class Provenance(Record):
    """Where a synthetic row came from: enough to find everything behind it."""

    branch: Branch
    pattern_id: str = Field(default="", description="in the pattern branch alone")
    strategy_id: str = ""
    parent_ids: list[str] = Field(description="ids of the training rows shown to the teacher")
    iteration: int = Field(ge=1)
    batch_id: str
    attempt: int = Field(ge=0, description="0 is the first try, 1 to 3 are regenerations")
    request_hash: str = Field(description="key of the paid call in the ledger; empty for a copied row")


class SyntheticRow(Record):
    """A row a teacher wrote, accepted or not."""

    id: str
    fields: Fields
    provenance: Provenance
    scores: dict[str, float] = Field(default_factory=dict, description="the judge's, 1 to 10")


class Score(Record):
    """The task's verdict on one model output."""

    correct: bool
    valid: bool = Field(description="False when no answer could be read out of the output; then it is also not correct")
    grade: Share | None = Field(default=None, description="of a graded task, which models are compared by; else None")
    predicted: str = Field(default="", description="what was read out of the output, e.g. the option letter")
    detail: str = Field(default="", description="why it is wrong, for the analysis")
    extra: dict[str, Share] = Field(
        default_factory=dict, description="secondary metrics, 0 to 1: SQuAD's F1 is graded, GSM8K's flexible match 0 or 1"
    )
    pending: bool = Field(default=False, description="an LLM has still to give the verdict (score_answers); then it is none yet")

    @model_validator(mode="after")
    def _no_verdict_yet(self) -> Self:
        if self.pending and (self.correct or self.grade is not None):
            raise ValueError("a score that is pending is neither right nor graded")
        return self


class Prediction(Record):
    """What the SLM answered to one row, with everything the analysis needs."""

    id: str
    split: Literal["train", "validation", "selection", "test"]
    prompt: str
    output: str
    reference: str
    score: Score
    group: str = ""
    fields: Fields = Field(default_factory=dict)
    with_thoughts: str = Field(
        default="", description="the whole output, where thoughts were cut out of it; agents are not shown it"
    )


def check_scored(predictions: Iterable[Prediction], where: str) -> None:
    """Raises InputError that names `where` if an LLM has still to score some of them: no number may be made of those."""
    if waiting := sum(p.score.pending for p in predictions):
        raise InputError(
            f"{where}: {waiting} answers are not scored yet: task.options.scorer is judge, so that score_answers scores what "
            "evaluate_slm wrote; give what score_answers wrote"
        )


class TrainingError(Prediction):
    """A wrong answer to a training row: the only predictions that a generator may see. An answer to a held-out row is refused."""

    split: Literal["train"]

    @classmethod
    def of(cls, prediction: Prediction) -> Self:
        """The same facts as `prediction`. Raises pydantic's ValidationError for the answer to a held-out row."""
        return cls.model_validate(prediction.model_dump())


class Analysis(Record):
    """One validation failure, explained."""

    row_id: str
    root_cause: str
    scenario: str
    features: list[str] = Field(default_factory=list, description="task features of the row (see Task.features)")


class FeatureCount(Record):
    """How one task feature splits between failures and successes."""

    feature: str
    failed: int
    passed: int


class Pattern(Record):
    """A named cluster of failures."""

    id: str
    name: str
    description: str
    size: int = Field(ge=0, description="failures in the cluster, of those analysed; 0: taken from another run")
    features: list[FeatureCount] = Field(default_factory=list, description="features that ground it, most telling first")
    row_ids: list[str] = Field(description="validation rows behind it; for the report, never for a generator")
    previous_id: str = Field(default="", description="the pattern of the iteration before that it continues, if any")


class Strategy(Record):
    """What the teacher is to write against one pattern. The only thing that crosses from validation to generation.

    Screened: holds no validation text. `seed_ids` are training rows near the pattern, nearest first.
    """

    id: str
    pattern_id: str
    pattern_name: str
    text: str
    features: list[str] = Field(default_factory=list, description="a sample must show at least one of them, where given")
    seed_ids: list[str] = Field(default_factory=list)


class Sample(Record):
    """One item of a batch and what became of it."""

    row: SyntheticRow
    status: Literal["new", "accepted", "rejected"] = "new"
    kind: RejectionKind | None = Field(default=None, description="the rule that rejected it")
    reason: str = Field(default="", description="why it was rejected, rule and detail, for people and the teacher")

    def rejected(self, kind: RejectionKind, detail: str) -> Self:
        """The same sample with this verdict."""
        return self.model_copy(update={"status": "rejected", "kind": kind, "reason": f"{kind}: {detail}"})


class Batch(Record):
    """What is generated together: at most `wanted` rows from one strategy, one group of training errors or one training row.

    `seed_ids` are the training rows that are shown; the one that a batch is written from is the first.
    """

    id: str
    branch: Branch
    strategy_id: str = ""
    seed_ids: list[str]
    wanted: int = Field(ge=1)
    focus: str = Field(default="", description="the strategy's feature that this batch is about; each sample must show it")
    attempt: int = 0
    refused: list[str] = Field(default_factory=list, description="replies of this attempt that were no rows, and why")
    unwritten: dict[UnwrittenKind, int] = Field(
        default_factory=dict, description="why -> rows asked for, in any attempt, that never came"
    )
    samples: list[Sample] = Field(default_factory=list)
    scores: dict[str, float] = Field(default_factory=dict, description="judge's dimensions, mean over what was judged")
    feedback: str = Field(default="", description="what the next attempt is told beside its samples' reasons")
    status: Literal["open", "done", "exhausted"] = "open"
    refill_of: str = Field(default="", description="the exhausted batch this one replaces, with other seeds")

    @property
    def accepted(self) -> list[SyntheticRow]:
        """Rows that passed quality control."""
        return [s.row for s in self.samples if s.status == "accepted"]

    @property
    def missing(self) -> int:
        """How many rows are still wanted."""
        return max(0, self.wanted - len(self.accepted))
