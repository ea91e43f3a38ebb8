"""`pada doctor`: one line for each thing a run needs, and the command that mends what is missing.

ok       python      3.11.7
ok       sandbox     code runs in it, network cut off
MISSING  teacher     401 from https://llm.example.org/v1: wrong key   ->   export OPENAI_API_KEY=...
"""

import os
import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pada_agent.components.core.addresses import STORES, Address, addresses, bucket_of, speaks
from pada_agent.components.core.errors import PadaError, refused
from pada_agent.components.core.settings import EMBEDDED, FEW_STEPS, BudgetSettings, LlmSettings, Settings, TrainSettings
from pada_agent.components.core.tasks.trial import try_reading

GIB = 1 << 30
PACKAGES = ("torch", "transformers", "peft", "sentence-transformers", "scikit-learn", "openai")
INSTALL = "pip install -e '.[local]'"
TASKS_WITH_CODE = frozenset({"humaneval", "custom"})
ROOM = 512  # tokens of that question's answer; some think first
ENDPOINT_SECONDS = 20.0
ROWS_READ = 1000  # of each split


@dataclass(frozen=True)
class Check:
    """One line: all is well unless it says how to `mend` it, or is `wrong`; a `needed` one that is not well fails them all."""

    name: str
    found: str
    mend: str = ""
    needed: bool = True
    wrong: bool = False

    @staticmethod
    def failed(name: str, error: PadaError) -> "Check":
        """A failed check; the error's message says what is wrong and what to do."""
        return Check(name, str(error), wrong=True)

    @property
    def well(self) -> bool:
        return not (self.mend or self.wrong)

    def __str__(self) -> str:
        word = "ok" if self.well else "MISSING" if self.needed else "note"
        return f"{word:<8} {self.name:<21} {self.found}" + (f"   ->   {self.mend}" if self.mend else "")


def examine(settings: Settings | None, say: Callable[[str], object] = print) -> bool:
    """Print all checks, for the machine and for a run if its settings are given. Returns whether everything needed is there."""
    return show(_checks(settings), say)


def show(checks: Iterable[Check], say: Callable[[str], object]) -> bool:
    """Print each check once it is made. Returns whether everything needed is there."""
    well = True
    for check in checks:
        say(str(check))
        well = well and (check.well or not check.needed)
    return well


def _checks(settings: Settings | None) -> Iterator[Check]:
    yield _python()
    yield from (_package(name) for name in PACKAGES)
    yield _cores()
    yield _memory()
    yield _disk()
    yield _sqlite()
    yield from _sandbox(needed=settings is not None and settings.task.name in TASKS_WITH_CODE)
    if settings is None:
        return
    llms = settings.llms
    if EMBEDDED in {llm.base_url for llm in llms.values()}:
        yield _package("llama-cpp-python")
    there = list(addresses(settings))
    for address in there:
        yield from _lies_there(address)
    yield from _rows(settings, [a for a in there if a.kind == "rows" and a.is_path and Path(a.value).exists()])
    for role, llm in llms.items():
        if llm.base_url != EMBEDDED:
            yield endpoint(role, llm)
    from pada_agent.pipelines.student_checks import student_checks  # which has its checks from here

    yield from student_checks(settings)


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", version, "" if sys.version_info >= (3, 11) else "install Python 3.11 or newer")


def _package(name: str) -> Check:
    try:
        return Check(name, version(name))
    except PackageNotFoundError:
        return Check(name, "not installed", INSTALL)


def _cores() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Check("cores", str(cores))


def _memory() -> Check:
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if "SC_AVPHYS_PAGES" in os.sysconf_names else 0
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    mend = "close other programs; the quickstart takes about 4 GiB" if whole < 4 * GIB else ""
    return Check("memory", f"{whole / GIB:.0f} GiB" + (f", {free / GIB:.0f} free" if free else ""), mend, needed=False)


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    mend = "" if free > 5 * GIB else "free some space here: models and adapters take gigabytes"
    return Check("disk", f"{free / GIB:.0f} GiB free", mend, needed=free < GIB)


def _sqlite() -> Check:
    with closing(sqlite3.connect(":memory:")) as db:
        (answer,) = db.execute("SELECT SUM(x) OVER () FROM (SELECT 1 AS x)").fetchone()
    mend = "" if answer == 1 else "install a Python with SQLite 3.25 or newer"
    return Check("sqlite", sqlite3.sqlite_version, mend)


def _sandbox(needed: bool) -> Iterator[Check]:
    from pada_agent.components.backends.sandbox.run import run_code, sandbox_canary

    try:
        sandbox_canary()
    except PadaError as e:
        yield Check("sandbox", str(e), "see components/backends/README.md", needed=needed)
        return
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        reached = run_code(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)", 5.0).passed
    if reached:
        yield Check(
            "sandbox",
            "code runs in it and reaches the network: this kernel gives neither namespaces nor seccomp",
            "score code on a machine of its own",
            needed=False,
        )
    else:
        yield Check("sandbox", "code runs in it, network cut off")


def _lies_there(address: Address) -> Iterator[Check]:
    """What is at an address. Rows on the hub, and what fsspec reads from elsewhere, are not asked for."""
    key, value = address.key, address.value
    if address.kind == "folder":
        yield from prompts(key, value)
    elif speaks(value) and address.kind != "run" and not (address.kind == "model" and _fetched(value)):
        yield store(key, value, to_read=True)
    elif address.kind == "run":
        yield _run(key, value)
    elif address.kind == "model":
        yield _model(key.removesuffix(".model"), value)
    elif address.is_path:
        there = Path(value).exists()
        yield Check(key, value) if there else Check(key, f"there is nothing at {value}", "correct the path in the config")


