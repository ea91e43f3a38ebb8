"""`pada export --out`: adapter, full model and GGUF of a run, each with its card, loaded back and asked beside the adapter."""

import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import exported_run
import pytest
from huggingface_hub import ModelCard

from pada_agent.components.backends.record_files import read_json, write_json
from pada_agent.components.backends.slm.formats import answering, converter, gguf_file, merged
from pada_agent.components.backends.slm.loading import load_slm
from pada_agent.components.core.errors import ModelError
from pada_agent.components.core.settings import SlmSettings
from pada_agent.components.core.slm_interface import Prompt
from pada_agent.pipelines.export.model import Wanted, export_model

CHAT = [{"role": "user", "content": "Letters of: sun"}]


def test_the_folder_of_an_adapter_is_whole(pada, tiny_run, tmp_path):
    from transformers import AutoTokenizer

    code, out, said = pada("export", "--run-dir", tiny_run, "--out", tmp_path / "out", "--name", "letters")
    assert (code, said) == (0, ""), said
    adapter = tmp_path / "out" / "adapter"
    assert read_json(adapter / "adapter_config.json")["base_model_name_or_path"] == str(tiny_run.parent / "slm")
    base = load_slm(SlmSettings(model=str(tiny_run.parent / "slm"), device="cpu", dtype="float32")).chat
    beside = AutoTokenizer.from_pretrained(adapter)
    assert beside.apply_chat_template(CHAT, tokenize=False) == base.tokenizer.apply_chat_template(CHAT, tokenize=False)
    text = (adapter / "README.md").read_text()
    card = ModelCard.load(adapter / "README.md")
    (result,) = card.data.eval_results
    assert (card.data.library_name, result.metric_value, result.dataset_split) == ("peft", 0.8, "test")
    assert "80.0 % of 100" in text and "+20.0 (" in text and "(this one)" in text
    assert "More Information Needed" not in text and "base_model:" not in text  # a path is no hub's id
    assert str(tiny_run) not in text and "mine.jsonl" in text
    command = next(line.strip() for line in out.splitlines() if "vllm serve" in line)
    assert {"--enable-lora", f"letters={adapter}"} <= set(shlex.split(command))


def test_patterns_that_remain_are_in_the_card_and_others_are_not(pada, tiny_run, tmp_path):
    pada("export", "--run-dir", tiny_run, "--out", tmp_path / "out")
    text = (tmp_path / "out" / "adapter" / "README.md").read_text()
    told = text.partition("## What it still cannot do")[2].partition("##")[0]
    assert "Long words" in told and "wrong on 1 of the 2" in told
    assert "Plurals" not in told
    assert "stops \\| counting &lt;b&gt;at four" in told  # of one line, and without effect


def test_an_adapter_of_an_earlier_release_is_brought_up_to_date(pada, tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    adapter = run / "10-train-1" / "adapter"
    (adapter / "tokenizer_config.json").unlink()
    config = read_json(adapter / "adapter_config.json")
    write_json(adapter / "adapter_config.json", {**config, "base_model_name_or_path": "/root/.cache/dense"})
    (adapter / "README.md").write_text("---\nbase_model: /root/.cache/dense\n---\n[More Information Needed]")
    assert pada("export", "--run-dir", run, "--out", tmp_path / "out")[0] == 0
    out = tmp_path / "out" / "adapter"
    assert (out / "tokenizer_config.json").exists()
    assert "/root" not in (out / "adapter_config.json").read_text() + (out / "README.md").read_text()


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory):
    """All forms, with the lines that were said; no GGUF where llama.cpp's converter is not here and cannot be fetched."""
    out = tmp_path_factory.mktemp("exported")
    lines: list[str] = []
    try:
        gguf = "f32,q8_0" if converter.converter() else ""
    except ModelError:
        gguf = ""
    export_model(str(tiny_run), out, Wanted(merge=True, gguf=gguf, name="letters"), lines.append)
    return out, lines


def test_the_full_model_answers_like_the_adapter(tiny_run, exported):
    out, lines = exported
    prompts = [Prompt(id="1", messages=CHAT)]
    base = SlmSettings(model=str(tiny_run.parent / "slm"), device="cpu", dtype="float32")
    ask = [answering.answers(s, a, prompts, 8).texts for s, a in (
        (base, None), (base, out / "adapter"), (base.model_copy(update={"model": str(out / "merged")}), None)
    )]  # fmt: skip
    assert ask[1] == ask[2] != ask[0]
    assert ask[1][0].strip()
    assert any("merged: the full model; 8 of 8 answers are the adapter's own (100 %)" in line for line in lines)
    card = ModelCard.load(out / "merged" / "README.md")
    assert card.data.library_name == "transformers" and "8 of 8" in card.content


def test_answers_that_an_llm_must_score_are_compared_by_their_text_alone(tiny_run, tmp_path):
    lines: list[str] = []
    run = exported_run.scored_by_llm(tiny_run, tmp_path / "run")
    export_model(str(run), tmp_path / "out", Wanted(merge=True), lines.append)
    assert any(line.endswith("merged: the full model; 8 of 8 answers are the adapter's own (100 %)") for line in lines)


