"""A run directory on gs:// or s3://: a working copy here, and at the URI all that another machine needs to go on.

    gs://bucket/runs/a/
      settings.json  latest_state  report.html  report.json
      01-prepare/ ...                   as here; then manifest.json, written last: the task is whole
      ledger/analyze_patterns/ ...      paid calls go here and nowhere else
      checkpoints/train-1-5f0c.../      of a training under way
      events/here/ ...                  what stages tell of themselves while they run
      lease/000001.json                 who runs

    manifest.json                       {"files": {"task.json": "<SHA-256>", ...}, "folders": ["plan", ...]}

The working copy is `$PADA_RUNS`/<hash of the URI>. What was edited or finished in it since it last matched the URI goes
there; what another machine wrote since replaces the copy here.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pada_agent.components.backends.files import below, safe_name, write_atomic
from pada_agent.components.backends.progress import notice
from pada_agent.components.backends.store.lease import Lease, leased
from pada_agent.components.backends.store.objects import names, read, remove, write
from pada_agent.components.backends.store.transfer import fetch, put
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import Settings
from pada_agent.components.core.state import LATEST_STATE
from pada_agent.pipelines.local.run_directory import RunDirectory, TaskFolder, file_digest, files_in

Manifest = dict[str, Any]
MANIFEST = "manifest.json"
UNFINISHED = b"{}\n"
LAST = ("task.json", "executor_output.json")  # for who copies a folder by hand: without these it is not finished
TOP = ("settings.json", LATEST_STATE, "report.html", "report.json")
SYNCED = ".synced.json"


def open_run(place: Path | str) -> RunDirectory:
    """The run directory at a path or a URI. Raises InputError for a URI without a folder in its bucket."""
    text = str(place)
    if "://" not in text:
        return RunDirectory(Path(text))
    scheme, _, rest = text.partition("://")
    if not rest.strip("/").partition("/")[2]:
        raise InputError(f"{text}: give a folder in the bucket, such as {scheme}://{rest.strip('/') or 'bucket'}/runs/a")
    return RemoteRunDirectory(f"{scheme}://{rest.strip('/')}")


def working_copy(uri: str) -> Path:
    """Where the working copy of a run at `uri` is on this machine."""
    root = Path(os.environ.get("PADA_RUNS") or "~/.cache/pada-agent/runs").expanduser()
    return root / f"{uri.rpartition('/')[2]}-{hashlib.sha256(uri.encode()).hexdigest()[:12]}"


class RemoteRunDirectory(RunDirectory):
    """A run directory whose working copy is kept the same as a URI, task by task."""

    def __init__(self, uri: str) -> None:
        super().__init__(working_copy(uri))
        self.uri = uri
        self._lease: Lease | None = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the working copy and the URI, and bring here what the URI has."""
        with super().locked(), leased(self.uri) as self._lease:
            notice(f"{self.uri}: working copy {self.path}")
            self.bring()
            yield

    @contextmanager
    def brought(self) -> Iterator[Path]:
        """The working copy as the URI has it; a run that is going on there is not disturbed."""
        with super().locked():
            self.bring()
            yield self.path

    def bring(self) -> None:
        """Take over what changed at the URI since this working copy last matched it."""
        there = names(self.uri)
        for name in TOP:
            if name in there:
                fetch(f"{self.uri}/{name}", self.path)
        for folder in sorted(name.partition("/")[0] for name in there if name.endswith(f"/{MANIFEST}") and name.count("/") == 1):
            manifest = parsed_manifest(read(f"{self.uri}/{folder}/{MANIFEST}"))
            if manifest is not None:
                self._bring_task(folder, manifest)

    def keep_settings(self, settings: Settings) -> None:
        """Keep the settings at the URI too."""
        super().keep_settings(settings)
        self._put_top("settings.json")

    def keep(self, task: TaskFolder) -> None:
        """Have the finished task at the URI as it is here. Raises InputError when another process has taken the run over."""
        if self._lease is not None:
            self._lease.check()
        manifest, folder = manifest_of(task.path), task.path.name
        if self._synced().get(folder) == manifest:
            return
        write(f"{self.uri}/{folder}/{MANIFEST}", UNFINISHED)  # from here to the end it is neither the old nor the new one
        for child in sorted(task.path.iterdir(), key=lambda child: LAST.index(child.name) if child.name in LAST else -1):
            if not child.name.startswith(".") and (child.is_file() or files_in(child)):
                put(child, f"{self.uri}/{folder}/{child.name}")
        write(f"{self.uri}/{folder}/{MANIFEST}", json.dumps(manifest, indent=1).encode())
        self._note_synced(folder, manifest)

    def keep_report(self) -> None:
        """The report goes up, then which state is the latest."""
        for name in reversed(TOP[1:]):
            self._put_top(name)

    def ledger(self, stage: str) -> str:
        """Paid calls are written to the URI itself: they outlive this machine."""
        return f"{self.uri}/ledger/{stage}"

    @property
    def work_uri(self) -> str:
        """The URI, where others can watch the run."""
        return self.uri

    def checkpoints(self, task: str, key: str) -> str:
        """At the URI, for the machine that resumes the run."""
        return f"{self.uri}/checkpoints/{task}-{key[:12]}"

    def drop_checkpoints(self, task: str, key: str) -> None:
        """Best effort: without the right to delete, they stay."""
        with suppress(InputError):
            remove(self.checkpoints(task, key))

    def _bring_task(self, folder: str, manifest: Manifest) -> None:
        note = f"{self.uri}/{folder}/{MANIFEST}"
        here = below(self.path, folder, note)
        folders = [safe_name(name, note) for name in manifest["folders"]]
        if here.exists():
            own, before = manifest_of(here), self._synced().get(folder)
            if own == manifest:
                self._note_synced(folder, manifest)
                return
            if before == manifest:  # what is new is here
                return
            notice(f"{folder}: {self.uri} has another one by now, which replaces the one here")
        fetch(f"{self.uri}/{folder}", self.path)
        for name, file in files_in(here):
            if name not in manifest["files"]:  # left at the URI by an earlier try
                file.unlink()
        for name in folders:
            below(here, name, note).mkdir(parents=True, exist_ok=True)
        if manifest_of(here) != manifest:
            shutil.rmtree(here)
            notice(f"{folder}: incomplete at {self.uri}; it runs again")
        else:
            self._note_synced(folder, manifest)

    def _put_top(self, name: str) -> None:
        if (self.path / name).exists():
            put(self.path / name, f"{self.uri}/{name}")

    def _synced(self) -> dict[str, Manifest]:
        """What the task folders were when they were last the same here and at the URI."""
        try:
            synced = json.loads((self.path / SYNCED).read_text())
        except (OSError, ValueError):
            return {}
        return synced if isinstance(synced, dict) else {}

    def _note_synced(self, folder: str, manifest: Manifest) -> None:
        write_atomic(self.path / SYNCED, json.dumps({**self._synced(), folder: manifest}))


def manifest_of(folder: Path) -> Manifest:
    """What is in a task's folder. Folders stand there too: an object store has no empty ones, and one may be an artifact."""
    folders = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("[!.]*") if p.is_dir())
    return {"files": {name: file_digest(file) for name, file in files_in(folder)}, "folders": folders}


def parsed_manifest(raw: bytes | None) -> Manifest | None:
    """The manifest of a whole task, None for one that is being written or is damaged."""
    try:
        manifest = json.loads(raw or b"")
        return {"files": dict(manifest["files"]), "folders": list(manifest["folders"])}
    except (ValueError, KeyError, TypeError):
        return None
