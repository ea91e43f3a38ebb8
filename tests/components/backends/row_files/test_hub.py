"""Data sets on the hub by their own files, with the hub's own clients against a hub on the loopback."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import hub_stub
import pytest
from huggingface_hub import HfFileSystem
from shape_files import as_parquet

from pada_agent.components.backends.artifacts.row_sources import read_rows
from pada_agent.components.core.errors import InputError

CSV = b"question,answer\none,1\ntwo,2\n"
ROWS = [{"question": "one", "answer": "1"}, {"question": "two", "answer": "2"}]
CONFIGS = b"""---
configs:
- config_name: short
  data_files:
  - {split: train, path: short.csv}
- config_name: long
  data_files: [{split: train, path: "long/*.jsonl.gz"}, {split: test, path: short.csv}]
---
"""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[hub_stub.HubStub]:
    with hub_stub.serving() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr("datasets.config.HF_ENDPOINT", hub.url)
        monkeypatch.setattr("datasets.config.HUB_DATASETS_URL", hub.url + "/datasets/{repo_id}/resolve/{revision}/{path}")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        HfFileSystem.clear_instance_cache()
        yield hub
        HfFileSystem.clear_instance_cache()


def rows(source: str) -> list[object]:
    return [row for _, row in read_rows(source)]


def test_a_repository_without_converted_files(hub: hub_stub.HubStub) -> None:
    hub.files["owner/name"] = {"train.csv": CSV, "data/ignored.txt": b"x", "dev.csv": b"question,answer\nthree,3\n"}
    assert rows("owner/name#train") == ROWS
    assert rows("owner/name#validation") == [{"question": "three", "answer": "3"}]  # by the library's rules
    assert next(read_rows("owner/name#train"))[0] == "owner/name#train:2"
    assert rows("owner/name#train[1:]") == ROWS[1:]
    with pytest.raises(InputError, match="owner/name#test: there is no split 'test'; there are train, validation"):
        rows("owner/name#test")
    assert not any("convert" in path for path in hub.asked)


def test_shards_in_parquet(hub: hub_stub.HubStub) -> None:
    hub.files["owner/name"] = {f"data/train-0000{n}-of-00002.parquet": as_parquet([row]) for n, row in enumerate(ROWS)}
    assert list(read_rows("owner/name#train")) == [
        (f"owner/name#train/train-0000{n}-of-00002.parquet:1", row) for n, row in enumerate(ROWS)
    ]


def test_configurations_that_the_readme_names(hub: hub_stub.HubStub) -> None:
    packed = gzip.compress(b'{"question": "long"}\n')
    hub.files["owner/name"] = {"README.md": CONFIGS, "short.csv": CSV, "long/a.jsonl.gz": packed, "long/b.jsonl.gz": packed}
    assert rows("owner/name:short#train") == rows("owner/name:long#test") == ROWS
    assert rows("owner/name:long#train") == [{"question": "long"}] * 2
    with pytest.raises(InputError, match=r"which configuration\? write owner/name:configuration#split; there are long, short"):
        rows("owner/name#train")
    with pytest.raises(InputError, match="there is no configuration 'wide'; there are long, short"):
        rows("owner/name:wide#train")


def test_a_private_one_takes_a_token(hub: hub_stub.HubStub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.files["owner/own"] = {"train.csv": CSV}
    hub.private["owner/own"] = "hf_secret"
    with pytest.raises(InputError, match=r"owner/own#train: there is no data set owner/own .* private: log in .* HF_TOKEN"):
        rows("owner/own#train")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    HfFileSystem.clear_instance_cache()
    assert rows("owner/own#train") == ROWS


def test_one_that_a_script_makes_is_read_from_the_hubs_own_copy(hub: hub_stub.HubStub) -> None:
    hub.files["owner/name"] = {"name.py": b"raise SystemExit", "plain/train/0000.parquet": as_parquet(ROWS)}
    assert rows("owner/name#train") == ROWS


def test_what_is_not_there(hub: hub_stub.HubStub) -> None:
    hub.files["owner/empty"] = {"README.md": b"nothing"}
    with pytest.raises(InputError, match="owner/empty#train: there is nothing there"):
        rows("owner/empty#train")
    with pytest.raises(InputError, match="there is no data set owner/none on the hub"):
        rows("owner/none#train")
