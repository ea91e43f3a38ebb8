"""A study as a package carries it: one JSON object, small, since Kubernetes keeps several copies of what a task is given.

{"methods": ["pada", "auggpt"], "seeds": [0, 1, 2], "regimes": {"sql": [300, 600]},
 "settings": {"sql": {"task": {"name": "text_to_sql", "train": "gs://..."}, ...}},          what differs from the defaults
 "changes": {"sql": {"pada": {"generate": {"method": "pada"}}, "auggpt": {...}}}}           and of each method from those
"""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import Section, Settings
from pada_agent.components.core.validation import validation_message
from pada_agent.pipelines.study.methods import merged
from pada_agent.pipelines.study.outcomes import VANILLA
from pada_agent.pipelines.study.study_file import Study

Values = dict[str, Any]


class Packed(Section):
    """The object."""

    methods: list[str] = Field(min_length=1)
    seeds: list[int] = Field(min_length=1)
    regimes: dict[str, list[int]] = Field(min_length=1)
    settings: dict[str, Values]
    changes: dict[str, dict[str, Values]]


def pack(study: Study) -> Values:
    """The object that `unpack` makes the same study of, but for its jobs."""
    base = {task: of[VANILLA].model_dump(mode="json", exclude_defaults=True) for task, of in study.tasks.items()}
    changes = {task: {name: _changes(of[VANILLA], of[name]) for name in study.methods} for task, of in study.tasks.items()}
    regimes = {task: list(sizes) for task, sizes in study.regimes.items()}
    packed = Packed(methods=list(study.methods), seeds=list(study.seeds), regimes=regimes, settings=base, changes=changes)
    return packed.model_dump(mode="json")


def unpack(values: Any) -> Study:
    """The study. Raises InputError for what is none."""
    try:
        packed = Packed.model_validate(values)
    except ValidationError as e:
        raise InputError(f"study: {validation_message(e, Packed)}; write the package again with `pada compile`") from e
    tasks = {}
    for task in packed.regimes:
        if task not in packed.settings or packed.changes.get(task, {}).keys() != set(packed.methods):
            raise InputError(f"study: task {task} lacks settings, or changes of a method; write it again with `pada compile`")
        layers = {VANILLA: {}, **packed.changes[task]}
        tasks[task] = {name: _settings(f"{task}, {name}", packed.settings[task], own) for name, own in layers.items()}
    return Study(tasks, packed.regimes, packed.methods, packed.seeds)


def _settings(whose: str, base: Values, changes: Values) -> Settings:
    try:
        return Settings.model_validate(merged(base, changes))
    except ValidationError as e:
        raise InputError(f"study: settings of {whose}: {validation_message(e, Settings)}") from e


def _changes(base: Settings, other: Settings) -> Values:
    return _differing(base.model_dump(mode="json"), other.model_dump(mode="json"))


def _differing(base: Mapping[str, Any], other: Mapping[str, Any]) -> Values:
    """What `merged` must lay over the one to get the other."""
    found: Values = {}
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), Mapping):
            if inner := _differing(base[key], value):
                found[key] = inner
        elif key not in base or base[key] != value:
            found[key] = value
    return found
