"""Reads a run's YAML file into Settings; errors name the file, the key and the line.

    task: {name: text_to_sql, train: train.jsonl, validation: validation.jsonl, test: test.jsonl}
    slm: {model: HuggingFaceTB/SmolLM2-135M-Instruct}
    teacher: {model: qwen2.5-coder-1.5b-instruct, base_url: embedded}
    ...

A relative path is taken from the file's own folder, so that a run can be started from anywhere.
"""

from pathlib import Path

from pada_agent.components.core.addresses import Address, is_rows, moved
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.methods.method import check_transfer, load_method
from pada_agent.components.core.quality.rules import check_judge
from pada_agent.components.core.settings import Settings
from pada_agent.components.core.tasks.answer_first import check_order
from pada_agent.components.core.tasks.registry import task_class
from pada_agent.pipelines.yaml_file import read_yaml, validated


def read_config(file: Path, seed: int | None = None) -> Settings:
    """The settings in `file`, with `seed` in place of its own if given. Raises InputError in one line."""
    values = read_yaml(file, "--config", "task, slm, teacher, judge")
    if seed is not None:
        values["seed"] = seed
    return located(validated(values, Settings, file), file)


def located(settings: Settings, file: Path) -> Settings:
    """The settings with paths that are relative to `file` made absolute. Raises InputError for what the task does not take."""
    folder = file.resolve().parent
    try:
        if settings.generate.order:
            check_order(task_class(settings.task.name), settings.generate.order)
        check_transfer(settings.analyze, settings.generate.method, settings.generate.pattern_share > 0)
        method = load_method(settings.generate.method)
        check_judge(settings.teacher, settings.judge, method.checked_by(settings.control))
        return resolved(settings, folder)
    except InputError as e:
        raise InputError(f"{file}: {e}") from e


def resolved(settings: Settings, folder: Path) -> Settings:
    """The settings with paths made absolute from `folder`. Raises InputError for a task that there is not."""
    return moved(settings, lambda address: _located(folder, address))


def _located(folder: Path, address: Address) -> str:
    """A path made absolute from the config's folder. What is no path (a URI, a hub id) is left alone."""
    if address.is_uri or address.is_path:
        return address.value
    path = folder / Path(address.value).expanduser()
    meant = address.kind in ("file", "folder", "run") or address.value.startswith(("./", "../", "~"))
    meant = meant or (address.kind == "rows" and is_rows(path.name))
    return str(path.resolve()) if meant or path.exists() else address.value
