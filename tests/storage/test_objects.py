"""Files and small objects on both stores, and what happens when a store is not there, refuses, or breaks off."""

import hashlib
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from pada_agent.components.backends.store import objects
from pada_agent.components.backends.store.transfer import fetch, put
from pada_agent.components.core.errors import InputError

MB = 1 << 20
PUT = """
import sys
from pathlib import Path
from pada_agent.components.backends.store.transfer import put
put(Path(sys.argv[1]), sys.argv[2])
"""


def write_large(path, megabytes):
    """A file larger than one part of either store's upload, quickly made and nowhere the same."""
    with path.open("wb") as file:
        for number in range(megabytes):
            file.write(hashlib.sha256(str(number).encode()).digest() * (MB // 32))
    return path


def sha(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_small_objects(store):
    assert objects.read(f"{store.uri}/note") is None
    assert objects.names(store.uri) == []
    objects.write(f"{store.uri}/note", b"one")
    objects.write(f"{store.uri}/deep/er", b"")
    objects.write(f"{store.uri}-sibling/x", b"not below")
    objects.write(f"{store.uri}/note", b"two")
    assert objects.read(f"{store.uri}/note") == b"two"
    assert objects.names(store.uri) == ["deep/er", "note"]
    assert objects.read_all(store.uri, ["note", "deep/er"]) == [b"two", b""]
    objects.remove(f"{store.uri}/deep")
    objects.remove(f"{store.uri}/deep")
    assert objects.names(store.uri) == ["note"]
    objects.remove(f"{store.uri}/note")
    assert objects.read(f"{store.uri}/note") is None


def test_what_another_process_wrote_is_seen_at_once(store):
    assert objects.names(store.uri) == []
    code = "import sys; from pada_agent.components.backends.store.objects import write; write(sys.argv[1], b'theirs')"
    subprocess.run([sys.executable, "-c", code, f"{store.uri}/new"], check=True, timeout=60)
    assert objects.names(store.uri) == ["new"]
    assert objects.read(f"{store.uri}/new") == b"theirs"


def test_only_one_of_many_creates_an_object(store, tmp_path):
    code = """
import sys, time
from pathlib import Path
from pada_agent.components.backends.store.objects import create, read
read(sys.argv[1])
Path(sys.argv[3], sys.argv[2]).touch()
while not Path(sys.argv[3], "go").exists():
    time.sleep(0.001)
print(create(sys.argv[1], sys.argv[2].encode()))
"""
    arguments = [sys.executable, "-c", code, f"{store.uri}/lock"]
    racing = [subprocess.Popen([*arguments, str(n), str(tmp_path)], stdout=subprocess.PIPE, text=True) for n in range(3)]
    while len(list(tmp_path.iterdir())) < 3:
        time.sleep(0.01)
    (tmp_path / "go").touch()
    won = [process.communicate(timeout=60)[0].strip() == "True" for process in racing]
    assert sum(won) == 1
    assert objects.read(f"{store.uri}/lock") == str(won.index(True)).encode()
    assert not objects.create(f"{store.uri}/lock", b"late")


def test_a_folder_with_a_large_and_an_empty_file_goes_there_and_back(store, tmp_path):
    folder = tmp_path / "adapter"
    (folder / "deep").mkdir(parents=True)
    large = write_large(folder / "weights.bin", 105)
    (folder / "deep" / "empty").touch()
    put(folder, f"{store.uri}/adapter")
    put(folder / "deep", f"{store.uri}/adapter-2")  # the same beginning of a name is no folder
    copy = fetch(f"{store.uri}/adapter", tmp_path / "cache")
    assert sorted(p.relative_to(copy).as_posix() for p in copy.rglob("*") if p.is_file()) == ["deep/empty", "weights.bin"]
    assert sha(copy / "weights.bin") == sha(large)
    assert (copy / "deep" / "empty").read_bytes() == b""


def test_an_object_whose_name_leads_out_of_the_folder_is_refused(s3, tmp_path):
    objects.write(f"{s3.uri}/model/config.json", b"{}")
    objects.write(f"{s3.uri}/model/a//etc", b"fine")
    assert fetch(f"{s3.uri}/model", tmp_path)
    objects.write("memory://bucket/m//passwd", b"x")
    with pytest.raises(InputError, match="cannot be the name of a file"):
        fetch("memory://bucket/m", tmp_path)


@pytest.mark.parametrize("do", ["names", "write", "create", "put", "fetch"])
def test_a_missing_bucket_is_one_line(store, tmp_path, do):
    (tmp_path / "file").write_text("x")
    uri = f"{store.scheme}://nobody-made-this/x"
    does = {
        "names": lambda: objects.names(uri),
        "write": lambda: objects.write(uri, b""),
        "create": lambda: objects.create(uri, b""),
        "put": lambda: put(tmp_path / "file", uri),
        "fetch": lambda: fetch(uri, tmp_path / "into"),
    }
    with pytest.raises(InputError, match=f"^{uri}: there is no(thing there| such bucket)$"):
        does[do]()


@pytest.mark.parametrize(("key", "secret"), [("runner", "wrong"), ("stranger", "secret")])
def test_wrong_keys_are_one_line(s3, tmp_path, key, secret):
    (tmp_path / "file").write_text("x")
    with s3.at(s3.endpoint, AWS_ACCESS_KEY_ID=key, AWS_SECRET_ACCESS_KEY=secret).used():
        for do in (
            lambda: objects.read(f"{s3.uri}/x"),
            lambda: objects.names(s3.uri),
            lambda: objects.write(f"{s3.uri}/x", b""),
            lambda: objects.create(f"{s3.uri}/x", b""),
            lambda: put(tmp_path / "file", f"{s3.uri}/x"),
            lambda: fetch(f"{s3.uri}/x", tmp_path / "into"),
        ):
            with pytest.raises(InputError, match=r"^s3://runs/.*: no permission \(.*\); check the credentials") as e:
                do()
            assert "\n" not in str(e.value) and secret not in str(e.value).replace("secret access", "")
    assert objects.names(s3.uri) == []


DENIED = "me@p.iam.gserviceaccount.com does not have storage.objects.get access to the Google Cloud Storage object."
REFUSALS = [(403, DENIED), (401, "Anonymous caller does not have storage.objects.list access to the bucket.")]


@pytest.mark.parametrize(("status", "message"), REFUSALS)
def test_a_google_account_without_rights_is_one_line(gs_server, http_stub, tmp_path, status, message):
    """fake-gcs-server lets everybody in; this server refuses in Google's words."""
    store = gs_server.at(http_stub.url)
    uri = f"{store.uri}/x"
    reply = {"error": {"code": status, "message": message, "errors": [{"message": message, "reason": "forbidden"}]}}
    asked = [
        ("GET", f"/download/storage/v1/b/runs/o/{store.folder}%2Fx", message),
        ("GET", "/storage/v1/b/runs/o", reply),
        ("POST", "/upload/storage/v1/b/runs/o", reply),
    ]
    for method, path, text in asked:
        http_stub.on(method, path, text, status=status)
    (tmp_path / "file").write_text("x")
    write_large(tmp_path / "large", 6)  # goes in parts, and is refused when it asks where to
    with store.used():
        for do in (
            lambda: objects.read(uri),
            lambda: objects.names(uri),
            lambda: objects.write(uri, b""),
            lambda: objects.create(uri, b""),
            lambda: put(tmp_path / "file", uri),
            lambda: put(tmp_path / "large", uri),
            lambda: fetch(uri, tmp_path / "into"),
        ):
            with pytest.raises(InputError, match=rf"^{uri}: no permission \(.*access to the .*\); check the credentials") as e:
                do()
            assert "\n" not in str(e.value)
    assert len(http_stub.asks) == 7, "a refusal is no reason to try again"


def test_who_may_only_read_reads(s3, tmp_path):
    objects.write(f"{s3.uri}/x", b"1")
    with s3.at(s3.endpoint, AWS_ACCESS_KEY_ID="reader").used():
        assert fetch(f"{s3.uri}/x", tmp_path).read_bytes() == b"1"
        with pytest.raises(InputError, match="no permission"):
            objects.write(f"{s3.uri}/x", b"2")
    assert objects.read(f"{s3.uri}/x") == b"1"


def test_an_upload_that_is_killed_leaves_the_old_file_or_none(store, tmp_path, cut):
    write_large(tmp_path / "large", 160)
    with cut(1 << 40, upwards=True) as proxy:
        objects.write(f"{store.uri}/old", b"old")
        for name in ("old", "new"):
            process = subprocess.Popen([sys.executable, "-c", PUT, str(tmp_path / "large"), f"{store.uri}/{name}"])
            before = proxy.passed
            while proxy.passed < before + 70 * MB:  # of 160: some parts are there, the others are not
                assert process.poll() is None, "the upload was over too soon"
                time.sleep(0.001)
            process.kill()
            process.wait()
        assert objects.names(store.uri) == ["old"]
        assert objects.read(f"{store.uri}/old") == b"old"


def test_a_connection_that_breaks_once_is_mended(store, tmp_path, cut):
    large = write_large(tmp_path / "large", 70)
    with cut(30 * MB, upwards=True) as proxy:
        put(large, f"{store.uri}/large")
        assert proxy.cuts == 1
        assert sha(fetch(f"{store.uri}/large", tmp_path / "copy")) == sha(large)


def test_a_download_that_breaks_off_is_whole_or_an_error(store, tmp_path, cut):
    large = write_large(tmp_path / "large", 70)
    with cut(30 * MB, upwards=False) as proxy:
        put(large, f"{store.uri}/large")
        try:
            assert sha(fetch(f"{store.uri}/large", tmp_path / "copy")) == sha(large)
        except InputError as e:
            assert "\n" not in str(e)
            assert not (tmp_path / "copy" / "large").exists()
        assert proxy.cuts == 1


def test_a_store_that_dies_in_mid_upload_is_one_line_and_leaves_the_old_file(store, tmp_path, cut, monkeypatch):
    monkeypatch.setattr("gcsfs.retry.random", SimpleNamespace(random=lambda: -100.0))  # no pauses: they add up to a minute
    large = write_large(tmp_path / "large", 70)
    with cut(30 * MB, upwards=True, for_good=True) as proxy:
        objects.write(f"{store.uri}/large", b"old")
        with pytest.raises(InputError, match=rf"^{store.uri}/large: cannot be reached \(\w+: ") as e:
            put(large, f"{store.uri}/large")
        assert "\n" not in str(e.value)
        proxy.limit, proxy.cuts, proxy.for_good = 1 << 40, 0, False
        assert objects.read(f"{store.uri}/large") == b"old"
