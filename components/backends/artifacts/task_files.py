"""Opens a task whose settings name files, wherever these are: text_to_sql's database at s3://, prompts on a volume."""

import shutil
from pathlib import Path

from pada_agent.components.backends.artifacts.prompt_files import read_prompts
from pada_agent.components.backends.store.transfer import fetch
from pada_agent.components.backends.temporary import OwnFolder
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.prompts import Prompts
from pada_agent.components.core.settings import TaskSettings
from pada_agent.components.core.tasks.registry import load_task, task_class
from pada_agent.components.core.tasks.task import Task


def open_task(settings: TaskSettings, prompts: str = "") -> Task:
    """The task with the files that its options name, and the prompts in a folder. Raises InputError that names the key."""
    own = Prompts(read_prompts(prompts)) if prompts else Prompts()
    task = _with_files(settings)
    task.prompts = own
    return task


def _with_files(settings: TaskSettings) -> Task:
    files = task_class(settings.name).option_files(settings.options)
    if not files:
        return load_task(settings.name, settings.options)
    with OwnFolder("pada-task-files-") as scratch:
        assets = scratch / "assets"
        assets.mkdir()
        for option, file in files.items():
            _bring(f"task.options.{option}", file.address, scratch / option, assets / file.asset)
        return load_task(settings.name, settings.options, assets)


def _bring(key: str, address: str, scratch: Path, asset: Path) -> None:
    try:
        found = fetch(address, scratch)
    except InputError as e:
        raise InputError(f"{key}: {e}") from e
    if not found.is_file():
        raise InputError(f"{key}: {address} is a folder; name the file")
    shutil.copyfile(found, asset)
