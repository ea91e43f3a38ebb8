"""Names that somebody else wrote to a store: refused, and a file elsewhere on this machine survives."""

import json

import fsspec
import pytest

from pada_agent.components.backends.slm.checkpoints import Checkpoints
from pada_agent.components.backends.store.export import fetch_shipped
from pada_agent.components.backends.store.objects import names, write
from pada_agent.components.backends.store.transfer import fetch
from pada_agent.components.core.errors import InputError
from pada_agent.pipelines.local.outcome import last_state
from pada_agent.pipelines.local.remote_run import open_run, working_copy

STORE = "memory://bucket"


@pytest.fixture(autouse=True)
def survivor(tmp_path, monkeypatch):
    """A file beside the working folder; it is still there after each test."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    monkeypatch.setenv("PADA_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    file = tmp_path / "runs" / "other" / "adapter"
    file.parent.mkdir(parents=True)
    file.write_text("dear")
    yield
    assert file.read_text() == "dear"
    memory.store.clear()


def there(monkeypatch, *objects):
    """The store holds these names, as GCS and S3 would give them: fsspec's own in memory would tidy them."""
    memory = type(fsspec.filesystem("memory"))

    def find(self, path, detail=False, **_):
        found = {f"{path.rstrip('/')}/{name}": {"size": None} for name in objects}
        return found if detail else list(found)

    monkeypatch.setattr(memory, "find", find)
    monkeypatch.setattr(memory, "_strip_protocol", classmethod(lambda cls, path: "/" + path.removeprefix("memory://").strip("/")))


def test_a_uri_that_ends_in_two_dots(monkeypatch, tmp_path):
    there(monkeypatch, "adapter")
    with pytest.raises(InputError, match="cannot be the name of a file"):
        fetch(f"{STORE}/runs/..", tmp_path / "runs" / "mine")


@pytest.mark.parametrize("name", ["../other/adapter", "a/../../other/adapter", "a\\b", "a//b"])
def test_an_objects_name(monkeypatch, tmp_path, name):
    there(monkeypatch, name)
    with pytest.raises(InputError, match="cannot be the name of a file"):
        fetch(f"{STORE}/run", tmp_path / "runs" / "mine")
    with pytest.raises(InputError, match="cannot be the name of a file"):
        names(f"{STORE}/run")


def test_the_folder_of_a_runs_task(monkeypatch):
    run = open_run(f"{STORE}/runs/a")
    with pytest.raises(InputError, match="cannot be the name of a file"):
        run._bring_task("..", {"files": {}, "folders": []})
    there(monkeypatch, "../manifest.json")
    with pytest.raises(InputError, match="cannot be the name of a file"):
        run.bring()


@pytest.mark.parametrize("name", ["..", "../../other/new", "/etc/new", 7])
def test_a_manifests_folders(name, tmp_path):
    uri = f"{STORE}/runs/a"
    write(f"{uri}/01-prepare/task.json", b"{}")
    write(f"{uri}/01-prepare/manifest.json", json.dumps({"files": {}, "folders": [name]}).encode())
    with pytest.raises(InputError, match=r"01-prepare/manifest.json: .* cannot be the name of a file"):
        open_run(uri).bring()
    assert not (working_copy(uri) / "01-prepare").exists()
    assert [p.name for p in (tmp_path / "runs" / "other").iterdir()] == ["adapter"]


def test_a_task_folder_that_is_a_link(tmp_path):
    uri = f"{STORE}/runs/a"
    write(f"{uri}/01-prepare/task.json", b"{}")
    write(f"{uri}/01-prepare/manifest.json", b'{"files": {}, "folders": []}')
    working_copy(uri).mkdir(parents=True)
    (working_copy(uri) / "01-prepare").symlink_to(tmp_path / "runs" / "other")
    with pytest.raises(InputError, match="leads out of"):
        open_run(uri).bring()


@pytest.mark.parametrize("name", ["..", "../../runs/other", "/etc", 7])
def test_the_last_checkpoint(name, tmp_path):
    first = Checkpoints(f"{STORE}/checkpoints")
    first.resume("run")
    write(f"{STORE}/checkpoints/{first._identity[:12]}/run.json", json.dumps({"last": name}).encode())
    with pytest.raises(InputError, match=r"run.json: .* cannot be the name of a file"):
        Checkpoints(f"{STORE}/checkpoints").resume("run")
    local = tmp_path / "local"
    local.mkdir()
    (local / "run.json").write_text(json.dumps({"identity": first._identity, "last": name}))
    with pytest.raises(InputError, match=r"run.json: .* cannot be the name of a file"):
        Checkpoints(str(local)).resume("run")


@pytest.mark.parametrize("folder", ["..", "../runs/other", "/etc", "a/b", 7])
def test_the_folder_of_a_pointer(folder, tmp_path):
    pointer = {"name": "a", "folder": folder, "files": {}, "facts": {}}
    write(f"{STORE}/export/shipped.json", json.dumps(pointer).encode())
    with pytest.raises(InputError, match=r"shipped.json: "):
        fetch_shipped(f"{STORE}/export", tmp_path / "runs" / "mine")


@pytest.mark.parametrize("name", ["..", "../other", "/etc", ""])
def test_a_runs_latest_state(name, tmp_path):
    (tmp_path / "latest_state").write_text(f"{name}\n")
    with pytest.raises(InputError, match=r"latest_state: .* cannot be the name of a file"):
        last_state(tmp_path)
