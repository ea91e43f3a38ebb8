"""Several runs at once, each a process with its share of the cores and a GPU: a small model does not fill a machine.

What a run says goes to `<its folder>.log`. The processes end with this one, however it ends, and each run can be resumed.
"""

import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import Any

from pada_agent.components.backends.signals import ending_in_order
from pada_agent.components.backends.threads import wait_briefly
from pada_agent.components.core.errors import PadaError


@dataclass(frozen=True)
class Item:
    """One run. `work` is what `start` is given; it starts when the item called `needs` has ended well."""

    name: str
    folder: Path
    work: Any
    needs: str = ""

    @property
    def log(self) -> Path:
        """What it said, at each of its starts."""
        return self.folder.with_name(f"{self.folder.name}.log")


@dataclass(frozen=True)
class Share:
    """What one run may use of the machine; no GPU where there is none."""

    cores: list[int]
    gpu: str = ""


Start = Callable[[Any], None]


def run_side_by_side(
    items: Sequence[Item], jobs: int, start: Start, say: Callable[[str], None], ended_well: Callable[[Item], None]
) -> dict[str, str]:
    """Run all, `jobs` at a time, as far as possible in the given order. Returns the last line of each that failed, by name.

    `start` is called in the run's own process; `ended_well` here, as soon as the run has. One that fails stops no other but those
    that need it.
    """
    spawn = get_context("spawn")  # cores, threads and GPU are set before the child imports what counts them
    free, waiting, running = shares(jobs), list(items), dict[BaseProcess, tuple[Item, Share]]()
    failed: dict[str, str] = {}
    try:
        while waiting or running:
            for item in [i for i in waiting if i.needs in failed]:
                waiting.remove(item)
                failed[item.name] = f"it needs {item.needs}, which failed"
            busy = {i.name for i in waiting} | {i.name for i, _ in running.values()}
            for item in [i for i in waiting if i.needs not in busy][: len(free)]:
                waiting.remove(item)
                share = free.pop(0)
                process: BaseProcess = spawn.Process(target=_run, args=(item, share, start), daemon=True)
                process.start()
                running[process] = item, share
                say(f"{item.name}: started; its log is {item.log}")
            for process in [p for p in running if not p.is_alive()]:
                item, share = running.pop(process)
                free.append(share)
                if process.exitcode:
                    failed[item.name] = _last_line(item, process.exitcode)
                    say(f"{item.name}: failed: {failed[item.name]}")
                else:
                    say(f"{item.name}: done")
                    ended_well(item)
            time.sleep(0.1)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.join()
    return failed


def shares(jobs: int) -> list[Share]:
    """The cores and GPUs this process may use, dealt out to `jobs` runs; one is shared when there are too few."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    size, gpus = max(1, len(cores) // jobs), _gpus()
    dealt = [[cores[(i * size + k) % len(cores)] for k in range(size)] for i in range(jobs)]
    return [Share(own, gpus[i % len(gpus)] if gpus else "") for i, own in enumerate(dealt)]


def _gpus(devices: Path = Path("/dev")) -> list[str]:
    """As CUDA_VISIBLE_DEVICES names them: those it has already, else all that the driver shows."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [gpu.strip() for gpu in given.split(",") if gpu.strip()]
    there = [file for file in devices.glob("nvidia*") if re.fullmatch(r"nvidia\d+", file.name)]
    return [str(number) for number in range(len(there))]


def _last_line(item: Item, exit_code: int) -> str:
    lines = item.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    said = lines[-1].strip() if lines else "no output"
    return said if exit_code > 0 else f"ended by {signal.Signals(-exit_code).name}, after: {said}"


def _run(item: Item, share: Share, start: Start) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share.cores)
    os.environ["OMP_NUM_THREADS"] = str(len(share.cores))
    if share.gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = share.gpu
    wait_briefly()
    item.folder.parent.mkdir(parents=True, exist_ok=True)
    with _logged(item.log), ending_in_order():
        _end_with_parent()
        start(item.work)


@contextmanager
def _logged(file: Path) -> Iterator[None]:
    """All that the block says goes to the end of the file; its error is the last line."""
    with file.open("a", encoding="utf-8", buffering=1) as log, redirect_stdout(log), redirect_stderr(log):
        try:
            yield
        except PadaError as e:
            print(e)
            sys.exit(1)
        except Exception:
            traceback.print_exc()
            sys.exit(1)


def _end_with_parent() -> None:
    """A parent that was killed ends nobody."""
    parent = parent_process()
    assert parent

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=watch, daemon=True).start()
