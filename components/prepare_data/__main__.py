"""Entry point: sources in, training data and held-out data out."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pada_agent.components.backends.artifacts.row_sources import read_all
from pada_agent.components.backends.artifacts.task_files import open_task
from pada_agent.components.backends.executor import SETTINGS_FILE, Executor, main
from pada_agent.components.backends.files import file_hash, whole_directory, write_atomic
from pada_agent.components.backends.progress import notice
from pada_agent.components.backends.record_files import records_sha256, write_json, write_records
from pada_agent.components.backends.sandbox.run import run_code
from pada_agent.components.backends.store.versions import check_versions
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.methods.method import load_method
from pada_agent.components.core.prompts import FOLDER
from pada_agent.components.core.quality.rules import check_judge
from pada_agent.components.core.records import RawRow
from pada_agent.components.core.separation.leakage import FINGERPRINTS_FILE
from pada_agent.components.core.settings import PrepareData
from pada_agent.components.core.tasks.answer_first import check_order
from pada_agent.components.core.tasks.registry import task_class
from pada_agent.components.core.tasks.task import Task
from pada_agent.components.core.tasks.trial import try_scorer
from pada_agent.components.prepare_data.prepare import HELD_OUT, Prepared, prepare

TRIED_IN_SANDBOX = 3  # rows of each split; evaluate_slm tries all


def run(ex: Executor) -> None:
    """Read, prepare, write."""
    ex.fill_in()
    settings = ex.settings(PrepareData)
    _check_iterations(settings.loop.iterations, ex.parameter("max_iterations", 0))
    _check_scored(settings.task.scored_by_llm, bool(ex.parameter("max_iterations", 0)), ex.parameter("score_answers", False))
    whole_run, data_version = ex.run_settings(PrepareData), str(ex.parameter("data_version", ""))
    if whole_run:
        check_versions(whole_run, data_version)
        check_order(task_class(settings.task.name), whole_run.generate.order)
    task = open_task(settings.task, settings.prompts)
    if whole_run:
        method = load_method(whole_run.generate.method)
        method.check(task)
        method.form(task, whole_run.generate.context)  # raises for a task that cannot be written in it
        check_judge(whole_run.teacher, whole_run.judge, method.checked_by(whole_run.control))
    sources = {split: str(getattr(settings.task, split)) for split in ("train", *HELD_OUT)}
    published = {split: read_all(source) for split, source in sources.items() if source}
    data = prepare(task, published | {"train": _told(task, published["train"])}, settings)
    most = TRIED_IN_SANDBOX if task.needs_sandbox else None
    try_scorer(task, islice(data.train_rows(), most), run_code)
    for rows in data.held_out.values():
        try_scorer(task, rows[:most], run_code)
    versions = {name: version(name) for name in ("pada-agent", "rapidfuzz")}
    facts = {"version": 1, "task": task.name, "split_seed": settings.task.split_seed, "versions": versions}
    facts["data"] = _data(data, sources)
    with whole_directory(ex.output("train_data", "train.jsonl")) as folder:
        write_records(folder / "train.jsonl", data.train_rows())
        assets = _write_assets(task, folder / "assets")
        write_atomic(folder / FINGERPRINTS_FILE, data.fingerprints.to_json())
        if whole_run:  # else there is nothing that another stage could take its sections from
            write_json(folder / SETTINGS_FILE, whole_run)
        manifest = facts | _facts(data, ["train"], sources, folder) | {"assets": assets}
        write_json(folder / "manifest.json", manifest)
    with whole_directory(ex.output("heldout_data", "manifest.json")) as folder:
        for split, rows in data.held_out.items():
            write_records(folder / f"{split}.jsonl", rows)
        manifest = facts | _facts(data, HELD_OUT, sources, folder) | {"shared_groups": data.shared_groups}
        write_json(folder / "manifest.json", manifest)
    _say(data)
    counts = {f"{split} rows": count["rows"] for split, count in data.counts.items()}
    ex.say_numbers({**counts, "duplicates removed": len(data.removed)})
    ex.set_metadata("train_data", rows=len(data.train), removed=len(data.removed))
    ex.set_metadata("heldout_data", **{split: len(rows) for split, rows in data.held_out.items()})
    ex.set_parameter("train_rows", len(data.train))
    ex.finish()


def _told(task: Task, rows: Iterable[RawRow]) -> Iterator[RawRow]:
    """The rows; it is said what the first one was taken for."""
    said = False
    for where, raw in rows:
        if not said and not isinstance(raw, InputError):
            said = True
            with suppress(InputError):  # the row is refused in a moment, with its place
                if what := task.recognised(raw):
                    notice(f"rows are read as {what}")
        yield where, raw


def _check_iterations(asked: int, most: int) -> None:
    """A compiled pipeline has room for so many iterations; more are refused in the first minute, not after the last one."""
    if most and asked > most:
        raise InputError(
            f"settings: loop.iterations is {asked}, but this pipeline is compiled for {most}; "
            f"lower it, or run `pada compile --max-iterations {asked}`"
        )


def _check_scored(asked: bool, compiled: bool, scored: bool) -> None:
    """The same of tasks in which an LLM scores answers."""
    if compiled and asked and not scored:
        raise InputError(
            "settings: task.options.scorer is judge, but this pipeline has no task in which an LLM scores answers; "
            "run `pada compile --score-answers`"
        )


def _write_assets(task: Task, folder: Path) -> dict[str, str]:
    texts = task.assets() | {f"{FOLDER}/{name}": text for name, text in task.prompts.own.items()}
    for name, text in texts.items():
        write_atomic(folder / name, text)
    return {name: file_hash(folder / name) for name in sorted(texts)}


def _facts(data: Prepared, splits: Iterable[str], sources: dict[str, str], folder: Path) -> dict[str, Any]:
    return {
        "splits": {s: {"source": sources[s], **data.counts[s], "ids_sha256": data.ids_sha256[s]} for s in splits},
        "removed": [removal.model_dump() for removal in data.removed if removal.split in splits],
        "files": {f"{split}.jsonl": file_hash(folder / f"{split}.jsonl") for split in splits},
    }


def _data(data: Prepared, sources: dict[str, str]) -> dict[str, dict[str, str]]:
    """By split, where its rows came from and the hash of those that are used: what tells one version of the data from another."""
    rows: list[tuple[str, Iterable[BaseModel]]] = [("train", data.train_rows()), *data.held_out.items()]
    return {s: {"source": sources[s] or sources["validation"], "sha256": records_sha256(of)} for s, of in rows}


def _say(data: Prepared) -> None:
    for split, count in data.counts.items():
        short = f", {count['asked']} were asked for" if count["rows"] < count["asked"] else ""
        print(f"  {split}: {count['rows']} rows{short}; {count['removed']} duplicates of later splits removed", file=sys.stderr)


if __name__ == "__main__":
    main(run)
