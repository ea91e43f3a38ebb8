"""A reader of the export sees the model before or the whole new one."""

import json
import subprocess
import sys

import pytest
from finished_runs import state as finished

from pada_agent.components.backends.artifacts.exported import run_state
from pada_agent.components.backends.store import export, objects
from pada_agent.components.backends.store.export import fetch_shipped, publish, shipped
from pada_agent.components.core.errors import InputError

KILLED = """
import sys
from pathlib import Path
from pada_agent.components.backends.store import export
export.write = lambda uri, data: sys.exit(9)  # the process ends when only the pointer is missing
export.publish(Path(sys.argv[1]), sys.argv[2], "iteration-2", {"accuracy": 0.7})
"""


@pytest.fixture(params=["gs", "s3", "path"])
def place(request, tmp_path):
    """Where to export to: each store, and a plain folder."""
    if request.param == "path":
        yield str(tmp_path / "exported")
        return
    server = request.getfixturevalue(f"{request.param}_server")
    with server.elsewhere().used() as store:
        yield f"{store.uri}/exported"


def adapter(folder, text):
    (folder / "deep").mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_text(text)
    (folder / "deep" / "train.json").write_text("{}")
    return folder


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_what_was_published_comes_back_checked(place, tmp_path):
    assert shipped(place) is None
    with pytest.raises(InputError, match="nothing was published here"):
        fetch_shipped(place, tmp_path / "copy")
    made = publish(adapter(tmp_path / "a", "one"), place, "iteration-1", {"accuracy": 0.5})
    assert shipped(place) == made
    assert (made["name"], made["facts"], sorted(made["files"])) == (
        "iteration-1",
        {"accuracy": 0.5},
        ["adapter_model.safetensors", "deep/train.json"],
    )
    assert contents(fetch_shipped(place, tmp_path / "copy")) == contents(tmp_path / "a")


def test_doing_it_again_uploads_nothing(store, tmp_path, monkeypatch):
    first = publish(adapter(tmp_path / "a", "one"), f"{store.uri}/", "iteration-1", {"accuracy": (0.5,)})
    monkeypatch.setattr(export, "put", lambda *_: pytest.fail("uploaded again"))
    assert publish(tmp_path / "a", store.uri, "iteration-1", {"accuracy": (0.5,)}) == first


def test_a_crash_before_the_pointer_leaves_the_old_model_and_the_next_try_ends_it(store, tmp_path):
    publish(adapter(tmp_path / "a", "one"), store.uri, "iteration-1", {})
    new = adapter(tmp_path / "b", "two")
    crashed = subprocess.run([sys.executable, "-c", KILLED, str(new), store.uri], check=False, timeout=60)
    assert crashed.returncode == 9
    assert any("iteration-2" in name for name in objects.names(store.uri))
    assert contents(fetch_shipped(store.uri, tmp_path / "copy")) == contents(tmp_path / "a")
    publish(new, store.uri, "iteration-2", {"accuracy": 0.7})
    assert contents(fetch_shipped(store.uri, tmp_path / "copy")) == contents(new)


def test_another_model_of_the_same_name_does_not_mix_with_it(store, tmp_path):
    one = publish(adapter(tmp_path / "a", "one"), store.uri, "iteration-1", {})
    two = publish(adapter(tmp_path / "b", "two"), store.uri, "iteration-1", {})
    assert one["folder"] != two["folder"]
    assert objects.read(f"{store.uri}/{one['folder']}/adapter_model.safetensors") == b"one"


def test_a_file_that_was_changed_since_is_found_out(store, tmp_path):
    made = publish(adapter(tmp_path / "a", "one"), store.uri, "iteration-1", {})
    objects.write(f"{store.uri}/{made['folder']}/adapter_model.safetensors", b"onf")
    with pytest.raises(InputError, match=r"adapter_model.safetensors is missing or not as published; export again"):
        fetch_shipped(store.uri, tmp_path / "copy")


@pytest.mark.parametrize("pointer", [b"", b"[1]", json.dumps({"name": "x"}).encode()])
def test_a_damaged_pointer_is_one_line(store, pointer):
    objects.write(f"{store.uri}/shipped.json", pointer)
    with pytest.raises(InputError, match=r"shipped.json: not what `publish` writes"):
        shipped(store.uri)


def test_errors_are_one_line(store, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="there is nothing to publish at"):
        publish(tmp_path / "empty", store.uri, "x", {})
    with pytest.raises(InputError, match="there is no such bucket"):
        publish(adapter(tmp_path / "a", "one"), f"{store.scheme}://nobody-made-this/x", "x", {})


def test_a_run_is_found_by_its_export_its_directory_and_a_state(place):
    left = finished("gs://a/adapter")
    with pytest.raises(InputError, match=r"exported: state\.json is missing; name a run's export place"):
        run_state(place)
    objects.write(f"{place}/05-start/state/state.json", left.model_dump_json().encode())
    objects.write(f"{place}/latest_state", b"05-start/state\n")
    assert run_state(f"{place}/05-start/state") == run_state(place) == run_state(f"{place}/") == left
    objects.remove(f"{place}/latest_state")
    objects.write(f"{place}/state.json", left.model_dump_json().encode())
    assert run_state(place) == left
