"""`pada` and single stages as processes of their own that start at once: forked from one that has imported what stages need.

    with forks() as fork:
        child = fork.start(["run", "--config", ...], log)                      # a real process, killed by real signals
        assert child.wait() == 0
        point = Death(signal.SIGKILL, "os.rename", "*/executor_output.json")   # just before this file gets its name
        assert fork.start([...], log, point).wait() == -signal.SIGKILL

The points are Python's own audit events, so that no line of the product is touched to be killed at.
"""

import atexit
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Death:
    """Where a process is to get a signal: before the `nth` audit event of this name one of whose paths is like `path`."""

    number: int
    event: str
    path: str
    nth: int = 1


class Child:
    """A forked process; one runs at a time."""

    def __init__(self, pid: int, mother: Any) -> None:
        self.pid, self._mother, self._ended = pid, mother, False
        self.code: int | None = None  # once it was waited for

    def wait(self) -> int:
        """Exit code; the negative number of the signal that ended it."""
        self._ended = True
        self.code = int(self._mother.stdout.readline())
        return self.code

    def end(self) -> None:
        """Kill it, if a test that failed has left it."""
        if not self._ended:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()


class Forks:
    """Starts children."""

    def __init__(self, mother: Any) -> None:
        self._mother = mother
        self._last: Child | None = None

    def start(self, arguments: list[str], log: Path, death: Death | None = None) -> Child:
        """`pada` with these arguments; what it says goes to the end of `log`."""
        return self._start(log, death, arguments=arguments)

    def stage(
        self,
        name: str,
        arguments: Sequence[str],
        log: Path,
        root: Path,
        environment: dict[str, str],
        death: Death | None = None,
        lacking: Sequence[str] = (),
    ) -> Child:
        """One stage as its container would run it, for which the launcher's mounts are below `root`, without some modules."""
        what = {"stage": name, "of_stage": list(arguments), "root": str(root), "environment": environment, "lacking": lacking}
        return self._start(log, death, **what)

    def _start(self, log: Path, death: Death | None, **what: Any) -> Child:
        self.end()
        order = {"log": str(log), "death": asdict(death) if death else None, **what}
        self._mother.stdin.write(json.dumps(order) + "\n")
        self._mother.stdin.flush()
        self._last = Child(int(self._mother.stdout.readline()), self._mother)
        return self._last

    def end(self) -> None:
        """No child is left."""
        if self._last:
            self._last.end()


@contextmanager
def forks(user: int | None = None) -> Iterator[Forks]:
    """The mother process, ready to fork, until the block ends; as `user`, with a group of that number alone, in place of root."""
    environment = {**os.environ, "OPENAI_API_KEY": "test-key", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    held = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", "--no-new-privs"] if user else []
    command = [*held, sys.executable, __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as mother:
        found = Forks(mother)
        yield found
        found.end()
        mother.stdin.close()


def _mother() -> None:
    _import_all()
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            _child(order)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _import_all() -> None:
    import gc
    from importlib import import_module

    import torch

    torch.set_num_threads(1)
    from pada_agent.components.stages import STAGES

    for name in (
        *(f"pada_agent.components.{stage}.__main__" for stage in STAGES),
        *(
            "pada_agent.components.backends.slm.training",
            "pada_agent.components.backends.slm.inference",
            "pada_agent.pipelines.cli",
            "pada_agent.pipelines.local.run",
        ),
        *("accelerate", "httpx2", "openai", "peft", "sentence_transformers", "sklearn.cluster", "json_repair", "gcsfs", "s3fs"),
        "transformers.models.llama.modeling_llama",
    ):
        import_module(name)
    gc.freeze()


def _child(order: dict[str, Any]) -> None:
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if order["death"]:
        sys.addaudithook(_reaper(Death(**order["death"])))
    code = 0
    try:
        _stage(order) if "stage" in order else _pada(order["arguments"])
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else int(e.code is not None)
        if isinstance(e.code, str):
            print(e.code, file=sys.stderr)
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _pada(arguments: list[str]) -> None:
    from pada_agent.pipelines import cli

    sys.argv = ["pada", *arguments]
    cli.main()


def _stage(order: dict[str, Any]) -> None:
    from package_runner import mounts_below

    os.environ.update(order["environment"])
    tempfile.tempdir = None  # as the environment says now
    sys.modules.update(dict.fromkeys(order["lacking"]))
    sys.argv = [order["stage"], *order["of_stage"]]
    try:
        with mounts_below(Path(order["root"])):
            runpy.run_module(f"pada_agent.components.{order['stage']}", run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # a forked process ends without


def _reaper(death: Death) -> Any:
    seen = 0

    def hook(event: str, values: tuple[Any, ...]) -> None:
        nonlocal seen
        if event == death.event and any(isinstance(v, str | os.PathLike) and fnmatch(os.fspath(v), death.path) for v in values):
            seen += 1
            if seen == death.nth:
                os.kill(os.getpid(), death.number)

    return hook


if __name__ == "__main__":
    _mother()
