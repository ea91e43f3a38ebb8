"""What a run keeps on disk: settings, a lock, and one folder per task, finished or not.

    runs/quickstart/
      settings.json                 the whole configuration, as resolved
      01-prepare/task.json          {"stage": "prepare_data", "key": "5f0c...", "seconds": 1.8}
      01-prepare/executor_output.json   written last: the task is finished
      01-prepare/train_data/ ...    its artifacts
      events/here/ ...              what stages told of themselves while they ran, each event a file
      ledger/analyze_patterns.jsonl every paid call of a stage; beside it, while it is open, a reserve for a disk that is full
      latest_state                  "05-start/state"
      report.html  report.json

A task's key is a hash of everything it reads, with artifacts by content, so that a run goes on after a kill or an edit
with exactly those tasks that must run, and a run directory that was moved is still whole.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pada_agent.components.backends.files import write_atomic
from pada_agent.components.core.addresses import addresses
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.figures import Numbers
from pada_agent.components.core.settings import Role, Settings
from pada_agent.components.core.state import LATEST_STATE
from pada_agent.components.stages import STAGES
from pada_agent.pipelines.local.held_folder import held

# How an endpoint is reached does not decide what comes out: these may change between two starts of one run.
_ADDRESS = ("base_url", "api_key_env", "api_key_secret", "headers")
_REACH = frozenset({*_ADDRESS, "concurrency", "timeout_seconds", "give_up_seconds", "mode", "batch_discount"})
# Settings that came later, by section: at their default they are as if they were not there, and a run begun before goes on.
_LATER: dict[str, dict[str, Any]] = {
    "slm": {"quantization": "none", "endpoint": None, "thinking": False},
    "evaluate": {"engine": "transformers"},
    "train": {
        "method": "lora",
        "target_modules": "all-linear",
        "use_dora": False,
        "use_rslora": False,
        "gradient_checkpointing": False,
    },
}
_BLOCK = 1 << 20


def digest(path: Path, unread: tuple[str, ...] = ()) -> str:
    """SHA-256 of a file, or of a folder's list of (relative path, size, SHA-256) without what is `unread`."""
    if path.is_file():
        return file_digest(path)
    lines = [
        f"{name}\t{file.stat().st_size}\t{file_digest(file)}" for name, file in files_in(path) if not name.startswith(unread)
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def files_in(folder: Path) -> list[tuple[str, Path]]:
    """The files of a folder with their paths in it, sorted. Editors' leftovers do not count."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    kept = [file for file in files if not file.name.startswith(".") and not file.name.endswith("~")]
    return [(file.relative_to(folder).as_posix(), file) for file in kept]


def file_digest(path: Path) -> str:
    sha = hashlib.sha256()
    with path.open("rb") as f:
        while block := f.read(_BLOCK):
            sha.update(block)
    return sha.hexdigest()


def without_reach(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without what only says how LLMs and a server with the SLM are reached.

    What is left empty is not there, so that a run begun before there was such a setting goes on.
    """
    kept = dict(settings)
    for section, later in _LATER.items():
        if isinstance(kept.get(section), dict):
            kept[section] = {key: value for key, value in kept[section].items() if key not in later or value != later[key]}
    for role in get_args(Role):
        if isinstance(kept.get(role), dict):
            kept[role] = _of_llm(kept[role])
    if not kept.get("scorer"):  # then nobody reads how it would score
        kept = {key: value for key, value in kept.items() if key not in ("scorer", "score")}
    if isinstance(slm := kept.get("slm"), dict) and isinstance(slm.get("endpoint"), dict):
        kept["slm"] = {**slm, "endpoint": _of_llm(slm["endpoint"])}
    return kept


def _of_llm(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in _REACH and value not in ("", {}, None)}


def own_files(settings: Settings) -> dict[str, Path]:
    """The user's own files and folders that the settings name, by key; no models, and no runs: what was taken of one stays."""
    return {a.key: Path(a.value) for a in addresses(settings) if a.is_known_by_content}


def task_key(stage: str, parameters: Mapping[str, Any], artifacts: Mapping[str, Path], files: Mapping[str, Path]) -> str:
    """Hash of what a task reads. `files` are the user's own files and folders that the settings name."""
    unread = [name.split("/", 1) for name in STAGES[stage].unread]
    contents = {name: digest(path, tuple(rest for of, rest in unread if of == name)) for name, path in artifacts.items()}
    sources = {name: digest(path) if path.exists() else "missing" for name, path in files.items()}
    read = {**parameters, "settings": without_reach(parameters["settings"])}
    if stage != "evaluate_slm" and "slm" in read["settings"]:  # who answers in evaluation is nobody else's business
        read["settings"]["slm"] = {key: value for key, value in read["settings"]["slm"].items() if key != "endpoint"}
    whole = {"stage": stage, "parameters": read, "artifacts": contents, "files": sources}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class TaskFolder:
    """Where one task's outputs live."""

    path: Path

    @property
    def output_file(self) -> Path:
        """The executor output."""
        return self.path / "executor_output.json"

    def finished(self, key: str) -> bool:
        """Whether this very task came to its end and nothing it wrote has been taken away since."""
        try:
            record = json.loads((self.path / "task.json").read_text())
        except (OSError, ValueError):
            return False
        whole = self.output_file.exists() and all((self.path / name).exists() for name in record.get("wrote", []))
        return whole and bool(record.get("key") == key)

    def begin(self, stage: str, key: str, executor_input: str) -> None:
        """Throw away what a half-done or outdated try left and note what is about to run."""
        if self.path.exists():
            self.output_file.unlink(missing_ok=True)
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True)
        write_atomic(self.path / "task.json", json.dumps({"stage": stage, "key": key}))
        write_atomic(self.path / "executor_input.json", executor_input)

    def end(self, stage: str, key: str, seconds: float, numbers: Numbers) -> None:
        """Note how long it took, what came out and which artifacts are there. Last: nothing depends on it."""
        names = json.loads(self.output_file.read_text())["artifacts"]
        wrote = [name for name in names if (self.path / name).exists()]
        record = {"stage": stage, "key": key, "seconds": seconds, "numbers": numbers, "wrote": wrote}
        write_atomic(self.path / "task.json", json.dumps(record))

    def parameters(self) -> dict[str, Any]:
        """Output parameters of the finished task."""
        values: dict[str, Any] = json.loads(self.output_file.read_text()).get("parameterValues", {})
        return values

    def seconds(self) -> float:
        """How long the finished task took; 0 if it was killed before that was noted."""
        return float(json.loads((self.path / "task.json").read_text()).get("seconds", 0))

    def numbers(self) -> Numbers:
        """What came out of the finished task, by words; nothing if it was killed before that was noted."""
        said: Numbers = json.loads((self.path / "task.json").read_text()).get("numbers", {})
        return said


