"""The one table of stages, and of what else a package runs: whatever runs, compiles, places, estimates or tests them reads it.

A new stage is a folder beside this file (CONTRIBUTING.md tells what is in it) and an entry here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pada_agent.components.core import settings as sections
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import AnalyzePatterns, ControlSettings, PlannedFor, Role, Section, Settings


@dataclass(frozen=True)
class Resources:
    """What a task in an image may use: requested and at most. LLM stages wait for an endpoint; `slm` holds a 7B in bf16."""

    cpu: tuple[str, str]
    memory: tuple[str, str]
    timeout_seconds: int
    gpu: bool = False


_SLM = Resources(("4", "8"), ("16Gi", "32Gi"), 24 * 3600, gpu=True)
IMAGES = {
    "agents": Resources(("1", "2"), ("1Gi", "4Gi"), 6 * 3600),  # no torch
    "analysis": Resources(("2", "4"), ("4Gi", "8Gi"), 6 * 3600),  # Parquet, embeddings
    "slm": _SLM,
    "study": _SLM,  # a cell of a study: all stages in one container
}
BUILT_ON = {"study": "slm"}  # what is said of the one holds for the other


@dataclass(frozen=True)
class Retry:
    """How often a task that failed is started again, and how many seconds Kubeflow waits before the first time."""

    count: int = 3
    backoff_seconds: int = 60
    factor: int = 2  # of each wait to the one before; Argo takes whole numbers


@dataclass(frozen=True)
class Ports:
    """Input artifacts: the required and the optional ones."""

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()

    def check(self, given: set[str], who: str) -> None:
        """Raises InputError for an artifact that is missing, or that `who` does not take."""
        if missing := [name for name in self.needed if name not in given]:
            raise InputError(f"{who} needs the input artifact '{missing[0]}'")
        if unknown := sorted(given.difference(self.needed, self.optional)):
            takes = ", ".join((*self.needed, *self.optional))
            raise InputError(f"{who} does not take the input artifact '{unknown[0]}'; it takes {takes}")


@dataclass(frozen=True)
class Stage:
    """What there is to know of a stage without running it."""

    settings: type[Section]  # Section itself has none
    image: str
    inputs: Ports
    outputs: tuple[str, ...]  # artifacts
    values: tuple[str, ...]  # output parameters
    may_lack: tuple[str, ...] = ()  # outputs that it writes only where they are asked for
    steps: Mapping[str, Ports] = field(default_factory=dict)  # where a parameter `step` decides what comes in
    llm: Role | None = None  # whom it asks: it gets that key, and a ledger keeps what was paid
    solves: bool = False  # it may ask the teacher too: control.verdict, solve and solver say whom it asks
    scores: bool = False  # it may ask whom the setting `scorer` names, teacher and judge among them
    hub: bool = False  # it may fetch models or rows from a hub: it gets the hub's token
    models: bool = False  # it loads models: the model cache is mounted
    checkpoints: bool = False  # it takes `checkpoint_uri`
    exports: bool = False  # it takes `export_uri`
    by_gpu: bool = False  # it may be started once for each GPU, and they share the work
    unread: tuple[str, ...] = ()  # what is in its inputs for others; a folder ends with a slash
    retry: Retry = Retry()
    looks: bool = False  # it asks the store what is there already
    program: str = ""  # the module that its container runs, where that is no stage's

    @property
    def cached(self) -> bool:
        """Whether a pipeline may take the results of an earlier task with the same inputs.

        prepare_data is given what lies at its addresses; an LLM gives the same answers, from the ledger that the inputs name. An
        export is an effect outside of the results, so that it must not be skipped; what lies in a store is no input.
        """
        return not (self.exports or self.looks)

    @property
    def keys(self) -> tuple[Role, ...]:
        """Whose keys it must be given, whatever a run's settings are."""
        asked = (self.llm,) if self.llm and self.llm != "scorer" else ()
        return tuple(dict.fromkeys((*asked, *(("teacher",) if self.solves else ()))))

    @property
    def optional_keys(self) -> tuple[Role, ...]:
        """Whose keys it gets too, where there are such: settings say which one it needs."""
        roles: tuple[Role, ...] = ("scorer", "judge", "teacher") if self.scores else ()
        return tuple(role for role in roles if role not in self.keys)

    def asks(self, settings: Mapping[str, Any]) -> tuple[Role, ...]:
        """Whom it asks under these settings, sections by name."""
        if self.llm == "scorer":
            return ("scorer",) if settings["scorer"] else ()
        return ControlSettings.model_validate(settings["control"]).asked if self.solves else self.keys

    @property
    def resources(self) -> Resources:
        """The resources of its image."""
        return IMAGES[self.image]

    def sections(self, settings: Settings) -> dict[str, Any]:
        """The sections it reads, as JSON-ready values: its `settings` parameter where a runner gives it one.

        It gets no others, so that on one machine a change of one section leaves the results of other stages valid.
        """
        sections = settings.model_dump(mode="json", include=set(self.settings.model_fields))
        if issubclass(self.settings, AnalyzePatterns):
            sections["generate"] = PlannedFor.values(sections["generate"])
        return sections


