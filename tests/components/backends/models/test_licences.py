"""The licence of a base model, from what says it."""

import pytest

from pada_agent.components.backends.models.licences import licence_of


def test_a_gguf_file_says_it(tmp_path):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(tmp_path / "it.gguf", "llama")
    writer.add_license("apache-2.0")
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    assert licence_of(str(tmp_path / "it.gguf")) == "apache-2.0"


@pytest.mark.parametrize(
    ("card", "said"),
    [("---\nlicense: mit\n---\n# It\n", "mit"), ("---\n- no\n- mapping\n---\n", ""), ("# no metadata\n", ""), (None, "")],
)
def test_the_card_beside_it_says_it(tmp_path, card, said):
    (tmp_path / "config.json").write_text("{}")
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    assert licence_of(str(tmp_path)) == said


def test_the_hub_says_it_and_nothing_is_fetched(http_stub, monkeypatch, tmp_path):
    monkeypatch.setenv("PADA_MODELS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", http_stub.url)
    http_stub.on("GET", "/api/agent-harnesses", {}, status=404)  # its client asks once in a process
    http_stub.on(
        "GET", "/api/models/org/slm", {"id": "org/slm", "sha": "abc", "siblings": [], "cardData": {"license": "llama3.2"}}
    )
    assert licence_of("org/slm") == "llama3.2"
    http_stub.instead("GET", "/api/models/org/slm", {"error": "gated"}, status=403)
    assert licence_of("org/slm") == ""
    assert [ask.path for ask in http_stub.asks if "harnesses" not in ask.path] == ["/api/models/org/slm"] * 2
