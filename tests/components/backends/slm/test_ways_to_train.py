"""Other adapters than plain LoRA, and other ways to compute the same."""

import json

import pytest
import tiny_slm as tiny_slm_builder
import torch
import vllm_stand_in
from city_rows import SYSTEM, examples, plain_losses, run, settings
from pydantic import ValidationError
from safetensors.torch import load_file

from pada_agent.components.backends.slm import loading
from pada_agent.components.backends.slm.adapters import with_lora
from pada_agent.components.backends.slm.answering import student
from pada_agent.components.backends.slm.checkpoints import Checkpoints
from pada_agent.components.backends.slm.inference import Generator
from pada_agent.components.backends.slm.loading import load_slm
from pada_agent.components.backends.slm.training import CompletionTrainer
from pada_agent.components.backends.slm.training_rows import tokenise
from pada_agent.components.core.errors import ModelError
from pada_agent.components.core.settings import EvaluateSettings, SlmEndpoint, SlmSettings, TrainLora
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
    assert {key: config[key] for key in way} == {
        key: value if isinstance(value, bool) else config[key] for key, value in way.items()
    }
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
        # Before it, not after: computing again ends as soon as all that the backward pass wants is there.
        slm.model.model.layers[0].mlp.register_forward_pre_hook(lambda module, _: forwards.append(module.training))

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


@pytest.mark.parametrize("way", [*WAYS.values(), {"gradient_checkpointing": True}], ids=[*WAYS, "gradient checkpointing"])
def test_checkpoints_of_another_way_are_not_gone_on_from(tmp_path, tiny_slm, way):
    run(tmp_path, tiny_slm, checkpoints=2)
    other, _ = run(tmp_path, tiny_slm, checkpoints=2, **way)
    assert other.resumed_from == 0


def test_four_bits_want_a_gpu_and_bitsandbytes(tiny_slm, monkeypatch):
    for device in ("cpu", "auto") if not torch.cuda.is_available() else ("cpu",):
        with pytest.raises(
            ModelError, match=r"slm\.quantization is nf4, but there is no CUDA device here.*leave quantization out"
        ):
            load_slm(SlmSettings(model=str(tiny_slm), quantization="nf4", device=device))
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"needs bitsandbytes; install it with: pip install 'pada-agent\[qlora\]'"):
        loading.four_bits("cuda", "bfloat16")


def test_four_bits_are_rounded_as_in_qlora(monkeypatch):
    pytest.importorskip("bitsandbytes")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    asked = loading.four_bits("cuda", "bfloat16")["quantization_config"]
    assert (asked.load_in_4bit, asked.bnb_4bit_quant_type, asked.bnb_4bit_use_double_quant) == (True, "nf4", True)
    assert asked.bnb_4bit_compute_dtype == torch.bfloat16


def test_four_bits_train_and_answer_and_their_adapter_is_for_them_alone(tmp_path, monkeypatch):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: "cpu")  # bitsandbytes has slow kernels for CPUs
    on_gpu = loading.four_bits
    monkeypatch.setattr(loading, "four_bits", lambda device, dtype: on_gpu("cuda", dtype))
    wider = tiny_slm_builder.build(tmp_path / "wider", width=64)
    chosen = settings(wider)
    chosen = chosen.model_copy(update={"slm": chosen.slm.model_copy(update={"quantization": "nf4"})})
    made, adapter = run(tmp_path, wider, slm=chosen.slm, max_steps=20, rank=16)
    assert made.quantization == "nf4"
    assert made.losses[-1] < 0.8 * made.losses[0]
    tuned = load_slm(chosen.slm, adapter)
    [layer] = {type(m.base_layer) for name, m in tuned.model.named_modules() if name.endswith("q_proj")}
    assert layer is bitsandbytes.nn.Linear4bit
    assert Generator(tuned, 2)([Prompt(id=e.id, messages=e.messages) for e in examples()[:3]], 8)
    (adapter / "train.json").write_text(made.model_dump_json())
    with pytest.raises(ModelError, match=r"trained with slm.quantization: nf4, which is none now"):
        load_slm(settings(wider).slm, adapter)


# all weights


def trained_whole(tmp_path, tiny_slm, name="whole", **train):
    return run(tmp_path, tiny_slm, name=name, method="full", learning_rate=0.003, **train)


