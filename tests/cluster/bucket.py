"""The object store's side: rows and the small model go up, sizes and the final state come back, everything goes away."""

import json
import os
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tiny_slm
from given import Given
from teacher import SPLITS, row

from pada_agent.components.backends.store.transfer import open_store, put, reached


@dataclass(frozen=True)
class Stored:
    """One object of a run: bytes, and when it was written (seconds since 1970, 0 where the store does not say)."""

    task: str
    artifact: str
    name: str
    size: int
    at: float


class Bucket:
    """The folder of this test in the store, as seen from this machine."""

    def __init__(self, given: Given) -> None:
        self.given = given
        if given.endpoint_here:
            os.environ["AWS_ENDPOINT_URL"] = given.endpoint_here  # for this process and those that it starts

    def check(self) -> None:
        """Write, read and remove a small object. Raises InputError, AssertionError."""
        uri, content = self.given.uri(f"probe-{uuid.uuid4().hex[:8]}"), b"pada-agent"
        with reached(uri, "there is no such bucket"):  # asked once: what is wrong here does not pass
            files, path = open_store(uri)
            files.pipe_file(path, content)
            found = files.cat_file(path)
            files.rm_file(path)
        assert found == content, f"{uri}: what was written came back as {found!r}"

    def fill(self) -> None:
        """Upload rows of all splits, the small model, and another evaluator's predictions. Raises InputError."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            for split, numbers in SPLITS.items():
                (folder / f"{split}.jsonl").write_text("".join(json.dumps(row(n)) + "\n" for n in numbers))
            (folder / "predictions.jsonl").write_text("".join(json.dumps(prediction(n)) + "\n" for n in SPLITS["validation"]))
            put(folder, self.given.uri("data"))
            put(tiny_slm.build(folder / "slm", context=4096), self.given.uri("slm"))

    def of_run(self, run_id: str) -> list[Stored]:
        """What a run's tasks have written. Its place is ROOT/PIPELINE/RUN/TASK/UUID/ARTIFACT. Raises InputError."""
        root = self.given.uri("artifacts")
        with reached(root):
            files, top = open_store(root)
            listing = files.find(top, detail=True)
        found = []
        for name, entry in listing.items():
            parts = name[len(top) :].strip("/").split("/")
            if run_id in parts[:-3]:
                at = entry.get("LastModified") or entry.get("mtime")
                place = parts.index(run_id)
                found.append(Stored(parts[place + 1], parts[place + 3], name, int(entry["size"]), at.timestamp() if at else 0.0))
        return found

    def text(self, run_id: str, task: str, artifact: str) -> str:
        """An artifact that is one file of text. Raises InputError, LookupError where there is none."""
        found = [stored for stored in self.of_run(run_id) if (stored.task, stored.artifact) == (task, artifact)]
        if not found:
            raise LookupError(f"{task} of run {run_id} has left no {artifact}")
        files, _ = open_store(self.given.uri(""))
        with reached(self.given.uri("artifacts")):
            return str(files.cat_file(found[-1].name).decode())

    def last_state(self, run_id: str) -> tuple[dict[str, Any], str]:
        """The state that the run wrote last, and the task that wrote it. Raises InputError, LookupError where there is none."""
        states = [stored for stored in self.of_run(run_id) if stored.name.endswith("/state/state.json")]
        if not states:
            raise LookupError(f"run {run_id} has left no state below {self.given.kfp_uri('artifacts')}")
        files, _ = open_store(self.given.uri(""))
        with reached(self.given.uri("artifacts")):
            loaded = [(json.loads(files.cat_file(stored.name)), stored) for stored in states]
        # The store's whole seconds do not tell two quick tasks apart: what knows more iterations and models is later.
        state, stored = max(loaded, key=lambda pair: (len(pair[0]["iterations"]), len(pair[0]["models"]), pair[1].at))
        return state, stored.task

    def remove(self) -> None:
        """Everything below the folder. Raises InputError."""
        _remove(self.given.uri(""))


def prediction(n: int) -> dict[str, Any]:
    """A line of another evaluator about the row `row(n)`: nine of twelve are wrong."""
    known, right = row(n), n % 4 == 0
    number = known["answer"].rpartition(" ")[2] if right else "7"
    return {**known, "output": f"#### {number}", "correct": right}


def _remove(uri: str) -> None:
    with reached(uri):
        files, path = open_store(uri.rstrip("/"))
        if files.exists(path):
            files.rm(path, recursive=True)
