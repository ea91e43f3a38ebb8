"""Reads a study's YAML file: which tasks, training sizes, methods and seeds are compared.

    tasks:
      sql: ../examples/text_to_sql/config.yaml              # the file of a run's config
      squad: {config: squad.yaml, regimes: [300], slm: {max_length: 512}}       # with changes; or its sections here
    settings: {teacher: {model: another}}         # changes of every task
    regimes: [300, 600, 1000]                     # training rows: the first of one seeded order, so each is in the next; 0: all
    methods: [pada, pada_without_patterns]        # or a mapping: name -> its changes of settings
    seeds: [0, 1, 2]
    iterations: 3

The file of a run is a study too: of one task, its own training size and the method pada.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import Section, Settings
from pada_agent.components.core.validation import validation_message
from pada_agent.pipelines.config import located, read_config
from pada_agent.pipelines.study.methods import ALWAYS, PADA, Changes, WrongMethod, changes_of, merged
from pada_agent.pipelines.yaml_file import place, read_yaml, told, validated

SEEDS = (0, 1, 2)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def _folder_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} names a folder: use letters, digits, _, - and .")
    return name


def _once_each(values: list[int]) -> list[int]:
    if len(set(values)) != len(values):
        raise ValueError("each must occur once")
    return values


def _named(value: Any) -> Any:
    """A list of names changes nothing; so does a name without anything behind it."""
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        if len(set(value)) != len(value):
            raise ValueError("each must occur once")
        return {name: {} for name in value}
    return {name: changes or {} for name, changes in value.items()} if isinstance(value, dict) else value


Name = Annotated[str, AfterValidator(_folder_name)]
Numbers = Annotated[list[Annotated[int, Field(ge=0)]], AfterValidator(_once_each)]


class TaskEntry(BaseModel):
    """One task: a config's file, changes of it, or all of its sections; and its own regimes, if it has others."""

    model_config = ConfigDict(extra="allow", frozen=True)

    config: str = ""
    regimes: Numbers = []

    @model_validator(mode="before")
    @classmethod
    def _file(cls, value: Any) -> Any:
        return {"config": value} if isinstance(value, str) else value

    @property
    def sections(self) -> dict[str, Any]:
        """The settings' sections that it has."""
        return dict(self.model_extra or {})


class StudyFile(Section):
    """A study file as it is written."""

    tasks: dict[Name, TaskEntry] = Field(min_length=1)
    settings: dict[str, Any] = Field(default_factory=dict, description="changes of every task's settings")
    regimes: Numbers = Field(default=[], description="training rows; 0 is all; empty: as each task's config says")
    methods: Annotated[dict[Name, dict[str, Any]], BeforeValidator(_named)] = Field(default={PADA: {}})
    seeds: Numbers = Field(default=list(SEEDS), min_length=1)
    iterations: int | None = Field(default=None, ge=1, le=20, description="of every method; empty: as each task's config says")
    jobs: int = Field(
        default=1, ge=1, description="runs at a time, each with its share of the cores and one GPU, if there are any"
    )


@dataclass(frozen=True)
class Study:
    """A study as resolved: the settings of each task, of each method's changes of them, and what is varied."""

    tasks: Mapping[str, Mapping[str, Settings]]  # by task: `vanilla`, then each method -> settings, but for regime and seed
    regimes: Mapping[str, Sequence[int]]  # by task
    methods: Sequence[str]  # without those that are always there
    seeds: Sequence[int]
    jobs: int = 1

    def settings(self, task: str, regime: int, method: str, seed: int) -> Settings:
        """Those of one run."""
        base = self.tasks[task][method]
        return base.model_copy(update={"task": base.task.model_copy(update={"train_size": regime}), "seed": seed})


def is_study(file: Path) -> bool:
    """Whether a file is a study's, not a run's. Raises InputError for one that is no YAML mapping."""
    return "tasks" in read_yaml(file, "--config", "tasks, methods, seeds")


