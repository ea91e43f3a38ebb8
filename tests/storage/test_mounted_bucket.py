"""Stages as Vertex AI runs them: a bucket mounted with FUSE, as user 10001 of a container that nobody gave the mount to.

The mount is fake_gcsfuse.py, which does what was seen of gcsfuse, over a fake-gcs-server; stages are real, with a tiny model.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import fsspec
import pytest
import tiny_slm
import yaml
from fake_gcsfuse import mounted
from forks import Death, Forks, forks
from llm_stub import serving
from package_runner import Container, PackageRun, mounts_below
from stores import Store, gs_store
from whole_run import small_run, state_of, teach

from pada_agent.components.backends.llm.ledger.calls import open_ledger
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.form import parameters_of
from pada_agent.components.core.settings import Settings
from pada_agent.pipelines.kubeflow.compile import compile_loop
from pada_agent.pipelines.kubeflow.pipeline import Shape
from pada_agent.pipelines.kubeflow.placement import USER, Vertex

MODES = {
    "root-0777": {"file_mode": 0o777, "folder_mode": 0o777},
    "root-0644": {"file_mode": 0o644, "folder_mode": 0o755},
    "user-0644": {"uid": USER, "gid": USER, "implicit": False},
}
LAST = {  # by artifact that is a folder: the file by which its readers know it as whole
    "train_data": "train.jsonl",
    "heldout_data": "manifest.json",
    "adapter": "adapter_config.json",
    "predictions": "metrics.json",
    "report_predictions": "metrics.json",
    "analyses": "analyses.jsonl",
    "plan": "strategies.yaml",
    "batches": "batches.jsonl",
    "checked_batches": "batches.jsonl",
    "state": "state.json",
    "synthetic_data": "synthetic.jsonl",
}


def missing() -> str:
    if os.geteuid() or not os.access("/dev/fuse", os.W_OK):
        return "root and /dev/fuse"
    lacking = [tool for tool in ("fusermount3", "setpriv") if not shutil.which(tool)]
    return ", ".join(lacking + ["mfusepy"] * (find_spec("mfusepy") is None))


pytestmark = pytest.mark.skipif(
    bool(missing()), reason=f"MOUNTED BUCKETS NOT TESTED: no {missing()} (apt install fuse3; dev extra)"
)


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    """A folder that user 10001 may look into; pytest's own are root's alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        slm = tiny_slm.build(folder / "slm", context=4096)
        for file in slm.iterdir():
            file.chmod(0o644)
        yield folder


@pytest.fixture(scope="module")
def server() -> Iterator[Store]:
    with gs_store(memory=True) as found:
        yield found


@pytest.fixture(scope="module")
def user() -> Iterator[Forks]:
    with forks(USER) as found:
        yield found


@pytest.fixture(scope="module")
def stub():
    with serving() as server:
        teach(server)
        yield server


@dataclass
class Vm:
    """Runs stages one after the other, each as a container with this mount and a /tmp of its own."""

    root: Path
    fork: Forks
    store: Store
    lacking: Sequence[str] = ()  # modules

    def start(self, container: Container, death: Death | None = None) -> int:
        own = {"OPENAI_API_KEY": "k", "HOME": "/tmp", "TMPDIR": str(self.tmp), **self.store.environment}
        self.log.touch()
        self.log.chmod(0o666)
        code = self.fork.stage(container.stage, container.arguments, self.log, self.root, own, death, self.lacking).wait()
        assert death or not list(self.tmp.iterdir()), "nothing stays on the local disk"
        return code

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def log(self) -> Path:
        return self.root / "log"

    def write(self, name: str, data: bytes) -> None:
        with self.store.used():
            fsspec.filesystem("gs").pipe_file(f"{self.store.bucket}/{name}", data)

    def objects(self, below: str = "") -> dict[str, int]:
        """Names of objects by the time they were made."""
        with self.store.used():
            files = fsspec.filesystem("gs", use_listings_cache=False)
            found = files.find(f"{self.store.bucket}/{below}", detail=True)
        return {name.removeprefix(f"{self.store.bucket}/"): int(entry["generation"]) for name, entry in found.items()}


