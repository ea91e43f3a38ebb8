"""`pada export` of a model whose weights were all trained: plain, at an export place, and as GGUF."""

import pytest
from huggingface_hub import ModelCard

from pada_agent.components.backends.record_files import read_json
from pada_agent.components.backends.slm.formats import answering, converter
from pada_agent.components.core.errors import ModelError
from pada_agent.components.core.settings import SlmSettings
from pada_agent.components.core.slm_interface import Prompt
from pada_agent.pipelines.export.model import Wanted, export_model

CHATS = [[{"role": "user", "content": f"Letters of: {word}"}] for word in ("sun", "planet", "tree")]


@pytest.fixture(scope="module")
def trained(whole_run):
    """What the run's own model answers, as evaluation asks it; the base answers otherwise."""
    base = SlmSettings.model_validate(read_json(whole_run / "settings.json")["slm"])
    prompts = [Prompt(id=str(n), messages=chat) for n, chat in enumerate(CHATS)]
    untuned, own = (answering.answers(base, model, prompts, 8).texts for model in (None, whole_run / "10-train-1" / "adapter"))
    assert untuned != own
    return own


def said_by(folder):
    """What transformers alone, without any of our code, has the model in `folder` say."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    for chat in CHATS:
        asked = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        told = model.generate(**asked, max_new_tokens=8, do_sample=False)
        yield tokenizer.decode(told[0, asked["input_ids"].shape[1] :], skip_special_tokens=True).strip()


def test_the_model_is_taken_home_with_its_card(pada, whole_run, trained, tmp_path):
    code, out, said = pada("export", "--run-dir", whole_run, "--out", tmp_path / "out", "--name", "letters")
    assert (code, said) == (0, ""), said
    model = tmp_path / "out" / "model"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model"]
    assert list(said_by(model)) == [text.strip() for text in trained]
    assert read_json(model / "tokenizer_config.json")["add_bos_token"] is False, "or llama.cpp begins chats with a token more"
    assert f"{model}: iteration-1, a model of its own, fine-tuned from " in out
    assert f"vllm serve {model} --dtype float32 --served-model-name letters" in out
    card = ModelCard.load(model / "README.md")
    assert (card.data.library_name, card.data.eval_results[0].metric_value) == ("transformers", 0.8)
    assert "This is the full model: all of its weights were fine-tuned." in card.content
    assert "- All weights in float32, on cpu" in card.content
    assert "LoRA" not in card.content and "lora" not in card.data.tags and "adapter" not in card.content


def test_what_is_merged_already_is_not_merged(pada, whole_run, tmp_path):
    code, _, said = pada("export", "--run-dir", whole_run, "--out", tmp_path / "out", "--merge")
    assert code == 1 and "--merge: this run trained all weights (train.method: full)" in said
    assert not (tmp_path / "out").exists()


def test_at_an_export_place(pada, whole_run, trained, tmp_path):
    place, out = tmp_path / "place", tmp_path / "out"
    code, said, _ = pada("export", "--run-dir", whole_run, "--export-uri", place)
    assert code == 0 and "iteration-1 for custom; test accuracy 80.0 % (" in said
    beside = ModelCard.load(place / "README.md")
    assert beside.data.library_name == "transformers" and "all of its weights were fine-tuned" in beside.content
    for option in ("--kserve", "--model-registry"):
        code, _, said = pada("export", "--export-uri", place, option, "http://127.0.0.1:9")
        assert code == 1 and "no adapter on" in said and "leave out --kserve and --model-registry" in said
    code, said, _ = pada("export", "--export-uri", place, "--out", out)
    assert code == 0 and "a model of its own, fine-tuned from" in said and f"vllm serve {out / 'model'}" in said
    assert (out / "model" / "README.md").read_text() == (place / "README.md").read_text()
    assert list(said_by(out / "model")) == [text.strip() for text in trained]


def test_for_llama_cpp(whole_run, tmp_path):
    try:
        converter.converter()
    except ModelError as e:
        pytest.skip(str(e))
    lines: list[str] = []
    export_model(str(whole_run), tmp_path, Wanted(gguf="f32", name="letters"), lines.append)
    assert {path.name for path in tmp_path.iterdir()} == {"model", "gguf"}
    assert any("letters-f32.gguf: " in line and "8 of 8 answers are the model's own (100 %)" in line for line in lines)
