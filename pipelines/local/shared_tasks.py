"""Finished tasks that several runs have in common: what one has trained or evaluated, the others take over.

    shared/5f0c2b.../ ...      the folder of a finished task, under its key
    shared/5f0c2b....lock      held by the run that works on it
    shared/5f0c2b....half      left where a process was killed; replaced by the next

A key is a hash of all that a task reads (run_directory.py), so equal keys are equal work. Files are linked, not copied: stages
replace files and never change them in place.

In an object store the folder of a task has a manifest.json, written last, that says what belongs to it (remote_run.py). No lock
is held there: two runs that do the same work at once both do it, and one of them is taken over by those that come later.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from pada_agent.components.backends.files import below, replace, room_at, safe_name
from pada_agent.components.backends.progress import notice
from pada_agent.components.backends.store.objects import read, write
from pada_agent.components.backends.store.transfer import fetch, put
from pada_agent.components.backends.temporary import OwnFolder
from pada_agent.pipelines.local.remote_run import MANIFEST, UNFINISHED, Manifest, manifest_of, parsed_manifest
from pada_agent.pipelines.local.run_directory import TaskFolder

# What LLMs wrote is a run's own, and so is its state, which says where its adapters lie. But equal answers are to have one score.
SHARED_STAGES = frozenset({"prepare_data", "train_lora", "evaluate_slm", "score_answers"})


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


class SharedTasksInStore(SharedTasks):
    """The same at a URI."""

    def __init__(self, uri: str) -> None:
        self._uri = uri.rstrip("/")

    @contextmanager
    def held(self, key: str) -> Iterator[None]:
        """Nobody waits."""
        yield

    def take(self, key: str, task: TaskFolder) -> bool:
        """Put the finished task with this key where `task` is; whether there is a whole one."""
        manifest = self._manifest(key)
        if manifest is None:
            return False
        with OwnFolder(f".{key}.taken-", task.path.parent) as work:
            copy = fetch(f"{self._uri}/{key}", work)
            for name in manifest["folders"]:
                below(copy, safe_name(name, self._uri), self._uri).mkdir(parents=True, exist_ok=True)
            (copy / MANIFEST).unlink()
            if manifest_of(copy) != manifest:
                notice(f"{self._uri}/{key}: incomplete; the task runs again")
                write(f"{self._uri}/{key}/{MANIFEST}", UNFINISHED)
                return False
            replace(copy, task.path)
        return True

    def give(self, key: str, task: TaskFolder) -> None:
        """Keep a finished task for others, unless they have one."""
        if self._manifest(key) is None:
            put(task.path, f"{self._uri}/{key}")
            write(f"{self._uri}/{key}/{MANIFEST}", json.dumps(manifest_of(task.path), indent=1).encode())

    def _manifest(self, key: str) -> Manifest | None:
        return parsed_manifest(read(f"{self._uri}/{key}/{MANIFEST}"))


def open_shared(place: Path | str) -> SharedTasks:
    """Those in a folder or at a URI."""
    return SharedTasksInStore(str(place)) if "://" in str(place) else SharedTasks(Path(place))


def _linked(source: str, place: str) -> None:
    try:
        os.link(source, place)
    except OSError:  # a file system without links
        shutil.copy2(source, place)
