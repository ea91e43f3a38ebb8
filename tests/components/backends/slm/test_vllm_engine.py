"""vLLM's interface around the real model: what it is given, and that its answers are read right."""

import json
import shutil

import pytest
import vllm_stand_in
from slm_server import PROMPTS

from pada_agent.components.backends.slm.answering import student
from pada_agent.components.backends.slm.inference import Generator
from pada_agent.components.backends.slm.loading import load_slm
from pada_agent.components.core.errors import InputError, ModelError
from pada_agent.components.core.settings import EvaluateSettings, SlmSettings

ENGINE = EvaluateSettings(engine="vllm")


def settings(model) -> SlmSettings:
    return SlmSettings(model=str(model), dtype="float32", device="cpu")


def test_it_answers_as_transformers_does(tiny_slm, adapter, monkeypatch):
    here = [Generator(load_slm(settings(tiny_slm), which), 1)(PROMPTS, 9) for which in (None, adapter)]
    vllm_stand_in.install(monkeypatch)
    for which, expected in zip((None, adapter), here, strict=True):
        with student(settings(tiny_slm), ENGINE, which, "") as who:
            assert who.generate(PROMPTS, 9) == expected
            assert who.engine == "vllm 0.33.0"
            assert who.generate(PROMPTS[:1], 4)
    assert here[0] != here[1]
    plain, tuned = vllm_stand_in.made
    assert "enable_lora" not in plain.said
    assert (tuned.said["enable_lora"], tuned.said["max_lora_rank"]) == (True, 8)
    for made in (plain, tuned):
        assert made.said["generation_config"] == "vllm", "no penalties of the model's own"
        assert made.said["dtype"] == "float32"
        assert made.rows == 6


def test_it_stops_where_the_model_ends_its_turn(tiny_slm, tmp_path, monkeypatch):
    slm, asked = load_slm(settings(tiny_slm)), PROMPTS[-1:]
    whole = Generator(slm, 1)(asked, 9)
    end = slm.chat.tokenizer(whole[0], add_special_tokens=False).input_ids[0]
    ends = shutil.copytree(tiny_slm, tmp_path / "ends")
    (ends / "generation_config.json").write_text(json.dumps({"eos_token_id": end}))
    expected = Generator(load_slm(settings(ends)), 1)(asked, 9)
    vllm_stand_in.install(monkeypatch)
    with student(settings(ends), ENGINE, None, "") as who:
        assert who.generate(asked, 9) == expected != whole


def test_what_it_cannot_do_is_told(tiny_slm, adapter, tmp_path, monkeypatch):
    def start(slm, which=None, prompts=PROMPTS, most=4):
        with student(slm, ENGINE, which, "") as who:
            return who.generate(prompts, most)

    with pytest.raises(ModelError, match="needs vLLM, which no image of ours has"):
        start(settings(tiny_slm))
    vllm_stand_in.install(monkeypatch)
    with pytest.raises(
        InputError, match=r"row test/0: a prompt of \d+ tokens and an answer of up to 2000 exceed .* context of 1024"
    ):
        start(settings(tiny_slm), most=2000)
    with pytest.raises(ModelError, match="nf4 is rounded otherwise by vLLM"):
        start(settings(tiny_slm).model_copy(update={"quantization": "nf4"}))
    for change, said in (({"use_dora": True}, "it is a DoRA"), ({"r": 600}, "its rank is 600, and vLLM takes at most 512")):
        other = tmp_path / str(len(said))
        other.mkdir()
        config = json.loads((adapter / "adapter_config.json").read_text())
        (other / "adapter_config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(ModelError, match=said):
            start(settings(tiny_slm), other)
    refused = tmp_path / "refuse"
    refused.symlink_to(tiny_slm)
    with pytest.raises(
        ModelError, match=r"vLLM cannot load it \(Model architectures .* for now.\); evaluate.engine: transformers may"
    ):
        start(settings(refused))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ModelError, match="needs a CUDA device, and this machine has none"):
        start(settings(tiny_slm))