def _rows(settings: Settings, sources: Sequence[Address]) -> Iterator[Check]:
    """Whether the task reads the first rows that lie on a disk, and what it takes them for."""
    from pada_agent.components.backends.artifacts.row_sources import read_all
    from pada_agent.components.backends.artifacts.task_files import open_task

    if not sources:
        return
    try:
        task = open_task(settings.task)
    except PadaError as e:
        yield Check.failed("task", e)
        return
    for source in sources:
        name = f"{source.key.removeprefix('task.')} rows"
        try:
            tried = try_reading(task, read_all(source.value), ROWS_READ)
            if tried.complaints:
                raise refused(tried.complaints)
        except PadaError as e:
            yield Check.failed(name, e)
            continue
        count = len(tried.fields)
        found = "there are none" if not count else f"the first {count:,} are" if count == ROWS_READ else f"all {count:,} are"
        said = f"{found} read" + (f", as {tried.what}" if tried.what else "") if count else found
        yield Check(name, said, "" if count else f"put rows into {source.value}")
        if source.key == "task.train" and 0 < count < ROWS_READ:
            yield from _training(settings.train, min(settings.task.train_size or count, count))


def _training(train: TrainSettings, rows: int) -> Iterator[Check]:
    """A note where the optimizer takes few steps because each has many rows."""
    steps, more = train.steps(rows), train.model_copy(update={"accumulate": 1}).steps(rows)
    if steps < FEW_STEPS and more > steps:
        yield Check(
            "training", f"{steps} steps", f"few to learn from; train.accumulate: 1 makes {more} smaller ones", needed=False
        )


def prompts(key: str, address: str) -> Iterator[Check]:
    """Whether the prompts there can take the place of the package's, and what they leave out."""
    from pada_agent.components.backends.artifacts.prompt_files import read_prompts

    left_out: list[str] = []
    try:
        own = read_prompts(address, left_out.append)
    except PadaError as e:
        yield Check.failed(key, e)
        return
    yield Check(key, f"{address}: {', '.join(own) or 'none'} in place of the package's own")
    yield from (Check(key, note, needed=False, wrong=True) for note in left_out)


def _run(key: str, address: str) -> Check:
    """Whether another run left a state there that this release reads."""
    from pada_agent.components.backends.artifacts.exported import run_state

    try:
        other = run_state(address)
    except PadaError as e:
        return Check.failed(key, e)
    found = sum(len(record.patterns) for record in other.iterations)
    return Check(key, f"{address}: {found} patterns, task {other.run.task}", "" if found else "name a run that has found some")


def store(key: str, uri: str, to_read: bool) -> Check:
    """Whether `uri` can be seen with this machine's credentials; a folder to write to need not be there, its bucket must."""
    from pada_agent.components.backends.store.transfer import open_store, reached

    bucket, schemes = bucket_of(uri), " or ".join(f"{scheme}://" for scheme in STORES)
    if not speaks(uri) or not bucket:
        return Check(key, f"{uri} is not a {schemes} URI", f"correct {key}")
    make = f"gcloud storage buckets create gs://{bucket}" if speaks(uri) == "gs" else f"aws s3 mb s3://{bucket}"
    try:
        with reached(uri):
            files, path = open_store(uri)
            if files.exists(path):
                return Check(key, f"{uri} is there, seen from this machine")
            if to_read:
                return Check(key, f"there is nothing at {uri}", f"upload it there, or correct {key}")
            if files.exists(bucket):
                return Check(key, f"{uri}: its bucket is there, seen from this machine")
    except PadaError as e:
        return Check(
            key, str(e), "log in to the store (`gcloud auth application-default login`, `aws configure`), or mend the network"
        )
    return Check(key, f"there is no bucket {bucket}", make)


def _fetched(model: str) -> bool:
    from pada_agent.components.backends.models.sources import model_here

    return model_here(model) is not None


def _model(role: str, name: str) -> Check:
    from pada_agent.components.backends.models.availability import check_model

    try:
        return Check(role, f"{name}: {check_model(name)}")
    except PadaError as e:
        return Check(role, str(e), f"give a folder or a .gguf file as {role}.model, or mend the network")


def endpoint(role: str, llm: LlmSettings) -> Check:
    """Ask the smallest question there is; that proves address, key, model and JSON at once, for a few tokens."""
    from pada_agent.components.backends.llm.client import open_llm
    from pada_agent.components.core.llm_interface import LlmRequest, Reply

    class Ready(Reply):
        word: str

    short = {"timeout_seconds": ENDPOINT_SECONDS, "give_up_seconds": ENDPOINT_SECONDS, "max_tokens": ROOM}
    quick = llm.model_copy(update={**short, "mode": "chat"})  # nobody waits a day for a doctor
    asked = [{"role": "user", "content": 'Answer with the JSON object {"word": "ready"}.'}]
    place = llm.base_url or "OpenAI's address"
    client = open_llm(quick, BudgetSettings(), "")
    try:
        if llm.mode == "batch":
            client.check_batches()
        (reply,) = client.ask_all(f"asking the {role}", [LlmRequest.of(Ready, "doctor", asked, temperature=0.0)])
    except PadaError as e:
        return Check(role, str(e), f"see {role} in the config, and ${llm.api_key_env}")
    if reply.value is None:
        return Check(role, f"{llm.model} at {place}: {reply.error}", f"try another {role}.model", needed=False)
    return Check(role, f"{llm.model} at {place} answers" + (", and has batches" if llm.mode == "batch" else ""))
