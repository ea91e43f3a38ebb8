"""A teacher without any endpoint: llama.cpp's server as a child process on this machine's loopback.

with embedded_server("Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", context=4096) as base_url:
    llm = open_llm(settings.teacher.model_copy(update={"base_url": base_url}), settings.budget, ledger)
"""

import json
import math
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from pada_agent.components.backends.models.sources import resolve_model
from pada_agent.components.backends.temporary import OwnFolder
from pada_agent.components.backends.threads import wait_briefly
from pada_agent.components.core.errors import ModelError

START_SECONDS = 300.0  # a few gigabytes from a slow disk
LOG_LINES = 6
_LOG = "pada-embedded-"


@contextmanager
def embedded_server(model: str, context: int) -> Iterator[str]:
    """Serve `model` (a name for `resolve_model`, or a .gguf file) with `context` tokens; gives the base_url, ends with the block.

    Raises ModelError, with the end of the server's log, for what is no GGUF model or does not come up.
    """
    if find_spec("llama_cpp") is None:
        raise ModelError("base_url: embedded needs llama-cpp-python; install it with: pip install 'pada-agent[local]'")
    path = resolve_model(model)
    if path.suffix != ".gguf":
        raise ModelError(f"model {model}: llama.cpp needs a .gguf file, this is {path}; name a GGUF model")
    own = OwnFolder(_LOG)
    log = own.path / f"{path.stem}.log"
    try:
        process, url = _start(path, context, log)
        try:
            _wait_until_up(process, url, model, log)
            yield url
        finally:
            _stop(process)
    except BaseException:
        own.leave()  # it says more than we do
        raise
    own.remove()


def server_settings(path: Path, context: int) -> dict[str, object]:
    """Settings of llama-cpp-python's server (its `ModelSettings`), as measured best on two cores."""
    cores = usable_cores()
    return {
        "model": str(path),
        "n_ctx": context,
        "n_threads": cores,
        "n_threads_batch": cores,
        # The server's default keeps the logits of every prompt token: 4 bytes x vocabulary x context, 2.5 GB at 4096 tokens.
        "logits_all": False,
        "n_gpu_layers": 0,
    }


def usable_cores() -> int:
    """Physical cores this process may use: the affinity mask, without hyper-threads, under the cgroup's CPU quota."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    siblings = {_siblings(cpu) for cpu in allowed}
    return max(1, math.ceil(min(len(siblings), _cpu_quota())))


def _siblings(cpu: int) -> str:
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


def _cpu_quota() -> float:
    """CPUs' worth of time a second that the container may use; infinite where nothing limits it."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return math.inf


def _start(path: Path, context: int, log: Path) -> tuple[subprocess.Popen[bytes], str]:
    environment = dict(os.environ)
    wait_briefly(environment)
    with socket.socket() as listener, log.open("wb") as out:
        listener.bind(("127.0.0.1", 0))
        settings = json.dumps(server_settings(path, context))
        process = subprocess.Popen(
            [sys.executable, "-m", "pada_agent.components.backends.llm.embedded.child", str(listener.fileno()), settings],
            stdin=subprocess.PIPE,  # never written to: it ends when this process does, and the server with it
            stdout=out,
            stderr=subprocess.STDOUT,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # Ctrl-C goes to us, and we stop it
            env=environment,
        )
        return process, f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


def _wait_until_up(process: subprocess.Popen[bytes], url: str, model: str, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    started = time.monotonic()
    while time.monotonic() - started < START_SECONDS:
        if process.poll() is not None:
            raise ModelError(f"model {model}: llama.cpp could not serve it: {_end_of(log)} (whole log: {log})")
        try:
            with opener.open(f"{url}/models", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise ModelError(f"model {model}: llama.cpp was not ready after {START_SECONDS:.0f} s: {_end_of(log)} (whole log: {log})")


def _end_of(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-LOG_LINES:]) or "it said nothing"


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