_FOR_AGENTS = ("train_data/manifest.json", "train_data/assets/prompts/")
LAST_STEP = "step_matched"  # of update_state: nothing follows it
_EVALUATED = ("adapter", "predictions", "report_predictions")
_STEPS = {
    "start": Ports(("train_data", *_EVALUATED), ("baseline_report_predictions",)),
    "merge": Ports(("train_data", "previous_state", "analyses", "checked_batches")),
    "score": Ports(("train_data", "previous_state", *_EVALUATED)),
    "step_matched": Ports(("train_data", "previous_state", "adapter", "report_predictions"), ("predictions",)),
}

STAGES: dict[str, Stage] = {
    "prepare_data": Stage(
        settings=sections.PrepareData,
        image="analysis",
        inputs=Ports(()),
        outputs=("train_data", "heldout_data"),
        values=("train_rows",),
        hub=True,
        models=True,  # the cache holds data sets of a hub too
    ),
    "train_lora": Stage(
        settings=sections.TrainLora,
        image="slm",
        inputs=Ports(("train_data",), ("synthetic_data",)),
        outputs=("adapter",),
        values=("steps",),
        hub=True,
        models=True,
        checkpoints=True,
        by_gpu=True,
        unread=_FOR_AGENTS,
    ),
    "evaluate_slm": Stage(
        settings=sections.EvaluateSlm,
        image="slm",
        inputs=Ports(("train_data",), ("heldout_data", "adapter")),
        outputs=("predictions", "report_predictions"),
        may_lack=("predictions", "report_predictions"),
        values=("validation_accuracy",),
        models=True,  # but no token of a hub: it runs code that a model wrote
        unread=_FOR_AGENTS,
    ),
    "score_answers": Stage(
        settings=sections.ScoreAnswers,
        image="agents",
        inputs=Ports(("train_data", "report_answers"), ("answers", "state", "scored")),
        outputs=("predictions", "report_predictions"),
        may_lack=("predictions",),
        values=("validation_accuracy",),
        llm="scorer",
        scores=True,
    ),
    "analyze_patterns": Stage(
        settings=sections.AnalyzePatterns,
        image="analysis",
        inputs=Ports(("predictions", "train_data"), ("state",)),
        outputs=("analyses", "plan"),
        values=("patterns", "training_errors"),
        llm="teacher",
        hub=True,
        models=True,
    ),
    "generate_data": Stage(
        settings=sections.GenerateData,
        image="agents",
        inputs=Ports(("train_data",), ("plan", "checked_batches")),
        outputs=("batches",),
        values=("open_batches",),
        llm="teacher",
    ),
    "control_quality": Stage(
        settings=sections.ControlQuality,
        image="agents",
        inputs=Ports(("train_data", "batches"), ("synthetic_data",)),
        outputs=("checked_batches",),
        values=("accepted", "open_batches"),
        llm="judge",
        solves=True,
    ),
    "update_state": Stage(
        settings=sections.UpdateState,
        image="agents",
        inputs=Ports(
            ("train_data",),
            tuple(
                dict.fromkeys(name for step in _STEPS.values() for name in step.needed + step.optional if name != "train_data")
            ),
        ),
        outputs=("state", "synthetic_data", "report_so_far"),
        may_lack=("synthetic_data",),
        values=("go_on", "step_matched"),
        steps=_STEPS,
        exports=True,
    ),
    "publish_result": Stage(
        settings=Section,  # none: it also runs where prepare_data failed
        image="agents",
        inputs=Ports(()),
        outputs=("report", "metrics", "adapter"),
        values=(),
        exports=True,
    ),
}


# What a study's package runs: no stages, since each follows whole runs (pipelines/study/cluster).
STUDY_PROGRAMS: dict[str, Stage] = {
    "study_plan": Stage(
        settings=Section,
        image="analysis",
        inputs=Ports(()),
        outputs=("plan",),
        values=("cells",),
        looks=True,
        program="pada_agent.pipelines.study.cluster.plan",
    ),
    "study_cell": Stage(
        settings=Section,
        image="study",
        inputs=Ports(("plan",)),
        outputs=("facts",),
        values=(),
        llm="judge",
        solves=True,  # that is, it gets both keys
        scores=True,
        hub=True,
        models=True,
        looks=True,
        program="pada_agent.pipelines.study.cluster.run_cell",
    ),
    "study_tables": Stage(
        settings=Section,
        image="analysis",
        inputs=Ports(()),
        outputs=("facts", "tables", "page"),
        values=(),
        looks=True,
        program="pada_agent.pipelines.study.cluster.make_tables",
    ),
}
CONTAINERS = STAGES | STUDY_PROGRAMS  # whatever a package may run
MODULES = {of.program or f"pada_agent.components.{name}": name for name, of in CONTAINERS.items()}

LLM_STAGES = tuple(name for name, stage in STAGES.items() if stage.llm)
