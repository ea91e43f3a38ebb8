"""The final state of a run on the cluster beside that of the local engine on the same config."""

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llm_stub import serving
from objects import JUDGE_KEY, TEACHER_KEY
from runs import Desk
from teacher import teach
from whole_run import ACCOUNTING, state_of

SECONDS = 1200  # after the run on the cluster has ended


@contextmanager
def local_run(desk: Desk, name: str, iterations: int) -> Iterator[Callable[[], Any]]:
    """`pada run` on this machine, beside the one on the cluster, against a stub of the same answers; call for its final state.

    The call raises RuntimeError with what the engine said, if it failed.
    """
    with serving() as stub, (desk.scratch / f"{name}-here.log").open("w+") as log:
        teach(stub, delay=0)
        config = desk.write_config(f"{name}-here", desk.settings(stub.url, iterations))
        run_dir = desk.scratch / f"{name}-here"
        command = [sys.executable, "-m", "pada_agent.pipelines.cli", "run", "--config", str(config), "--run-dir", str(run_dir)]
        keys = {"TEACHER_API_KEY": TEACHER_KEY, "JUDGE_API_KEY": JUDGE_KEY}
        own = {**os.environ, "PADA_MODELS": str(desk.scratch / "models"), "OMP_NUM_THREADS": "1", **keys}
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=own)

        def state() -> Any:
            try:
                code = process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                raise RuntimeError(f"the local engine has not ended {SECONDS} s after the run on the cluster") from None
            log.seek(0)
            if code:
                raise RuntimeError(f"the local engine ended with {code}: {log.read()[-1000:]}")
            return state_of(run_dir)

        try:
            yield state
        finally:
            process.kill()
            process.wait()


def differences(here: Any, there: Any, where: str = "") -> Iterator[str]:
    """Where two states differ, but for seconds, payments and places; figures may differ by rounding."""
    if isinstance(here, dict) and isinstance(there, dict):
        for key in sorted((here.keys() | there.keys()) - ACCOUNTING):
            yield from differences(here.get(key), there.get(key), f"{where}.{key}".strip("."))
    elif isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        for i, (a, b) in enumerate(zip(here, there, strict=True)):
            yield from differences(a, b, f"{where}[{i}]")
    elif isinstance(here, float) and isinstance(there, float) and math.isclose(here, there, rel_tol=1e-6, abs_tol=1e-9):
        return
    elif here != there:
        yield f"{where}: {str(here)[:80]} on this machine, {str(there)[:80]} on the cluster"
