r"""Runs code that a model wrote, in a child process that cannot do harm by accident.

    run_code("def add(a, b):\n    return a + b\nassert add(1, 2) == 3", 3.0)   -> passed
    run_code("import os\nos._exit(0)", 3.0)                                    -> not passed: it never came to its end

Contained: time, CPU, memory and file size of a process, number of processes, everything it starts (killed when it ends),
the environment (empty), the working directory (deleted), root's rights (dropped); the network, other processes, and files other
than Python's: by seccomp and Landlock (fence.py), and by namespaces too where the kernel gives them; in a pod it gives none.

Not contained: on kernels without Landlock (before 5.13) the program reads every file its user may read, and writes them too;
before 6.12, without namespaces, it signals its user's processes, its watcher among them, whose death what it started can
outlive; root stays root where Python itself lies in a folder only root may enter; many processes together may use more memory
than one may; a kernel bug; and a program that searches its own interpreter for the sentinel can forge it. The sentinel is there
against programs that end early, not against an attacker.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from pada_agent.components.backends.temporary import OwnFolder
from pada_agent.components.core.errors import PadaError
from pada_agent.components.core.tasks.task import CodeResult

_CHILD = Path(__file__).with_name("child.py")
# For starting Python and tearing down; the program's own time is counted by the child, so that a busy host does not
# turn right answers into timeouts.
_GRACE_SECONDS = 20.0
_KILL_SECONDS = 10.0
_PREFIX = "pada-sandbox-"


def run_code(program: str, seconds: float) -> CodeResult:
    """Run a Python program that needs nothing but the standard library; `seconds` is its wall-clock limit.

    Passed means that the last statement was reached without an exception. `detail` says in one line why it was not.
    Raises PadaError when the sandbox itself cannot be started.
    """
    return run_in_child(program, seconds, namespaces=True)


def run_in_child(program: str, seconds: float, namespaces: bool) -> CodeResult:
    """`run_code`, with the choice to do without namespaces, as on a kernel that has none."""
    token = secrets.token_hex(16)
    request = {"program": program, "seconds": seconds, "token": token, "namespaces": namespaces}
    # -I -S: no environment, no user site, no site-packages, no folder of ours on the path.
    command = [sys.executable, "-I", "-S", "-X", "utf8", str(_CHILD)]
    with OwnFolder(_PREFIX) as folder:
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={},
                cwd=folder,
                start_new_session=True,
            )
        except OSError as e:
            raise PadaError(f"the sandbox could not be started ({e}); free processes and memory, then run again") from e
        try:
            out, err = child.communicate(json.dumps(request).encode(), timeout=seconds + _GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            return CodeResult(passed=False, detail=f"ran longer than {seconds:g} s and had to be killed from outside")
        finally:
            if child.poll() is None:  # too long, or this process was interrupted
                _kill_all(child.pid)
                child.communicate()
    if child.returncode > 0:
        reason = (err.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise PadaError(f"the sandbox could not run a program ({reason}); see {_CHILD.name}")
    try:
        report = json.loads(out)
        return CodeResult(passed=report["sentinel"] == token, detail=report["detail"])
    except (ValueError, KeyError, TypeError):
        return CodeResult(passed=False, detail="the program killed the process that watched over it")


def _kill_all(supervisor: int) -> None:
    """Kill a supervisor and all below it. It is stopped first and goes last: as long as it is there, orphans become its own."""
    os.kill(supervisor, signal.SIGSTOP)
    until = time.monotonic() + _KILL_SECONDS
    while (below := _descendants(supervisor)) and time.monotonic() < until:
        for pid in below:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    os.killpg(supervisor, signal.SIGKILL)


def _descendants(ancestor: int) -> list[int]:
    """Processes below one, whatever their session, without those that have ended; none where there is no /proc."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            state, parent, *_ = stat.read_text(errors="replace").rpartition(")")[2].split()
            if state not in {"Z", "X"}:
                parents[int(stat.parent.name)] = int(parent)
    processes, left = [], [ancestor]
    while left:
        above = left.pop()
        own = [pid for pid, parent in parents.items() if parent == above]
        processes += own
        left += own
    return processes


def sandbox_canary() -> None:
    """Prove that the sandbox tells right from wrong, before any score depends on it. Raises PadaError if it does not."""
    check = "\nassert double(4) == 8"
    right = run_code("def double(x):\n    return 2 * x" + check, 10)
    if not right.passed:
        raise PadaError(f"sandbox: a right program did not pass ({right.detail}); no code can be scored on this machine")
    for wrong in ("def double(x):\n    pass", "import os\nos._exit(0)"):
        if run_code(wrong + check, 10).passed:
            raise PadaError("sandbox: a wrong program passed; no code can be scored on this machine")