@pytest.mark.parametrize("system", [SYSTEM, None], ids=["rows with a common beginning", "rows with little in common"])
def test_all_weights_are_trained_as_in_a_plain_loop(tmp_path, tiny_slm, system):
    chosen = settings(tiny_slm, method="full", learning_rate=0.003)
    made, folder = run(tmp_path, tiny_slm, examples(system), method="full", learning_rate=0.003)
    rows, _ = tokenise(examples(system), load_slm(chosen.slm), 512)
    assert made.losses == pytest.approx(plain_losses(tiny_slm, chosen, rows, made.steps), rel=5e-5)
    assert made.losses[-1] < 0.8 * made.losses[0]
    before, after = (load_slm(chosen.slm, which).model.state_dict() for which in (None, folder))
    assert before.keys() == after.keys()
    assert all(not torch.equal(before[name], after[name]) for name in before)


def test_all_weights_are_trained_in_float32_and_kept_in_the_models_type(tmp_path, tiny_slm):
    plain, _ = trained_whole(tmp_path, tiny_slm, "plain")
    slm = settings(tiny_slm).slm.model_copy(update={"dtype": "bfloat16"})
    made, folder = trained_whole(tmp_path, tiny_slm, "rounded", slm=slm)
    assert (made.losses, made.dtype) == (plain.losses, "bfloat16")
    assert {weight.dtype for weight in load_file(folder / "model.safetensors").values()} == {torch.bfloat16}


def test_a_whole_model_answers_in_the_place_of_an_adapter_wherever_it_is_taken(tmp_path, tiny_slm, monkeypatch):
    made, folder = trained_whole(tmp_path, tiny_slm, max_steps=20)
    (folder / "train.json").write_text(made.model_dump_json())
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
    assert not (folder / "adapter_config.json").exists()
    slm = settings(tiny_slm).slm
    moved = folder.rename(tmp_path / "moved")
    prompts = [Prompt(id=e.id, messages=e.messages) for e in examples()[:4]]
    with student(slm, EvaluateSettings(), moved, "") as who:
        answers = who.generate(prompts, 8)
    with student(slm, EvaluateSettings(), None, "") as who:
        assert who.generate(prompts, 8) != answers
    with student(SlmSettings(model=str(moved), dtype="float32", device="cpu"), EvaluateSettings(), None, "") as who:
        assert who.generate(prompts, 8) == answers
    with monkeypatch.context() as patch:
        vllm_stand_in.install(patch)
        with student(slm, EvaluateSettings(engine="vllm"), moved, "") as who:
            assert who.generate(prompts, 8) == answers
    served = {"model": "m", "base_url": "http://127.0.0.1:9/v1", "adapter_folder": str(tmp_path / "both")}
    with (
        pytest.raises(ModelError, match="it is a whole model, which no server loads so"),
        student(slm.model_copy(update={"endpoint": SlmEndpoint(**served)}), EvaluateSettings(), moved, ""),
    ):
        pass
    with pytest.raises(ModelError, match=r"trained on a/b, but slm.model is"):
        load_slm(slm, _of_another(moved))


def _of_another(folder):
    facts = json.loads((folder / "train.json").read_text())
    (folder / "train.json").write_text(json.dumps({**facts, "base_model": "a/b"}))
    return folder


def test_a_whole_model_goes_on_from_its_checkpoint(tmp_path, tiny_slm, monkeypatch):
    unbroken, whole = trained_whole(tmp_path, tiny_slm, "unbroken", epochs=4, checkpoints=3)
    saved = Checkpoints.saved

    def killed(self, step):
        saved(self, step)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "saved", killed)
        with pytest.raises(KeyboardInterrupt):
            trained_whole(tmp_path, tiny_slm, "broken", epochs=4, checkpoints=3)
    resumed, again = trained_whole(tmp_path, tiny_slm, "broken", epochs=4, checkpoints=3)
    assert resumed.resumed_from == 3
    assert resumed.losses == unbroken.losses
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_what_does_not_go_with_all_weights_is_told(tmp_path, tiny_slm):
    with pytest.raises(ModelError, match="the trained model answers as the base model does"):
        run(tmp_path, tiny_slm, method="full", learning_rate=1e-12)
    for name, value in (("use_dora", True), ("use_rslora", True), ("target_modules", ["q_proj"])):
        with pytest.raises(ValidationError, match=f"{name}: is of adapters, and method: full trains none"):
            settings(tiny_slm, method="full", **{name: value})
    whole = settings(tiny_slm, method="full").model_dump()
    with pytest.raises(ValidationError, match="weights of nf4 cannot be trained"):
        TrainLora.model_validate({**whole, "slm": {**whole["slm"], "quantization": "nf4"}})