@pytest.fixture
def vm(base, server, user):
    @contextmanager
    def make(mode: str, lacking: Sequence[str] = ()):
        root = Path(tempfile.mkdtemp(dir=base, prefix=f"{mode}-"))
        root.chmod(0o755)
        (root / "gcs").mkdir()
        (root / "tmp").mkdir(mode=0o700)
        os.chown(root / "tmp", USER, USER)
        store = Store("gs", server.environment, f"bucket-{uuid.uuid4().hex}")
        with store.used():
            fsspec.filesystem("gs").mkdir(store.bucket)
        with mounted(server.endpoint, root / "gcs", **MODES[mode]):
            yield Vm(root, user, store, lacking)

    return make


@cache
def _spec():
    (spec,) = yaml.safe_load_all(compile_loop(Shape(1, 1), Vertex()))
    return spec


def package(here, stub, base, start=None):
    """A run of one iteration on the mount, and its parameters but for addresses."""
    values = small_run(stub.url, base / "slm", slm={"max_length": 3000}, generate={"batch": 3}, analyze={"sample": 6, "k_max": 2})
    run = PackageRun(_spec(), here.root, start or here.start, scheme="gs", retries=False, bucket=here.store.bucket)
    return run, parameters_of(Settings.model_validate(values))


class Reached(Exception):
    """The task that a test is about has come to its end."""


def run_until(here, stub, base, task: str, act: Callable[[Container], None]) -> None:
    """Run the package up to a task, with which `act` does as it likes."""

    def start(container: Container) -> int:
        if container.task not in (task, "result"):
            return here.start(container)
        if container.task == task:
            act(container)
        raise Reached  # of `result` too, which follows whatever happens

    run, given = package(here, stub, base, start)
    with pytest.raises(Reached):
        run.run(**given, data_version="1", work_uri=f"gs://{here.store.bucket}/work")


@pytest.fixture(scope="module")
def states():
    return {}


@pytest.mark.parametrize("mode", MODES)
def test_the_whole_package(mode, vm, stub, base, states):
    with vm(mode) as here:
        run, given = package(here, stub, base)
        run.run(**given, data_version="1", work_uri=f"gs://{here.store.bucket}/work")
        assert [name for name in run.tasks if name.startswith("score-")] == ["score-1"], here.log.read_text()
        made = here.objects()
        for task in {name.rsplit("/", 1)[0] for name in made if name.endswith("/executor_output.json")}:
            own = {name.removeprefix(f"{task}/"): when for name, when in made.items() if name.startswith(f"{task}/")}
            assert own.pop("executor_output.json") > max(own.values()), "last of all"
            for artifact in {name.split("/")[0] for name in own if "/" in name} - {"adapter.checkpoints"}:
                files = {name: when for name, when in own.items() if name.startswith(f"{artifact}/") and not name.endswith("/")}
                last = LAST[artifact if artifact in LAST else artifact.rpartition("_")[0]]  # without its label
                assert files.pop(f"{artifact}/{last}") > max(files.values(), default=0), artifact
        state = run.tasks["score-1"].artifacts["state"]
        (here.root / "latest_state").write_text(str(run.local(state)))
        states[mode] = state_of(here.root)
        assert states[mode] == next(iter(states.values())), "the same on every mount"


def test_a_training_that_is_stopped_and_killed_in_its_upload_goes_on_and_leaves_nothing_half(vm, stub, base):
    with vm("root-0777") as here:

        def act(container: Container) -> None:
            given = json.loads(container.executor_input)
            del given["inputs"]["parameterValues"]["work_uri"]
            container.arguments[1] = json.dumps(given)
            adapter = given["outputs"]["artifacts"]["adapter"]["artifacts"][0]["uri"].partition(f"{here.store.bucket}/")[2]
            code = here.start(container, Death(signal.SIGTERM, "open", "*/checkpoint-*/trainer_state.json"))
            assert code == 128 + signal.SIGTERM, here.log.read_text()
            assert not list(here.tmp.iterdir())
            assert [name for name in here.objects(f"{adapter}.checkpoints") if name.endswith("/run.json")]
            code = here.start(container, Death(signal.SIGKILL, "open", "*/adapter/adapter_config.json"))
            assert code == -signal.SIGKILL, here.log.read_text()
            assert set(made(here, adapter)) >= {"adapter_model.safetensors", "train.json"}
            assert "adapter_config.json" not in made(here, adapter)
            here.write(f"{adapter}/left.bin", b"by an earlier attempt")
            assert here.start(container) == 0
            assert not list(here.tmp.glob("pada-outputs-*")), "nor what the killed process had made"
            assert here.log.read_text().count("resuming from checkpoint-") == 2
            assert set(made(here, adapter)) == {"", "README.md", "adapter_model.safetensors", "adapter_config.json", "train.json"}

        run_until(here, stub, base, "train-vanilla", act)


