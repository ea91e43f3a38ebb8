"""What lies at an address: another content is another version, the same content the same."""

import json
import os

import pytest

from pada_agent.components.backends.store import objects, versions
from pada_agent.components.backends.store.transfer import put
from pada_agent.components.backends.store.versions import check_versions, version_at
from pada_agent.components.core.addresses import Address, addresses
from pada_agent.components.core.errors import InputError
from pada_agent.components.core.settings import Settings


def version(value, kind="rows"):
    return version_at(Address("key", value, kind, ()))


def test_an_object_in_a_store(uri):
    objects.write(f"{uri}/a", b"first")
    first = version(f"{uri}/a")
    assert first.endswith(", 5 bytes")
    assert version(f"{uri}/a") == first
    objects.write(f"{uri}/a", b"other")
    assert version(f"{uri}/a") not in {first, ""}
    objects.write(f"{uri}/a", b"first")
    assert version(f"{uri}/a") == first


def test_a_folder_in_a_store(uri):
    objects.write(f"{uri}/shards/a", b"first")
    objects.write(f"{uri}/shards/deep/b", b"second")
    seen = [version(f"{uri}/shards")]
    assert version(f"{uri}/shards/") == seen[0] != ""
    objects.write(f"{uri}/shards/deep/b", b"SECOND")
    seen.append(version(f"{uri}/shards"))
    objects.write(f"{uri}/shards/c", b"")
    seen.append(version(f"{uri}/shards"))
    objects.remove(f"{uri}/shards/a")
    objects.write(f"{uri}/shards/moved", b"first")
    seen.append(version(f"{uri}/shards"))
    assert len(set(seen)) == 4 and all(seen)


def test_an_object_of_many_parts_in_s3(s3, tmp_path):
    path = tmp_path / "large"
    seen = []
    for letter in (b"a", b"b"):
        path.write_bytes(letter * (60 << 20))
        put(path, f"{s3.uri}/large")
        seen.append(version(f"{s3.uri}/large"))
    assert seen[0] != seen[1] and all(text.endswith(f"{60 << 20} bytes") for text in seen)


def test_what_cannot_be_told_in_a_store(store, s3_server):
    assert version(f"{store.uri}/none") == ""
    assert version(f"{store.scheme}://nobody-made-this/x") == ""
    with s3_server.at(s3_server.endpoint, AWS_SECRET_ACCESS_KEY="wrong").used():
        assert version(f"{s3_server.uri}/x") == ""


def test_a_path(tmp_path, monkeypatch):
    file = tmp_path / "data" / "rows.jsonl"
    file.parent.mkdir()
    assert version(str(file)) == version(str(file.parent)) == ""
    file.write_text("first")
    first, folder = version(str(file)), version(str(file.parent))
    os.utime(file, ns=(1, 1))  # a copy
    assert (version(str(file)), version(str(file.parent))) == (first, folder)
    file.write_text("other")
    assert version(str(file)) not in {first, ""} and version(str(file.parent)) not in {folder, ""}
    monkeypatch.setattr(versions, "SMALL", 3)
    os.utime(file, ns=(1, 1))
    early = version(str(file))
    os.utime(file, ns=(2, 2))
    assert version(str(file)) not in {early, ""}


def test_the_hub(http_stub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", http_stub.url)
    http_stub.on("GET", "/api/agent-harnesses", {}, status=404)  # its client asks once in a process
    http_stub.on("GET", "/api/models/org/slm", {"id": "org/slm", "sha": "c0ffee"})
    http_stub.on("GET", "/api/datasets/org/rows/revision/refs%2Fconvert%2Fparquet", {"id": "org/rows", "sha": "decade"})
    http_stub.on("GET", "/api/models/org/gone", {"error": "Repository not found"}, status=404)
    assert version("org/slm", "model") == version("org/slm/weights.gguf", "model") == "commit c0ffee"
    assert version("org/rows:main#train") == version("org/rows#test") == "commit decade"
    assert version("org/gone", "model") == ""
    assert version("not an address") == ""


def test_all_addresses_of_a_config(s3, tmp_path):
    objects.write(f"{s3.uri}/train.jsonl", b"{}")
    (tmp_path / "shop.sql").write_text("CREATE TABLE t (x)")
    task = {"name": "text_to_sql", "train": f"{s3.uri}/train.jsonl", "validation": "/nowhere/v.jsonl", "test": f"{s3.uri}/none"}
    values = {
        "task": {**task, "options": {"database": str(tmp_path / "shop.sql")}},
        "slm": {"model": str(tmp_path)},
        "embedding": {"model": f"{s3.uri}/mpnet"},
        "teacher": {"model": "big"},
        "judge": {"model": "other"},
        "prompts": f"{s3.uri}/prompts",
    }
    objects.write(f"{s3.uri}/prompts/judge.txt", b"=== user")
    found = versions.versions(addresses(Settings.model_validate(values)))
    assert {key for key, text in found.items() if not text} == {"task.validation", "task.test", "embedding.model"}
    assert {key for key, text in found.items() if text} == {"task.train", "task.options.database", "slm.model", "prompts"}


def test_what_changed_since_is_refused(s3):
    objects.write(f"{s3.uri}/train.jsonl", b"{}")
    task = {"name": "gsm8k", "train": f"{s3.uri}/train.jsonl", "validation": f"{s3.uri}/none", "test": f"{s3.uri}/none"}
    values = {"task": task, "slm": {"model": "/m"}, "teacher": {"model": "big"}, "judge": {"model": "other"}}
    settings = Settings.model_validate(values | {"embedding": {"model": "/m"}})
    seen = json.dumps(versions.versions(addresses(settings)))
    check_versions(settings, seen)
    objects.write(f"{s3.uri}/train.jsonl", b"[]")
    with pytest.raises(InputError, match=r"^task.train: changed since the run was submitted .*; submit it again$"):
        check_versions(settings, seen)
    for words in ("", "2026-11", "7", "{}"):  # a person's own
        check_versions(settings, words)
