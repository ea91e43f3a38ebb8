"""Outputs at gs:// that no launcher hands over: made on the local disk, uploaded at the end, in an order that readers trust."""

import json
from pathlib import Path

import fsspec
import pytest
from package_runner import mounts_below
from stores import Store, gs_store

from pada_agent.components.backends.executor import Executor
from pada_agent.components.backends.mounts import on_fuse
from pada_agent.components.core.errors import InputError

MANY = [f"z{number}" for number in range(20)]  # several are uploaded at a time


@pytest.fixture(scope="module")
def memory():
    with gs_store(memory=True) as found:
        yield found


@pytest.fixture
def bucket(memory, tmp_path):
    with memory.elsewhere().used() as found, mounts_below(tmp_path):
        yield found


def executor(store: Store, mount: Path) -> Executor:
    place = f"{store.bucket}/{store.folder}/task"
    artifacts = {name: {"artifacts": [{"name": name, "uri": f"gs://{place}/{name}"}]} for name in ("adapter", "report")}
    outputs = {"artifacts": artifacts, "parameters": {"steps": {"outputFile": f"{mount}/gcs/{place}/steps"}}}
    return Executor(json.dumps({"outputs": {**outputs, "outputFile": f"{mount}/gcs/{place}/executor_output.json"}}))


def made(store):
    """Names of the objects in the task's folder, in the order in which they were made."""
    found = fsspec.filesystem("gs", use_listings_cache=False).find(f"{store.bucket}/{store.folder}", detail=True)
    return sorted(
        (n.partition(f"{store.folder}/")[2] for n in found),
        key=lambda n: int(found[f"{store.bucket}/{store.folder}/{n}"]["generation"]),
    )


def write(ex):
    adapter = ex.output("adapter", "config.json")
    (adapter / "a").mkdir(parents=True)
    for name in ("a/weights", "config.json", *MANY):
        (adapter / name).write_text(name)
    ex.output("report").write_text("<p>")
    ex.set_parameter("steps", 3)
    return adapter


def test_nothing_is_there_before_the_end_and_the_last_word_comes_last(bucket, tmp_path):
    ex = executor(bucket, tmp_path)
    for left in ("adapter/left", "executor_output.json"):
        fsspec.filesystem("gs").pipe_file(f"{bucket.bucket}/{bucket.folder}/task/{left}", b"by an earlier attempt")
    adapter = write(ex)
    assert made(bucket) == []
    ex.finish()
    files = [name for name in made(bucket) if name and not name.endswith("/")]
    assert set(files[:-4]) == {"task/adapter/a/weights", *(f"task/adapter/{name}" for name in MANY)}
    assert files[-4:] == ["task/adapter/config.json", "task/report", "task/steps", "task/executor_output.json"]
    assert set(made(bucket)) >= {"", "task/", "task/adapter/", "task/adapter/a/"}
    said = json.loads(fsspec.filesystem("gs").cat_file(f"{bucket.bucket}/{bucket.folder}/task/executor_output.json"))
    assert said["artifacts"]["adapter"]["artifacts"][0]["uri"] == f"{bucket.uri}/task/adapter"
    ex.close()
    assert not adapter.exists() and not (tmp_path / "gcs").exists()


def test_what_is_to_outlive_the_process_lies_at_the_uri(bucket, tmp_path):
    assert executor(bucket, tmp_path).beside_output("adapter", ".checkpoints") == f"{bucket.uri}/task/adapter.checkpoints"


def test_a_bucket_that_is_not_there_is_said_before_work(bucket, tmp_path):
    nowhere = Store("gs", bucket.environment, "nowhere")
    with pytest.raises(InputError, match=rf"^{nowhere.uri}/task/.*: there is no such bucket$"):
        executor(nowhere, tmp_path).output("adapter")


def test_what_a_launcher_hands_over_stays_on_its_disk(bucket, tmp_path):
    (tmp_path / "gcs").mkdir()
    ex = executor(bucket, tmp_path)
    adapter = write(ex)
    ex.finish()
    assert adapter == tmp_path / "gcs" / bucket.bucket / bucket.folder / "task" / "adapter"
    assert (adapter.parent / "executor_output.json").exists()
    assert ex.beside_output("adapter", ".checkpoints") == f"{adapter}.checkpoints"
    ex.close()
    assert adapter.is_dir() and made(bucket) == []


TABLE = """\
22 1 254:0 / / rw - {root} overlay rw
23 22 0:30 / /gcs rw,nosuid shared:2 - fuse.gcsfuse gcsfuse rw,user_id=0
24 22 0:31 / /gcs\\040of\\040mine rw - fuse bucket rw
25 23 0:32 / /gcs/disk rw - ext4 /dev/vda rw
26 22 8:1 / /ntfs rw - fuseblk /dev/sda1 rw
"""


@pytest.mark.parametrize(
    ("path", "fuse"),
    [
        ("/gcs/b/x", True),
        ("/gcs", True),
        ("/gcs of mine/x", True),
        ("/gcs/disk/x", False),
        ("/gcs2/x", False),
        ("/ntfs/x", False),
        ("/x", False),
    ],
)
def test_a_mount_is_known_by_the_kernels_table(path, fuse, tmp_path, monkeypatch):
    for root in ("ext4", "fuse.fuse-overlayfs"):
        (tmp_path / "mountinfo").write_text(TABLE.format(root=root))
        monkeypatch.setattr("pada_agent.components.backends.mounts._TABLE", tmp_path / "mountinfo")
        assert on_fuse(Path(path)) == fuse
    monkeypatch.setattr("pada_agent.components.backends.mounts._TABLE", tmp_path / "none")
    assert not on_fuse(Path(path)), "macOS has no such table"