def test_gguf_files_answer_like_the_adapter_and_the_command_serves_them(exported):
    out, lines = exported
    if not (out / "gguf").exists():
        pytest.skip("neither llama.cpp's converter nor an index that has it is here")
    assert {file.name for file in (out / "gguf").iterdir()} == {"letters-f32.gguf", "letters-q8_0.gguf", "Modelfile", "README.md"}
    assert all(any(re.search(rf"letters-{kind}.gguf: .*[4-8] of 8 answers", line) for line in lines) for kind in ("f32", "q8_0"))
    command = next(line.strip() for line in lines if line.strip().startswith("python -m llama_cpp.server"))
    assert any(line.strip().startswith("llama-server --model") for line in lines)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    arguments = [port if word == "8080" else word for word in shlex.split(command)]
    server = subprocess.Popen([sys.executable, *arguments[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        body = json.dumps({"messages": CHAT, "max_tokens": 8, "temperature": 0, "model": "letters"}).encode()
        for _ in range(600):
            try:
                request = urllib.request.Request(
                    f"http://127.0.0.1:{port}/v1/chat/completions", body, {"Content-Type": "application/json"}
                )
                reply = json.load(urllib.request.urlopen(request, timeout=60))
                break
            except OSError:
                assert server.poll() is None
                time.sleep(0.1)
        assert reply["model"] == "letters" and reply["choices"][0]["message"]["content"]
    finally:
        server.kill()
        server.wait()


def test_a_form_that_is_another_model_is_refused_and_leaves_nothing(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr(merged, "load_slm", _spoilt)
    with pytest.raises(
        ModelError, match=r"--merge: does not answer like the adapter.*50 % must be equal \(--least-equal says otherwise"
    ):
        export_model(str(tiny_run), tmp_path / "out", Wanted(merge=True), lambda _: None)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["adapter"]


def test_a_file_of_another_model_is_refused_and_leaves_nothing(tiny_run, exported, tmp_path, monkeypatch):
    if not (exported[0] / "gguf").exists():
        pytest.skip("neither llama.cpp's converter nor an index that has it is here")
    monkeypatch.setattr(gguf_file, "convert", lambda _, *how: converter.convert(tiny_run.parent / "slm", *how))
    with pytest.raises(ModelError, match=r"--gguf f32: does not answer like the adapter"):
        export_model(str(tiny_run), tmp_path / "out", Wanted(gguf="f32"), lambda _: None)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["adapter"]


def _spoilt(settings: SlmSettings, adapter: Path):
    """The model with an adapter whose weights point the other way."""
    slm = load_slm(settings, adapter)
    for name, weights in slm.model.named_parameters():
        if "lora_B" in name:
            weights.data.mul_(-20)
    return slm


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "give --out for a folder here, or --export-uri for a place"),
        (("--merge",), "--merge: is for --out"),
        (("--push", "me/it"), "--push: is for --out"),
        (("--out", "o"), "--out: give the run as --run-dir, or an adapter's place as --export-uri"),
        (("--out", "o", "--run-dir", "r", "--public"), "--public: is for --push"),
        (("--out", "o", "--run-dir", "r", "--data", "chat", "--merge"), "--data: exports rows in place of the model"),
        (("--out", "o", "--run-dir", "r", "--least-equal", "0.3"), "--least-equal: is for --merge and --gguf"),
        (("--out", "gs://b/o", "--run-dir", "r"), "--out gs:/b/o: is a local folder"),
        (("--out", "o", "--export-uri", "r", "--gguf", "q8_0"), "--merge and --gguf: need --run-dir"),
        (("--out", "o", "--run-dir", "r", "--push", "me"), "--push me: give owner/name"),
        (("--out", "o", "--run-dir", "r", "--name", "../it"), "--name ../it: it is part of files' names"),
        (("--out", "o", "--run-dir", "r", "--gguf", "q9_9"), "--gguf: llama.cpp has no type 'q9_9'; name some of"),
        (("--kserve", "s.yaml", "--out", "o", "--run-dir", "r"), "there is no state here yet"),
    ],
)
def test_options_that_do_not_fit(pada, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r").mkdir()
    code, _, message = pada("export", *options)
    assert code == 1 and said in message, message


def test_what_lies_at_an_export_place(pada, tiny_run, tmp_path):
    assert pada("export", "--run-dir", tiny_run, "--export-uri", tmp_path / "place")[0] == 0
    beside = ModelCard.load(tmp_path / "place" / "README.md")
    assert beside.data.eval_results[0].metric_value == 0.8
    code, out, _ = pada("export", "--export-uri", tmp_path / "place", "--out", tmp_path / "out")
    assert code == 0 and "iteration-1" in out and "vllm serve" in out
    assert (tmp_path / "out" / "adapter" / "README.md").read_text() == (tmp_path / "place" / "README.md").read_text()
    assert (tmp_path / "out" / "adapter" / "chat_template.jinja").exists()
