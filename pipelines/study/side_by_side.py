"""Several runs at once, each a process with its own share of the cores: a small model does not fill them.

A run's output goes to `<its folder>.log`. The processes end with this one, and each run can be resumed.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from pada_agent.components.backends.threads import wait_briefly
from pada_agent.components.core.errors import PadaError
from pada_agent.components.core.settings import Settings

Start = Callable[[Settings, Path], object]


def run_side_by_side(runs: Sequence[tuple[Settings, Path]], jobs: int, start: Start, say: Callable[[str], None]) -> None:
    """Run all, `jobs` at a time, in the given order. Raises PadaError with the last line of the first run that failed."""
    spawn = get_context("spawn")  # the cores and threads are set before the child imports what counts them
    free, waiting, running = core_shares(jobs), list(runs), dict[BaseProcess, tuple[Path, list[int]]]()
    failed: list[Path] = []
    try:
        while waiting or running:
            while waiting and free and not failed:
                (settings, folder), cores = waiting.pop(0), free.pop(0)
                process: BaseProcess = spawn.Process(target=_run, args=(settings, folder, cores, start), daemon=True)
                process.start()
                running[process] = folder, cores
                say(f"{folder.name}: started; its log is {_log(folder)}")
            for ended in [p for p in running if not p.is_alive()]:
                folder, cores = running.pop(ended)
                free.append(cores)
                say(f"{folder.name}: {'failed' if ended.exitcode else 'done'}")
                failed += [folder] if ended.exitcode else []
            if failed and not running:
                break
            time.sleep(0.2)
    finally:
        for process in running:
            process.terminate()
            process.join()
    if failed:
        lines = _log(failed[0]).read_text(encoding="utf-8").strip().splitlines()
        raise PadaError(f"{failed[0].name} stopped: {lines[-1] if lines else 'no output'} (whole log: {_log(failed[0])})")


def core_shares(jobs: int) -> list[list[int]]:
    """The cores this process may use, dealt out to `jobs` shares; a core is shared when there are too few."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    size = max(1, len(cores) // jobs)
    return [[cores[(i * size + k) % len(cores)] for k in range(size)] for i in range(jobs)]


def _log(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.log")


def _run(settings: Settings, folder: Path, cores: list[int], start: Start) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    os.environ["OMP_NUM_THREADS"] = str(len(cores))
    wait_briefly()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _log(folder).open("a", encoding="utf-8", buffering=1) as log, redirect_stdout(log), redirect_stderr(log):
        try:
            start(settings, folder)
        except PadaError as e:
            print(e)
            sys.exit(1)
