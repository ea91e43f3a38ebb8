"""Finds a task by name."""

from importlib import import_module
from pathlib import Path

from pada_agent.components.core.errors import InputError
from pada_agent.components.core.prompts import Prompts
from pada_agent.components.core.records import Fields
from pada_agent.components.core.tasks.task import Task

TASKS = {
    "squad": "Squad",
    "arc_challenge": "ArcChallenge",
    "hellaswag": "HellaSwag",
    "gsm8k": "Gsm8k",
    "humaneval": "HumanEval",
    "text_to_sql": "TextToSql",
    "custom": "Custom",
}


def load_task(name: str, options: Fields, assets: Path | None = None) -> Task:
    """The task `name`, with the prompts that came with the data.

    Raises InputError for a name that is not in the table or options it does not take.
    """
    task = task_class(name)(options, assets)
    task.prompts = Prompts.beside(assets)
    return task


def task_class(name: str) -> type[Task]:
    """The class of the task `name`. Raises InputError for a name that is not in the table."""
    if name not in TASKS:
        raise InputError(f"task.name: there is no task '{name}'; there are {', '.join(TASKS)}")
    found: type[Task] = getattr(import_module(f"pada_agent.components.core.tasks.{name}"), TASKS[name])
    return found
