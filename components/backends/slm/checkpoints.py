"""Checkpoints of one training run: whole ones only, of this run only, kept near the output or in an object store.

checkpoint_uri/run.json                 {"identity": "5b1f...", "last": "checkpoint-16"}
checkpoint_uri/checkpoint-16/           the Trainer's own files; `run.json` names it once it is whole
gs://bucket/folder/5b1f0c3d2e4a/...     the same in an object store, in a folder for each run
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from pada_agent.components.backends.files import below
from pada_agent.components.backends.progress import Track, notice
from pada_agent.components.backends.record_files import read_json, write_json
from pada_agent.components.backends.signals import TERMINATED, on_sigterm
from pada_agent.components.backends.store.objects import names, read, remove, write
from pada_agent.components.backends.store.transfer import fetch, put
from pada_agent.components.backends.temporary import OwnFolder
from pada_agent.components.core.errors import InputError

TEMPORARY = "pada-checkpoints-"


class Checkpoints:
    """Where one run keeps its checkpoints: `uri` is a folder, or a URI in a store with copies of a local one."""

    def __init__(self, uri: str) -> None:
        self._uri = uri.rstrip("/")
        self._remote = "://" in uri
        self._own = OwnFolder(TEMPORARY) if self._remote else None
        self.folder = self._own.path if self._own else Path(uri)
        self._identity = ""

    def resume(self, identity: str) -> Path | None:
        """The last whole checkpoint of the run that `identity` stands for. Those of another run are removed here.

        Raises InputError when the object store cannot be reached or written.
        """
        self._identity = hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest()
        if self._remote:
            self._uri = f"{self._uri}/{self._identity[:12]}"
            self._fetch()
        try:
            facts = read_json(self.folder / "run.json")
            same, name = bool(facts["identity"] == self._identity), facts["last"]
        except (InputError, KeyError, TypeError):
            same, name = False, ""
        if same and (last := below(self.folder, name, str(self.folder / "run.json"))).is_dir():
            print(f"  resuming from {last.name}", file=sys.stderr, flush=True)
            return last
        for old in self.folder.glob("checkpoint-*"):
            shutil.rmtree(old, ignore_errors=True)
        return None

    def saved(self, step: int) -> None:
        """The checkpoint of `step` is whole."""
        name = f"checkpoint-{step}"
        write_json(self.folder / "run.json", {"identity": self._identity, "last": name})
        if self._remote:
            try:
                put(self.folder / name, f"{self._uri}/{name}")
                put(self.folder / "run.json", f"{self._uri}/run.json")
                self._remove_all_but(name)
            except InputError as e:
                notice(f"{name} is not kept, the training goes on: {e}")

    def remove(self) -> None:
        """Remove them: the run is over, its adapter in place. In an object store they stay: the adapter may yet be lost."""
        if self._own is not None:
            self._own.remove()
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _fetch(self) -> None:
        facts = read(f"{self._uri}/run.json")
        try:
            last = json.loads(facts or b"{}")["last"]
        except (ValueError, KeyError, TypeError):
            write(f"{self._uri}/run.json", b"{}")  # a place that cannot be written is found now, not after hours
            return
        below(self.folder, last, f"{self._uri}/run.json")
        if names(f"{self._uri}/{last}"):
            fetch(f"{self._uri}/{last}", self.folder)
            write_json(self.folder / "run.json", {"identity": self._identity, "last": last})

    def _remove_all_but(self, last: str) -> None:
        with suppress(InputError):  # who may not delete leaves them
            for old in {name.partition("/")[0] for name in names(self._uri)} - {last, "run.json"}:
                remove(f"{self._uri}/{old}")


class Watch(TrainerCallback):
    """Shows progress, and on SIGTERM ends the run after the current step with a checkpoint."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self.progress: Track | None = None
        self._asked = False

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Handle SIGTERM while the block runs."""
        with on_sigterm(self._ask):
            yield

    def _ask(self) -> None:
        self._asked = True

    def _asked_any(self, args: Any) -> bool:
        """Whether this process was asked, or another that shares its steps: one that went on alone would wait for ever."""
        if args.world_size == 1:
            return self._asked
        asked = torch.tensor(float(self._asked), device=args.device)
        torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX)
        if asked:
            self._asked = True  # never False here: the signal may have come during the reduction
        return bool(asked)

    def stop_if_asked(self) -> None:
        """Raises SystemExit, with the code of a process ended by SIGTERM, if the run was cut short."""
        if self._asked:
            raise SystemExit(TERMINATED)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A resumed run has steps behind it."""
        if self.progress is not None:
            self.progress.find(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Called after each optimizer step."""
        if self.progress is not None:
            self.progress.advance()
        if self._asked_any(args):  # also after the last step: who asks a run to stop does not want its next task
            control.should_save = control.should_training_stop = True
        return control
