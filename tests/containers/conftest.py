"""A Docker engine, the images built on it, and containers held as Kubernetes' restricted profile holds them."""

import functools
import http.server
import os
import shlex
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from stores import Store, gs_store
from whole_run import EMBEDDING, SLM

from pada_agent.components.backends.models import sources
from pada_agent.components.images import TAG
from pada_agent.components.stages import IMAGES
from pada_agent.pipelines.kubeflow.placement import USER

ROOT = Path(__file__).parents[2]
TEST_TAG = f"{TAG}-test"
PUBLIC_BASE, OWN_BASE = "python:3.11-slim-bookworm", "pada-agent/test-base:bookworm"
# What Kubernetes' restricted profile asks for, and a root file system that cannot be written.
RESTRICTED = [f"--user={USER}:{USER}", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only"]
RESTRICTED += ["--tmpfs=/tmp:exec,mode=1777", "--shm-size=512m"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test waits for the builds."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(2400))


@dataclass(frozen=True)
class Engine:
    """A Docker client that builds with BuildKit, and an engine that answers it."""

    client: str

    def __call__(self, *arguments: str, check: bool = True, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([self.client, *arguments], check=False, capture_output=True, text=True, timeout=seconds)
        assert not check or done.returncode == 0, f"docker {shlex.join(arguments)[:300]}: {done.stderr[-2000:]}"
        return done

    def start(
        self,
        image: str,
        command: Sequence[str],
        mounts: Mapping[Path, str] | None = None,
        environment: Mapping[str, str] | None = None,
        network: str = "none",
        name: str = "",
    ) -> subprocess.Popen[str]:
        """`command` in a new container; `mounts` are 'where' or 'where:ro' by what is mounted there."""
        options = [*RESTRICTED, f"--network={network}", f"--name={name or 'pada-' + uuid.uuid4().hex}"]
        options += [f"--volume={source}:{target}" for source, target in (mounts or {}).items()]
        options += [f"--env={key}={value}" for key, value in (environment or {}).items()]
        whole = [self.client, "run", "--rm", *options, image, *command]
        return subprocess.Popen(whole, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, image: str, command: Sequence[str], seconds: float = 120, **how: Any) -> subprocess.CompletedProcess[str]:
        """As `start`, and its end awaited."""
        name = f"pada-{uuid.uuid4().hex}"
        process = self.start(image, command, name=name, **how)
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self("kill", name, check=False)
            raise
        return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.fixture(scope="session")
def engine() -> Engine:
    given = os.environ.get("DOCKER")
    clients = [given] if given else [found for d in os.get_exec_path() if (found := shutil.which("docker", path=d))]
    tried = []
    for client in dict.fromkeys(clients):
        version = ["version", "--format", "{{.Client.Version}} {{.Server.Version}}"]
        answer = subprocess.run([client, *version], check=False, capture_output=True, text=True)
        if answer.returncode:
            tried.append(f"{client}: {answer.stderr.strip().splitlines()[-1]}")
        elif (
            int(answer.stdout.split(".")[0]) >= 23
            and subprocess.run([client, "buildx", "version"], check=False, capture_output=True).returncode
        ):  # before version 23 BuildKit was part of the client
            tried.append(f"{client}: builds need its plugin buildx")
        else:
            return Engine(client)
    pytest.skip(f"CONTAINER TESTS DID NOT RUN: no Docker engine to build with ({'; '.join(tried) or 'no docker on the PATH'})")


@pytest.fixture(scope="session")
def images(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The four images by role, built as `make images SLM=cpu` builds them."""
    base = _base(engine)
    with as_pip_is_set_up_here(tmp_path_factory.mktemp("pip")) as flags:
        words = ["make", "images", f"DOCKER={engine.client}", f"TAG={TEST_TAG}", "SLM=cpu", f"BASE={base}"]
        built = subprocess.run(
            [*words, f"BUILD_FLAGS={shlex.join(flags)}"], check=False, capture_output=True, text=True, cwd=ROOT, timeout=1800
        )
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-4000:]
    return {role: f"pada-agent/{role}:{TEST_TAG}" for role in IMAGES}


def _base(engine: Engine) -> str:
    if engine("image", "inspect", PUBLIC_BASE, check=False).returncode == 0:
        return PUBLIC_BASE
    if engine("image", "inspect", OWN_BASE, check=False).returncode == 0:
        return OWN_BASE
    if engine("pull", PUBLIC_BASE, check=False, seconds=300).returncode == 0:
        return PUBLIC_BASE
    script = Path(__file__).with_name("base_image.sh")
    environment = {**os.environ, "DOCKER": engine.client}
    made = subprocess.run([str(script), OWN_BASE], check=False, capture_output=True, text=True, env=environment, timeout=900)
    assert made.returncode == 0, f"{PUBLIC_BASE} cannot be pulled, and {script.name} says: {made.stderr[-2000:]}"
    return OWN_BASE


@contextmanager
def as_pip_is_set_up_here(folder: Path) -> Iterator[list[str]]:
    """Flags of `docker build` that let pip in the build see what pip sees here: its settings and certificates as secrets."""
    listing = subprocess.run([sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True).stdout
    found = dict(line.split("=", 1) for line in listing.splitlines() if "=" in line)
    settings = {key.rpartition(".")[2]: value.strip("'") for key, value in sorted(found.items(), reverse=True)}
    lines = [f"{key} = {settings[key]}" for key in ("index-url", "default-timeout", "trusted-host") if key in settings]
    flags = ["--network=host", f"--secret=id=pip,src={folder / 'pip.conf'}"]
    if certificates := settings.get("cert"):
        lines.append("cert = /run/secrets/ca")
        flags.append(f"--secret=id=ca,src={certificates}")
    with ExitStack() as servers:
        for key in ("extra-index-url", "find-links"):
            places = [p for p in settings.get(key, "").replace("\\n", " ").split() if not p.startswith("file:")]
            reached = [servers.enter_context(served(Path(p))) if Path(p).is_dir() else p for p in places]
            lines += [f"{key} = {' '.join(reached)}"] * bool(reached)
        (folder / "pip.conf").write_text("\n".join(["[global]", *lines, ""]))
        yield flags


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The folder's files over HTTP on the loopback, for a build that cannot see the folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume of models as a cluster has it: fetched, which happens here if it has to, and nothing unpacked."""
    cache = tmp_path_factory.mktemp("models")
    for name in (SLM, EMBEDDING):
        found, work = sources.find_model(name), cache / "work"
        copy = work / found.path.name
        work.mkdir()
        shutil.copytree(found.path, copy) if found.path.is_dir() else shutil.copy2(found.path, copy)
        # The hub's own cache is not in ours, and no container sees it.
        sources._keep(replace(found, path=copy), work, cache / sources._folder(name).name)
    for path in (cache, *cache.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return cache


@pytest.fixture
def shared_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that this process writes and the images' user may read."""
    tmp_path.chmod(0o755)
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o755)
    yield folder


@pytest.fixture(scope="session")
def object_store() -> Iterator[Store]:
    """A real server for gs:// on the loopback, with a bucket and the environment that leads there."""
    with gs_store() as found:
        yield found
