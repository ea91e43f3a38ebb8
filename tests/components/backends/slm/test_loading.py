"""A GGUF file is unpacked once, wherever its cache lies, and what a killed process left half unpacked does not stay."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_slm
import torch

from pada_agent.components.backends.slm.loading import load_slm
from pada_agent.components.core.errors import ModelError
from pada_agent.components.core.settings import SlmSettings

LOAD = """
import sys
from pada_agent.components.backends.slm import loading
from pada_agent.components.core.settings import SlmSettings
if "stuck" in sys.argv:
    loading._put_in_place = lambda own, folder: (print("unpacked", flush=True), __import__("time").sleep(600))
loading.load_slm(SlmSettings(model=sys.argv[1], dtype="float32"))
"""


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    return tiny_slm.build_gguf(tmp_path_factory.mktemp("gguf"))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    for name, folder in (("PADA_MODELS", tmp_path / "models"), ("TMPDIR", tmp_path / "tmp")):
        folder.mkdir()
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return tmp_path / "models"


def settings(gguf: Path) -> SlmSettings:
    return SlmSettings(model=str(gguf), dtype="float32", device="cpu")


def start(gguf: Path, *how: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen([*before, sys.executable, "-c", LOAD, str(gguf), *how], stdout=-1, stderr=-1, text=True)


def test_it_is_unpacked_once_and_another_user_may_read_it(gguf, cache, capsys):
    first = load_slm(settings(gguf))
    [folder] = cache.iterdir()
    assert folder.name.startswith("dense--") and folder.name.endswith("--float32")
    assert {oct(path.stat().st_mode & 0o777) for path in (folder, folder / "model.safetensors")} == {"0o755", "0o644"}
    assert "unpacking tiny.gguf" in capsys.readouterr().err
    again = load_slm(settings(gguf))
    assert "unpacking" not in capsys.readouterr().err
    assert all(map(torch.equal, first.model.state_dict().values(), again.model.state_dict().values()))
    assert not list((cache.parent / "tmp").iterdir())


@pytest.mark.skipif(os.getuid() != 0 or sys.platform != "linux", reason="needs root, to mount the cache read-only")
def test_a_cache_that_cannot_be_written_is_named_and_the_model_is_loaded_all_the_same(gguf, cache):
    mounted = f'mount --bind {cache} {cache} && mount -o remount,bind,ro {cache} && exec "$@"'
    process = start(gguf, before=("unshare", "--mount", "sh", "-c", mounted, "sh"))
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert f"{cache} cannot be written (Read-only file system)" in err
    assert not list(cache.iterdir())
    assert not list((cache.parent / "tmp").iterdir()), "it goes with its process"


def test_a_cache_where_folders_cannot_be_renamed(gguf, cache, monkeypatch):
    rename = os.rename

    def refuse(old, new):
        if Path(new).parent == cache:
            raise OSError(24, "Too many open files")
        rename(old, new)

    monkeypatch.setattr("pada_agent.components.backends.slm.loading.os.rename", refuse)
    assert load_slm(settings(gguf)).context == 1024
    assert not list(cache.glob("dense--*"))


def test_what_a_killed_process_left_goes_with_the_next_and_not_while_it_lives(gguf, cache):
    process = start(gguf, "stuck")
    assert process.stdout.readline() == "unpacked\n"
    left = {path.name for path in cache.iterdir()}
    assert len(left) == 2, "a folder and its lock"
    (cache / ".dense--of-another-model").mkdir()
    try:
        load_slm(settings(gguf))
        assert left < {path.name for path in cache.iterdir()}
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    load_slm(settings(gguf))
    assert not left & {path.name for path in cache.iterdir()}
    assert (cache / ".dense--of-another-model").exists()


def test_two_processes_at_once_leave_one_folder(gguf, cache):
    started = time.monotonic()
    processes = [start(gguf), start(gguf)]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert [path.name[:7] for path in cache.iterdir()] == ["dense--"], time.monotonic() - started


def test_a_file_that_is_no_gguf_is_told_in_one_line(tmp_path, cache):
    (tmp_path / "broken.gguf").write_bytes(b"no model at all")
    with pytest.raises(ModelError, match=r"broken\.gguf: this GGUF file cannot be unpacked \(") as raised:
        load_slm(settings(tmp_path / "broken.gguf"))
    assert "\n" not in str(raised.value)
    assert not list(cache.iterdir()) and not list((tmp_path / "tmp").iterdir())
