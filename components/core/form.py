"""The fields of the form that starts a run on a cluster: what people change, one setting each; `settings` holds the rest.

iterations   loop.iterations   a whole number, 3 if not given
slm          slm.model         text, must be given
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import Settings


@dataclass(frozen=True)
class Field:
    """`key` is the place of its setting, which has type and default; `says` is what a person reads beside it."""

    key: str
    says: str

    @property
    def kind(self) -> type:
        """str, int or float."""
        kind = self._setting.annotation
        assert isinstance(kind, type), f"{self.key} is no plain value"
        return kind

    @property
    def default(self) -> Any:
        """The setting's own; None where it must be given."""
        return None if self._setting.is_required() else self._setting.default

    @property
    def _setting(self) -> FieldInfo:
        *sections, name = self.key.split(".")
        model: Any = Settings
        for section in sections:
            model = model.model_fields[section].annotation
        setting: FieldInfo = model.model_fields[name]
        return setting


_ROWS = "URI in a store, owner/name#split on the hub, or path on a mounted volume"
FIELDS: dict[str, Field] = {
    "task": Field("task.name", "squad, arc_challenge, hellaswag, gsm8k, humaneval, text_to_sql or custom"),
    "train": Field("task.train", f"training rows, JSONL, JSON, CSV, TSV or Parquet: {_ROWS}"),
    "validation": Field("task.validation", "validation rows, given as `train` is; the patterns of failure are found there"),
    "test": Field("task.test", "test rows, given as `train` is; only the report reads what is answered there"),
    "train_size": Field("task.train_size", "how many training rows are used; 0 is all"),
    "slm": Field("slm.model", "the small language model: hub id, URI in a store, or path on a mounted volume"),
    "teacher": Field("teacher.model", "the teacher, as its endpoint calls the model"),
    "teacher_url": Field("teacher.base_url", "the teacher's endpoint, which speaks the OpenAI API; empty is OpenAI's own"),
    "judge": Field("judge.model", "the judge, another model than the teacher, as its endpoint calls it"),
    "judge_url": Field("judge.base_url", "the judge's endpoint, given as `teacher_url` is"),
    "iterations": Field("loop.iterations", "how often at most patterns are found and trained against"),
    "seed": Field("seed", "of everything random, but not of the splits: runs of several seeds share theirs"),
    "budget_usd": Field("budget.usd", "most that the LLMs may cost, by the prices in `settings`; 0 is no limit"),
}
# What prepare_data takes of one setting each: the fields, and what a package knows of its own tasks.
SETTING_OF = {name: field.key for name, field in FIELDS.items()} | {
    "teacher_key": "teacher.api_key_env",
    "judge_key": "judge.api_key_env",
}


def filled_in(settings: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with what is `given`, by the names of SETTING_OF. Raises InputError where the two say different things."""
    whole = deepcopy(dict(settings))
    differ = []
    for name, value in given.items():
        key = SETTING_OF[name]
        *sections, last = key.split(".")
        place = whole
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise InputError(f"settings.{section}: is {place!r}; give an object there, or leave it out")
        if place.setdefault(last, value) != value:
            differ.append(f"{name} is {value!r} and settings.{key} {place[last]!r}")
    if differ:
        raise InputError(f"{'; '.join(differ)}; say it in one place: leave it out of settings")
    return whole


def parameters_of(settings: Settings, fields: Iterable[str] = FIELDS) -> dict[str, Any]:
    """The same run as values of `fields`, and as `settings` what is in none of them and differs from its default."""
    whole, rest = settings.model_dump(mode="json"), settings.model_dump(mode="json", exclude_defaults=True)
    values = {name: _taken(whole, FIELDS[name].key) for name in fields}
    for name in values:
        _taken(rest, FIELDS[name].key)
    return {**values, "settings": {name: part for name, part in rest.items() if part != {}}}


def _taken(values: dict[str, Any], key: str) -> Any:
    """The value at the key, which is taken out."""
    section, _, last = key.rpartition(".")
    return (values.get(section, {}) if section else values).pop(last, None)