def read_study(file: Path, seeds: Sequence[int] = (), jobs: int = 0) -> Study:
    """The study in `file`, with other `seeds` and `jobs` if they are given. Raises InputError that names file and line."""
    values = read_yaml(file, "--config", "tasks, methods, seeds")
    if "tasks" in values:
        return resolved(validated(values, StudyFile, file), file, seeds, jobs)
    settings = read_config(file)
    both = {name: _varied(settings, None) for name in ("vanilla", PADA)}
    name = settings.task.name
    return Study({name: both}, {name: [settings.task.train_size]}, [PADA], list(seeds or SEEDS), jobs or 1)


def resolved(study: StudyFile, file: Path, seeds: Sequence[int] = (), jobs: int = 0) -> Study:
    """Every task with every method's changes, checked before anything runs."""
    try:
        changes = {name: changes_of(name, own) for name, own in study.methods.items() if name not in ALWAYS or own}
    except WrongMethod as e:
        raise InputError(f"{place(file, ('methods', *e.at))}: {e}") from e
    if not changes:
        raise InputError(f"{place(file, ('methods',))}: methods: name at least one beside {', '.join(ALWAYS)}")
    tasks: dict[str, dict[str, Settings]] = {}
    for name, entry in study.tasks.items():
        layers = _Layers(file, name, entry, study.settings)
        tasks[name] = {"vanilla": _varied(layers.settings("", {}), study.iterations)}
        for method, own in changes.items():
            tasks[name][method] = _varied(layers.settings(method, own), study.iterations)
            if tasks[name][method].scorer != tasks[name]["vanilla"].scorer:
                raise InputError(
                    f"{place(file, ('methods', method))}: methods.{method}: changes who scores the answers of {name}, and all "
                    "methods are to be scored by one: give `scorer` a model and base_url of its own in place of a word"
                )
    regimes = {
        name: entry.regimes or study.regimes or [tasks[name]["vanilla"].task.train_size] for name, entry in study.tasks.items()
    }
    return Study(tasks, regimes, list(changes), list(seeds or study.seeds), jobs or study.jobs)


@dataclass(frozen=True)
class _Layers:
    """What a task's settings are made of: its config's file, the study's changes of all, the task's own."""

    file: Path
    name: str
    entry: TaskEntry
    for_all: Changes

    def settings(self, method: str, changes: Changes) -> Settings:
        """All layers together. Raises InputError that names the place of the first thing wrong."""
        base: Changes = {}
        if self.entry.config:
            config = self.file.resolve().parent / Path(self.entry.config).expanduser()
            base = read_config(config).model_dump(mode="json")
        layers = {("settings",): self.for_all, ("tasks", self.name): self.entry.sections, ("methods", method): changes}
        try:
            return located(Settings.model_validate(merged(base, *layers.values())), self.file)
        except ValidationError as e:
            # The last layer that says it; what is missing none says, but perhaps its section.
            depths = {at: _depth(layer, told(e)) for at, layer in layers.items()}
            where = max(reversed(depths), key=lambda at: depths[at]) if any(depths.values()) else ("tasks", self.name)
            at = place(self.file, (*where, *told(e)))
            raise InputError(f"{at}: {'.'.join(where)}: {validation_message(e, Settings)}") from e


def _depth(layer: Any, location: Sequence[int | str]) -> int:
    """How many steps of the way to a place there are in a layer."""
    for depth, part in enumerate(location):
        if not isinstance(layer, Mapping) or part not in layer:
            return depth
        layer = layer[part]
    return len(location)


def _varied(settings: Settings, iterations: int | None) -> Settings:
    """What a study sets in all runs: the baseline of as many steps is part of it."""
    loop = settings.loop if iterations is None else settings.loop.model_copy(update={"iterations": iterations})
    return settings.model_copy(update={"step_matched": True, "loop": loop})
