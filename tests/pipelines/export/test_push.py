"""`--push`: what goes to a hub, told by a loopback server that speaks the hub's API as its client documents it."""

import base64
import json

import pytest


@pytest.fixture
def hub(http_stub, monkeypatch):
    """A hub that takes all files, those of weights as LFS objects, and keeps what came."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", http_stub.url)
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", http_stub.url)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    http_stub.on("POST", "/api/validate-yaml", {"errors": [], "warnings": []})
    http_stub.on("GET", "/api/agent-harnesses", {})  # the client asks it for itself
    http_stub.on("GET", "/api/whoami-v2", {"name": "me", "type": "user", "auth": {"accessToken": {"role": "write"}}})

    def takes(kind: str, name: str) -> None:
        where = f"{http_stub.url}/{'datasets/' if kind == 'dataset' else ''}{name}"
        http_stub.on("POST", f"/api/{kind}s/{name}/preupload/main", lambda ask: {"files": [
            {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith("safetensors") else "regular", "shouldIgnore": False}
            for f in ask.json["files"]
        ]})  # fmt: skip
        git = f"/{'datasets/' if kind == 'dataset' else ''}{name}.git/info/lfs/objects/batch"
        http_stub.on("POST", git, lambda ask: {"transfer": "basic", "objects": [
            {"oid": o["oid"], "size": o["size"], "actions": {"upload": {"href": f"{http_stub.url}/lfs/{o['oid']}"}}}
            for o in ask.json["objects"]
        ]}, headers={"Content-Type": "application/vnd.git-lfs+json"})  # fmt: skip
        http_stub.on(
            "POST", f"/api/{kind}s/{name}/commit/main", {"commitUrl": f"{where}/commit/abc", "commitOid": "abc", "success": True}
        )
        http_stub.on("GET", f"/api/{kind}s/{name}", {"id": name, "sha": "abc", "siblings": []})
        http_stub.on("GET", f"/api/{kind}s/{name}/revision/main", {"id": name, "sha": "abc", "siblings": []})

    http_stub.takes = takes
    return http_stub


def committed(hub, path: str) -> dict[str, bytes | str]:
    """The files of the one commit: what is in them, or the name of an LFS object."""
    (ask,) = hub.asked("POST", path)
    found: dict[str, bytes | str] = {}
    for line in ask.body.splitlines():
        entry = json.loads(line)
        if entry["key"] == "file":
            found[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        elif entry["key"] == "lfsFile":
            found[entry["value"]["path"]] = entry["value"]["oid"]
    return found


def put_any(hub, run) -> None:
    """LFS objects are named by what is in them."""
    from pada_agent.components.backends.files import file_hash

    for file in run.rglob("*.safetensors"):
        hub.on("PUT", f"/lfs/{file_hash(file)}", b"")


def test_an_adapter_goes_to_a_private_repository(pada, tiny_run, tmp_path, hub):
    put_any(hub, tiny_run)
    hub.takes("model", "me/letters")
    hub.on("POST", "/api/repos/create", {"url": f"{hub.url}/me/letters"})
    code, out, said = pada("export", "--run-dir", tiny_run, "--out", tmp_path / "out", "--push", "me/letters")
    assert code == 0, said
    assert f"pushed: {hub.url}/me/letters/commit/abc" in out
    (made,) = hub.asked("POST", "/api/repos/create")
    assert made.headers["authorization"] == "Bearer hf_secret"
    asked = made.json
    assert (asked["name"], asked.get("organization"), asked.get("private", asked.get("visibility"))) in [
        ("letters", "me", True), ("letters", "me", "private"), ("me/letters", None, True), ("me/letters", None, "private"),
    ]  # fmt: skip
    files = committed(hub, "/api/models/me/letters/commit/main")
    folder = tmp_path / "out" / "adapter"
    assert set(files) == {path.name for path in folder.iterdir()}
    assert files["README.md"] == (folder / "README.md").read_bytes()
    assert (
        hub.asked("PUT", f"/lfs/{files['adapter_model.safetensors']}")[0].body
        == (folder / "adapter_model.safetensors").read_bytes()
    )


def test_rows_go_to_a_data_set(pada, tiny_run, tmp_path, hub):
    hub.takes("dataset", "me/rows")
    hub.on("POST", "/api/repos/create", {"url": f"{hub.url}/datasets/me/rows"})
    code, _, said = pada(
        "export", "--run-dir", tiny_run, "--out", tmp_path / "out", "--data", "chat", "--push", "me/rows", "--public"
    )
    assert code == 0, said
    asked = hub.asked("POST", "/api/repos/create")[0].json
    assert asked["type"] == "dataset" and asked.get("private", asked.get("visibility")) in (False, "public", None)
    files = committed(hub, "/api/datasets/me/rows/commit/main")
    assert set(files) == {"README.md", "given.jsonl", "synthetic.jsonl"}


def test_a_hub_that_refuses(pada, tiny_run, tmp_path, hub):
    hub.on("POST", "/api/repos/create", {"error": "You don't have the rights to create a model under this namespace"}, status=403)
    hub.on("GET", "/api/models/other/letters", {"error": "Repository not found"}, status=404)
    code, _, said = pada("export", "--run-dir", tiny_run, "--out", tmp_path / "out", "--push", "other/letters")
    assert code == 1
    assert said.startswith("pada: --push other/letters: the hub refused (") and "$HF_TOKEN may write there" in said
    assert "hf_secret" not in said
    assert (tmp_path / "out" / "adapter" / "README.md").exists()
