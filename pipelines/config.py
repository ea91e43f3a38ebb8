"""Reads a run's YAML file into Settings; errors name the file, the key and the line.

    task: {name: text_to_sql, train: train.jsonl, validation: validation.jsonl, test: test.jsonl}
    slm: {model: HuggingFaceTB/SmolLM2-135M-Instruct}
    teacher: {model: qwen2.5-coder-1.5b-instruct, base_url: embedded}
    ...

A relative path is taken from the file's own folder, so that a run can be started from anywhere.
"""

import re
from pathlib import Path
from typing import Any

from pada_agent.components.core.settings import Settings
from pada_agent.pipelines.yaml_file import read_yaml, validated

_DATA = ("train", "validation", "selection", "test")
_OPTION_FILE = re.compile(r"([^{}\n]*[^{}\n/]\.[a-zA-Z]\w{0,6})(?::\w+)?")
_DATA_SUFFIXES = (".jsonl", ".json", ".parquet", ".gz", ".csv")


def read_config(file: Path, seed: int | None = None) -> Settings:
    """The settings in `file`, with `seed` in place of its own if given. Raises InputError in one line."""
    values = read_yaml(file, "--config", "task, slm, teacher, judge")
    if seed is not None:
        values["seed"] = seed
    settings = validated(values, Settings, file)
    folder = file.resolve().parent
    task = settings.task
    data = {name: _resolve(folder, getattr(task, name), data=True) for name in _DATA}
    options = {key: _option(folder, value) for key, value in task.options.items()}

    def located(section: Any) -> Any:
        return section.model_copy(update={"model": _resolve(folder, section.model)})

    return settings.model_copy(
        update={
            "task": task.model_copy(update={**data, "options": options}),
            **{name: located(getattr(settings, name)) for name in ("slm", "teacher", "judge", "embedding")},
        }
    )


def local_files(settings: Settings) -> dict[str, Path]:
    """The user's own files that the task's settings name, by key: what prepare_data reads from this machine."""
    task = settings.task
    data = {name: Path(getattr(task, name)) for name in _DATA if getattr(task, name)}
    options = {f"options.{key}": Path(name) for key, value in task.options.items() if (name := _file_in(value))}
    return {key: path for key, path in (data | options).items() if path.is_absolute()}


def _resolve(folder: Path, value: str, data: bool = False) -> str:
    """A path made absolute from the config's folder. What is no path (a URI, a hub id, a name) is left alone."""
    if not value or "://" in value:
        return value
    path = folder / Path(value).expanduser()
    meant_as_path = value.startswith(("./", "../", "~")) or (data and Path(value).suffix in _DATA_SUFFIXES)
    return str(path.resolve()) if meant_as_path or path.exists() else value


def _option(folder: Path, value: Any) -> Any:
    """An option of the task made absolute if it names a file in the config's folder, with or without `:function`."""
    name = _file_in(value)
    if not name or not (folder / name).is_file():
        return value
    return str((folder / name).resolve()) + value[len(name) :]


def _file_in(value: Any) -> str:
    """`shop.sql` of `shop.sql`, `scorer.py` of `scorer.py:close`; '' where there is no such ending."""
    option = _OPTION_FILE.fullmatch(value) if isinstance(value, str) else None
    return option[1] if option else ""
