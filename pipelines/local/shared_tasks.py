"""Finished tasks that several runs have in common: what one has trained or evaluated, the others take over.

    shared/5f0c2b.../ ...      the folder of a finished task, under its key
    shared/5f0c2b....lock      held by the run that works on it
    shared/5f0c2b....half      left where a process was killed; replaced by the next

A key is a hash of all that a task reads (run_directory.py), so equal keys are equal work. Files are linked, not copied: stages
replace files and never change them in place.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from pada_agent.components.backends.files import room_at
from pada_agent.pipelines.local.run_directory import TaskFolder

# What LLMs answered is a run's own, and so is its state, which says where its adapters lie.
SHARED_STAGES = frozenset({"prepare_data", "train_lora", "evaluate_slm"})


class SharedTasks:
    """A folder of finished tasks on the disk of the runs; several processes may use it at once, each while it holds a key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    @contextmanager
    def held(self, key: str) -> Iterator[None]:
        """Wait until no other run works on this task, and keep others waiting; it ends with the process, however that ends."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder / f"{key}.lock"):
            yield

    def take(self, key: str, task: TaskFolder) -> bool:
        """Put the finished task with this key where `task` is; whether there is one."""
        there = self._finished(key)
        if there:
            self._link(key, self._folder / key, task.path)
        return there

    def give(self, key: str, task: TaskFolder) -> None:
        """Keep a finished task for others, unless they have one like it."""
        if not self._finished(key):
            self._link(key, task.path, self._folder / key)

    def _finished(self, key: str) -> bool:
        return TaskFolder(self._folder / key).finished(key)

    def _link(self, key: str, source: Path, place: Path) -> None:
        """The folder appears whole, in one moment, or not at all."""
        half = self._folder / f"{key}.half"
        for old in (half, place):
            shutil.rmtree(old, ignore_errors=True)
        with room_at(half):
            shutil.copytree(source, half, copy_function=_linked)
        half.rename(place)


def _linked(source: str, place: str) -> None:
    try:
        os.link(source, place)
    except OSError:  # a file system without links
        shutil.copy2(source, place)