class RunDirectory:
    """One run's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory; a second process is refused. The lock ends with the process, however it ends."""
        with held(self.path, "another process is running in this directory; wait for it or stop it", "--run-dir"):
            yield

    @contextmanager
    def brought(self) -> Iterator[Path]:
        """The directory, to be read only: it is not locked."""
        yield self.path

    def keep_settings(self, settings: Settings) -> None:
        """Write the settings of a new run; for an old one make sure that they are still the same, but for its caps.

        A run that a cap ended goes on where the cap is raised: who asks LLMs runs again, by what the ledger has.
        """
        file = self.path / "settings.json"
        new = settings.model_dump(mode="json")
        if file.exists():
            old = _read_settings(file)
            changed = sorted(_differences(without_reach({**old, "budget": None}), without_reach({**new, "budget": None})))
            if changed:
                raise InputError(
                    f"{self.path} was started with other settings: {'; '.join(changed)}; "
                    "put them back, or start anew in another folder"
                )
        write_atomic(file, json.dumps(new, indent=1))

    def task(self, number: int, name: str) -> TaskFolder:
        """Folder of a task by its place in the plan."""
        return TaskFolder(self.path / f"{number:02d}-{name}")

    def note_state(self, state: Path) -> None:
        """Remember which state is the latest: after an edit, later ones that no longer apply may still be there."""
        write_atomic(self.path / LATEST_STATE, f"{state.relative_to(self.path)}\n")

    def ledger(self, stage: str) -> str:
        """The call ledger of a stage; it outlives the stage's folder, so that no call is paid twice."""
        return str(self.path / "ledger" / f"{stage}.jsonl")

    @property
    def work_uri(self) -> str:
        """Below it the stages tell how far they are. Nothing is read there to decide what is run."""
        return str(self.path)

    def checkpoints(self, task: str, key: str) -> str:
        """Where the checkpoints of a training with this key go while it runs."""
        return str(self.path / "checkpoints" / f"{task}-{key[:12]}")

    def drop_checkpoints(self, task: str, key: str) -> None:
        """Remove the checkpoints of a training that is finished and kept."""
        shutil.rmtree(self.checkpoints(task, key), ignore_errors=True)

    def keep(self, task: TaskFolder) -> None:
        """Keep the folder of a finished task as it will be read. A local one is kept already."""

    def keep_report(self) -> None:
        """Keep the report that was written to the top of the directory. A local one is kept already."""


def _read_settings(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text())
    except ValueError as e:
        raise InputError(f"{file}: not JSON ({e}); delete this run directory or take another folder") from e
    if not isinstance(values, dict):
        raise InputError(f"{file}: not a run's settings; take another folder")
    return values


def _differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            yield from _differences(old.get(key), new.get(key), f"{where}.{key}" if where else key)
    elif old != new:
        yield f"{where} ({json.dumps(old)} there, {json.dumps(new)} now)"