def made(here, folder):
    return [name.removeprefix(f"{folder}/") for name in here.objects(folder)]


def test_without_a_library_for_the_bucket_files_are_copied_through_the_mount(vm, stub, base):
    with vm("user-0644", lacking=["gcsfs"]) as here:

        def act(container: Container) -> None:
            assert here.start(container) == 0, here.log.read_text()
            found = here.objects()
            rows = {name: when for name, when in found.items() if "/train_data/" in name and not name.endswith("/")}
            assert max(rows, key=rows.__getitem__).endswith("/train.jsonl") and len(rows) == 5, "the rows come last"
            assert max(found, key=found.__getitem__).endswith("/executor_output.json")

        run_until(here, stub, base, "prepare", act)


def test_without_a_library_and_rights_it_says_whose_the_mount_is(vm, stub, base):
    with vm("root-0644", lacking=["gcsfs"]) as here:

        def act(container: Container) -> None:
            assert here.start(container) == 1
            (said,) = [line for line in here.log.read_text().splitlines() if line.startswith("InputError")]
            assert "Permission denied: " in said and f"this process is of user {USER}, group {USER}" in said
            assert "is of user 0, group 0, mode 755" in said and "gs://" in said

        run_until(here, stub, base, "prepare", act)


def test_a_ledger_in_a_mounted_bucket_is_refused(vm):
    with vm("root-0777") as here:
        ledger = here.root / "gcs" / here.store.bucket / "ledger.jsonl"
        with (
            mounts_below(here.root),
            pytest.raises(InputError, match=rf"^ledger {ledger}: .*; give gs://{here.store.bucket}/ledger"),
        ):
            open_ledger(str(ledger))
        with pytest.raises(InputError, match=r"; give gs://, s3:// or a file on a disk$"):
            open_ledger(str(ledger))
        assert not ledger.exists()


SAYS = """
import sys
from pathlib import Path
from pada_agent.components.backends.files import whole_directory, write_atomic
from pada_agent.components.backends.record_files import read_json
from pada_agent.components.core.errors import InputError

def folder(path):
    with whole_directory(path) as work:
        (work / "a").write_text("a")

try:
    {"file": lambda path: write_atomic(path, "a"), "folder": folder, "read": read_json}[sys.argv[1]](Path(sys.argv[2]))
except InputError as e:
    print(e)
"""


@pytest.mark.parametrize(
    ("mode", "what", "said"),
    [
        (
            "root-0777",
            "file",
            r"/x: Operation not permitted: .* is of user 0, group 0, mode 777; this process is of user 10001, group 10001",
        ),
        (
            "root-0777",
            "folder",
            r"/x: Operation not permitted: .* is of user 0, group 0, mode 777; this process is of user 10001, group",
        ),
        (
            "root-0644",
            "file",
            r"/x: Permission denied: .* is of user 0, group 0, mode 755; this process is of user 10001, group 10001",
        ),
        (
            "root-0644",
            "folder",
            r"/x: Permission denied: .* is of user 0, group 0, mode 755; this process is of user 10001, group 10001",
        ),
        ("user-0644", "folder", r"/x: a folder cannot be renamed here \(Too many open files\), .*; give gs://, s3:// or a disk"),
        (
            "no mount",
            "read",
            r"/tmp/x: Permission denied: .*/tmp is of user 10001, group 10001, mode 0; this process is of user 10001",
        ),
    ],
)
def test_what_a_mount_refuses_is_one_line_that_says_whose_it_is(vm, mode, what, said):
    with vm(mode if mode in MODES else "user-0644") as here:
        path = here.root / "gcs" / here.store.bucket / "x"
        if what == "read":
            here.tmp.chmod(0)
            path = here.tmp / "x"
        command = [
            "setpriv",
            "--reuid",
            str(USER),
            "--regid",
            str(USER),
            "--clear-groups",
            sys.executable,
            "-c",
            SAYS,
            what,
            str(path),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert not done.stderr
        assert re.fullmatch(f".*{said}.*\n", done.stdout), done.stdout
