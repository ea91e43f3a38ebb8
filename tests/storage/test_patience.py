"""A store or a hub that is away for a moment costs a stage a moment; what will not pass ends it at once."""

import json
import time
from types import SimpleNamespace

import pytest
from stores import Cut, free_port

from pada_agent.components.backends import patience
from pada_agent.components.backends.artifacts.row_sources import read_rows
from pada_agent.components.backends.models.sources import find_model
from pada_agent.components.backends.store import objects
from pada_agent.components.backends.store.export import publish, shipped
from pada_agent.components.backends.store.transfer import fetch, put
from pada_agent.components.core.errors import InputError, ModelError

ROWS = [{"question": f"q{n}"} for n in range(50)]


@pytest.fixture
def waits(monkeypatch):
    """Ours is the only patience: the libraries' own, which differ, are off. `waits(then)`: `then` is called when it says so."""
    monkeypatch.setattr(patience, "SECONDS", 20.0)
    monkeypatch.setattr(patience, "PAUSES", (0.2,))
    monkeypatch.setattr("gcsfs.retry.random", SimpleNamespace(random=lambda: -100.0))
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    def tell(then):
        def said(line):
            assert line.endswith("; asking again for up to 20 s"), line
            then()

        monkeypatch.setattr(patience, "notice", said)

    return tell


DOING = {
    "write": lambda uri, tmp: objects.write(f"{uri}/new", b"x"),
    "create": lambda uri, tmp: objects.create(f"{uri}/new", b"x"),
    "read": lambda uri, tmp: objects.read(f"{uri}/rows.jsonl"),
    "read_all": lambda uri, tmp: objects.read_all(uri, ["rows.jsonl"]),
    "names": lambda uri, tmp: objects.names(uri),
    "remove": lambda uri, tmp: objects.remove(f"{uri}/rows.jsonl"),
    "fetch": lambda uri, tmp: fetch(f"{uri}/rows.jsonl", tmp / "copy"),
    "put": lambda uri, tmp: put(tmp / "rows.jsonl", f"{uri}/put.jsonl"),
    "rows": lambda uri, tmp: list(read_rows(f"{uri}/rows.jsonl")),
    "publish": lambda uri, tmp: publish(tmp / "adapter", f"{uri}/export", "a", {}),
    "shipped": lambda uri, tmp: shipped(f"{uri}/export"),
}


@pytest.fixture
def filled(store, tmp_path):
    """A store with rows, and here what is to go there."""
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "weights").write_text("w")
    put(tmp_path / "rows.jsonl", f"{store.uri}/rows.jsonl")
    return store


@pytest.mark.parametrize("what", DOING)
def test_a_store_that_refuses_connections_for_a_moment(filled, tmp_path, waits, what):
    port = free_port()
    opened: list[Cut] = []
    waits(lambda: opened.append(Cut(filled.endpoint, 1 << 40, True, False, port)))
    with filled.at(f"http://127.0.0.1:{port}").used():
        DOING[what](filled.uri, tmp_path)
    assert len(opened) == 1, "it was told of once"
    opened[0].close()


@pytest.mark.parametrize("trouble", [{"status": 503}, {"status": 500}, {"status": 429}, {"trouble": "reset"}])
@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_a_store_that_is_overloaded_for_a_moment(request, http_stub, waits, scheme, trouble):
    path = {"gs": "/download/storage/v1/b/runs/o/x", "s3": "/runs/x"}[scheme]
    rules = [http_stub.on(method, path, "<Error><Code>SlowDown</Code></Error>", **trouble) for method in ("GET", "HEAD")]
    for method in ("GET", "HEAD"):
        http_stub.on(method, path, b"content")
    said = []

    def over():
        said.append(1)
        for rule in rules:
            rule.times = 0

    waits(over)
    with request.getfixturevalue(f"{scheme}_server").at(http_stub.url).used():
        assert objects.read(f"{scheme}://runs/x") == b"content"
    assert said == [1]


def test_what_does_not_pass_ends_at_once(store, s3_server, tmp_path, waits, capsys):
    (tmp_path / "file").write_text("x")
    missing = f"{store.scheme}://nobody-made-this/x"
    started = time.monotonic()
    for do in (
        lambda: put(tmp_path / "file", missing),
        lambda: list(read_rows(f"{missing}.jsonl")),
        lambda: fetch(missing, tmp_path),
    ):
        with pytest.raises(InputError, match=f"^{missing}.*: there is no"):
            do()
    with s3_server.at(s3_server.endpoint, AWS_SECRET_ACCESS_KEY="wrong").used(), pytest.raises(InputError, match="no permission"):
        objects.read(f"{s3_server.uri}/x")
    assert time.monotonic() - started < 10
    assert "asking again" not in capsys.readouterr().err


@pytest.fixture
def hub(http_stub, monkeypatch, tmp_path):
    """The hub's own client, which asks the stub."""
    monkeypatch.setenv("PADA_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", http_stub.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    http_stub.on("GET", "/api/agent-harnesses", {}, status=404)  # its client asks once in a process
    return http_stub


@pytest.mark.parametrize("trouble", [{"status": 503}, {"trouble": "reset"}])
def test_a_hub_that_is_away_for_a_moment(hub, waits, capsys, trouble):
    hub.on("GET", "/api/models/org/slm", {}, times=3, **trouble)
    hub.on("GET", "/api/models/org/slm", {}, status=404, headers={"X-Error-Code": "RepoNotFound"})
    with pytest.raises(ModelError, match=r"^model org/slm was not found; tried model hub: RepositoryNotFoundError"):
        find_model("org/slm")
    assert len(hub.asked("GET", "/api/models/org/slm")) == 4
    assert "asking again for up to 20 s" in capsys.readouterr().err


def test_a_hub_that_stays_away(hub, waits, monkeypatch):
    monkeypatch.setattr(patience, "SECONDS", 0.5)
    hub.on("GET", "/api/models/org/slm", {}, status=503)
    with pytest.raises(ModelError, match=r"^model org/slm was not found; tried model hub: HfHubHTTPError: .*503.* in its place$"):
        find_model("org/slm")
    assert len(hub.asked("GET", "/api/models/org/slm")) == 3


def test_rows_on_a_hub_that_is_away_for_a_moment(hub, waits, monkeypatch):
    path = "/api/datasets/org/rows"
    away = hub.on("GET", path, {}, status=503)
    hub.on("GET", path, {}, status=404, headers={"X-Error-Code": "RepoNotFound"})
    waits(lambda: setattr(away, "times", 0))
    with pytest.raises(InputError, match=r"^org/rows#train: there is no data set org/rows on the hub"):
        list(read_rows("org/rows#train"))
    assert away.used and len(hub.asked("GET", path)) > away.used
