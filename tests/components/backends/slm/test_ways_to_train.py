"""Other adapters than plain LoRA, and other ways to compute the same."""

import json

import pytest
import torch
from test_training import SYSTEM, examples, plain_losses, run, settings

from pada_agent.components.backends.slm import loading
from pada_agent.components.backends.slm.adapters import with_lora
from pada_agent.components.backends.slm.inference import Generator
from pada_agent.components.backends.slm.loading import load_slm
from pada_agent.components.backends.slm.training import CompletionTrainer
from pada_agent.components.backends.slm.training_rows import tokenise
from pada_agent.components.core.errors import ModelError
from pada_agent.components.core.settings import SlmSettings
from pada_agent.components.core.slm_interface import Prompt

WAYS = {
    "dora": {"use_dora": True},
    "rslora": {"use_rslora": True},
    "attention alone": {"target_modules": ["q_proj", "self_attn.v_proj"]},
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_each_adapter_trains_as_peft_trains_it_and_answers(tmp_path, tiny_slm, way):
    chosen = settings(tiny_slm, **way)
    made, adapter = run(tmp_path, tiny_slm, **way)
    rows, _ = tokenise(examples(), load_slm(chosen.slm), 512)
    assert made.losses == pytest.approx(plain_losses(tiny_slm, chosen, rows, made.steps), rel=2e-5)
    plain, _ = run(tmp_path, tiny_slm, name="plain")
    assert made.losses != plain.losses
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert {key: config[key] for key in way} == {key: value if isinstance(value, bool) else config[key] for key, value in way.items()}
    assert set(config["target_modules"]) == set(way.get("target_modules", config["target_modules"]))
    assert made.train == chosen.train
    prompts = [Prompt(id="1", messages=examples()[0].messages)]
    tuned = load_slm(chosen.slm, adapter)
    answers = Generator(tuned, 1)(prompts, 8)
    with tuned.model.disable_adapter():
        assert answers != Generator(tuned, 1)(prompts, 8)


@pytest.mark.parametrize("system", [SYSTEM, None], ids=["rows with a common beginning", "rows with little in common"])
def test_gradient_checkpointing_computes_twice_and_changes_nothing(tmp_path, tiny_slm, monkeypatch, system):
    forwards, set_up = [], CompletionTrainer.__init__

    def watched(self, slm, *rest):
        set_up(self, slm, *rest)
        slm.model.model.layers[0].mlp.register_forward_hook(lambda module, *_: forwards.append(module.training))

    monkeypatch.setattr(CompletionTrainer, "__init__", watched)
    plain, one = run(tmp_path, tiny_slm, examples(system), name="plain", dropout=0.1)
    once = sum(forwards)
    forwards.clear()
    again, two = run(tmp_path, tiny_slm, examples(system), name="again", dropout=0.1, gradient_checkpointing=True)
    assert sum(forwards) == 2 * once
    assert again.losses == plain.losses
    assert (one / "adapter_model.safetensors").read_bytes() == (two / "adapter_model.safetensors").read_bytes()


def test_gradient_checkpointing_of_batches_too_long_to_be_one_sequence(tmp_path, tiny_slm, monkeypatch):
    plain, _ = run(tmp_path, tiny_slm, name="plain")
    monkeypatch.setattr("pada_agent.components.backends.slm.training.PACKED", 0)  # keys and values would be needed twice
    again, _ = run(tmp_path, tiny_slm, name="again", gradient_checkpointing=True)
    assert again.losses == pytest.approx(plain.losses, rel=2e-5)


def test_layers_that_are_not_there_are_told(tiny_slm):
    chosen = settings(tiny_slm, target_modules=["q_proj", "q_porj"])
    with pytest.raises(ModelError, match="no linear layers 'q_porj'; there are down_proj, gate_proj, k_proj, lm_head"):
        with_lora(load_slm(chosen.slm), chosen.train)
    for wrong in ([], ["q_proj", ""], [".*"], "q_proj"):
        with pytest.raises(ValueError, match="target_modules"):
            settings(tiny_slm, target_modules=wrong)


@pytest.mark.parametrize(
    "way", [*WAYS.values(), {"gradient_checkpointing": True}], ids=[*WAYS, "gradient checkpointing"]
)
def test_checkpoints_of_another_way_are_not_gone_on_from(tmp_path, tiny_slm, way):
    run(tmp_path, tiny_slm, checkpoints=2)
    other, _ = run(tmp_path, tiny_slm, checkpoints=2, **way)
    assert other.resumed_from == 0


def test_four_bits_want_a_gpu_and_bitsandbytes(tiny_slm, monkeypatch):
    for device in ("cpu", "auto") if not torch.cuda.is_available() else ("cpu",):
        with pytest.raises(ModelError, match=r"slm\.quantization is nf4, but there is no CUDA device here.*leave quantization out"):
            load_slm(SlmSettings(model=str(tiny_slm), quantization="nf4", device=device))
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"needs bitsandbytes; install it with: pip install 'pada-agent\[qlora\]'"):
        loading.four_bits("cuda", "bfloat16")


def test_four_bits_train_and_answer_and_their_adapter_is_for_them_alone(tmp_path, tiny_slm, monkeypatch):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: "cpu")  # bitsandbytes has slow kernels for CPUs
    on_gpu = loading.four_bits
    monkeypatch.setattr(loading, "four_bits", lambda device, dtype: on_gpu("cuda", dtype))
    chosen = settings(tiny_slm)
    chosen = chosen.model_copy(update={"slm": chosen.slm.model_copy(update={"quantization": "nf4"})})
    made, adapter = run(tmp_path, tiny_slm, slm=chosen.slm, max_steps=20, rank=16)
    assert made.quantization == "nf4"
    assert made.losses[-1] < 0.8 * made.losses[0]
    tuned = load_slm(chosen.slm, adapter)
    [layer] = {type(m.base_layer) for name, m in tuned.model.named_modules() if name.endswith("q_proj")}
    assert layer is bitsandbytes.nn.Linear4bit
    assert Generator(tuned, 2)([Prompt(id=e.id, messages=e.messages) for e in examples()[:3]], 8)
    (adapter / "train.json").write_text(made.model_dump_json())
    with pytest.raises(ModelError, match=r"trained with slm.quantization: nf4, which is none now"):
        load_slm(settings(tiny_slm).slm, adapter)
