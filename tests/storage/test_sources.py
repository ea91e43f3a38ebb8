"""Rows and models from both stores."""

import json
import shutil

import fsspec
import pyarrow
import pytest
from pyarrow import parquet

from pada_agent.components.backends.artifacts.row_sources import read_rows
from pada_agent.components.backends.models.sources import find_model
from pada_agent.components.backends.store.transfer import put
from pada_agent.components.core.errors import InputError, ModelError

ROWS = [{"question": f"q{n} é", "answer": n} for n in range(5)]


def test_rows_of_a_file_and_of_shards(store, tmp_path):
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "shards").mkdir()
    for number, rows in enumerate((ROWS[:2], ROWS[2:])):
        parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "shards" / f"train-{number}-of-2.parquet")
    put(tmp_path, f"{store.uri}/data")
    assert [row for _, row in read_rows(f"{store.uri}/data/train.jsonl")] == ROWS
    assert [row for _, row in read_rows(f"{store.uri}/data/shards")] == ROWS
    assert next(read_rows(f"{store.uri}/data/train.jsonl"))[0] == f"{store.uri}/data/train.jsonl:1"


def test_rows_that_are_not_there_or_wrong(store, tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"a": 1}\n{"a"\n')
    put(tmp_path / "bad.jsonl", f"{store.uri}/bad.jsonl")
    with pytest.raises(InputError, match=rf"^{store.uri}/bad.jsonl:2: not JSON"):
        list(read_rows(f"{store.uri}/bad.jsonl"))
    for uri in (f"{store.uri}/none.jsonl", f"{store.scheme}://nobody-made-this/rows.jsonl"):
        with pytest.raises(InputError, match=f"^{uri}: there is no such file or directory$"):
            list(read_rows(uri))


def test_rows_without_rights_are_one_line(s3):
    with (
        s3.at(s3.endpoint, AWS_SECRET_ACCESS_KEY="wrong").used(),
        pytest.raises(InputError, match=rf"^{s3.uri}/rows.jsonl: no permission"),
    ):
        list(read_rows(f"{s3.uri}/rows.jsonl"))


def test_a_model_is_fetched_once_and_whole(store, tmp_path, tiny_slm, monkeypatch):
    monkeypatch.setenv("PADA_MODELS", str(tmp_path / "models"))
    put(tiny_slm, f"{store.uri}/models/tiny")
    found = find_model(f"{store.uri}/models/tiny")
    names = sorted(p.name for p in tiny_slm.iterdir())
    assert sorted(p.name for p in found.path.iterdir()) == names
    assert all((found.path / name).read_bytes() == (tiny_slm / name).read_bytes() for name in names)
    files, top = fsspec.url_to_fs(store.uri)
    files.rm(top, recursive=True)
    assert find_model(f"{store.uri}/models/tiny") == found
    shutil.rmtree(tmp_path / "models")
    with pytest.raises(ModelError, match=f"tried object store: {store.uri}/models/tiny: there is nothing there"):
        find_model(f"{store.uri}/models/tiny")
