import json
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from torch.nn import functional
from transformers import AutoModelForCausalLM

from pada_agent.components.backends.slm import training
from pada_agent.components.backends.slm.checkpoints import Checkpoints
from pada_agent.components.backends.slm.cpu.causal_attention import CausalAttention, use_causal_blocks
from pada_agent.components.backends.slm.cpu.packed_rows import PACKED, can_pack, pack
from pada_agent.components.backends.slm.loading import load_slm
from pada_agent.components.core.settings import SlmSettings, TrainLora
from pada_agent.components.core.slm_interface import Example
from pada_agent.components.core.tasks.registry import load_task

TEXT_TO_SQL = Path(__file__).parents[5] / "pipelines" / "examples" / "text_to_sql"


@pytest.fixture
def model(tiny_slm):
    return load_slm(SlmSettings(model=str(tiny_slm), dtype="float32", device="cpu")).model


@pytest.mark.parametrize("blocks", [True, False], ids=["attention in blocks", "attention by the mask"])
@pytest.mark.parametrize(("prefix", "own"), [(20, 9), (7, 1), (140, 130)])
def test_loss_and_gradients_are_those_of_separate_rows(model, blocks, prefix, own, monkeypatch):
    tokens = torch.randint(3, 300, (3, prefix + own))
    tokens[:, :prefix] = tokens[0, :prefix]
    targets = torch.randint(3, 300, (3, own))
    weights = [*model.parameters()]

    def result(logits):
        loss = functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.flatten())
        return loss, torch.autograd.grad(loss, weights)

    plain_loss, plain = result(model(input_ids=tokens).logits[:, prefix:])
    asked = []
    if blocks:
        use_causal_blocks(model)
        apply = CausalAttention.apply
        monkeypatch.setattr(CausalAttention, "apply", lambda *a: (asked.append(tuple(a[1].shape[::2])), apply(*a))[1])
    loss, packed = result(model(**pack(tokens, prefix)).logits[0, prefix:])
    assert set(asked) == ({(1, prefix), (3, prefix + own)} if blocks else set())  # nothing that the mask would hide
    torch.testing.assert_close(loss, plain_loss, rtol=1e-5, atol=0)
    for one, two in zip(packed, plain, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4 * two.abs().max().item())


def test_a_model_that_goes_by_mask_and_positions_can_be_packed(model, tiny_slm):
    assert can_pack(model)
    use_causal_blocks(model)
    assert can_pack(model)
    for name in ("attention_mask", "position_ids"):
        heeds = model.forward
        model.forward = lambda heeds=heeds, name=name, **given: heeds(**{k: v for k, v in given.items() if k != name})
        assert not can_pack(model), name
        model.forward = heeds
    # It would add a mask of true and false to its scores as ones and zeros.
    assert not can_pack(AutoModelForCausalLM.from_pretrained(tiny_slm, attn_implementation="eager"))


def fit(tmp_path, model, examples, name, **train):
    told = {"task": {"name": "squad", "train": "-", "validation": "-", "test": "-"}, "train": train}
    settings = TrainLora.model_validate({**told, "slm": {"model": str(model), "dtype": "float32", "device": "cpu"}})
    return training.fit(examples, settings, tmp_path / name, Checkpoints(str(tmp_path / f"{name}.checkpoints")), max_steps=4)


def shop_rows(tmp_path):
    (tmp_path / "database.sql").write_text((TEXT_TO_SQL / "shop.sql").read_text())
    task = load_task("text_to_sql", {"database": "shop.sql"}, tmp_path)
    rows = [task.read(json.loads(line)) for line in (TEXT_TO_SQL / "train.jsonl").read_text().splitlines()]
    return [Example(id=str(i), messages=task.messages(row), target=task.target(row)) for i, row in enumerate(rows)]


def test_the_examples_rows_are_packed_and_learn_what_they_would_otherwise(tmp_path, tiny_slm, monkeypatch):
    own = yaml.safe_load((TEXT_TO_SQL / "config.yaml").read_text())["train"]
    run = partial(fit, tmp_path, tiny_slm, shop_rows(tmp_path), **own, dropout=0.0)
    packed = []
    monkeypatch.setattr(training, "pack", lambda *a: (packed.append(a[1]), pack(*a))[1])
    one = run("packed")
    assert len(packed) == one.steps == 4
    assert min(packed) > 100
    for how in ({"PACKED": 0}, {"can_pack": lambda model: False}):
        with monkeypatch.context() as patched:
            for name, value in how.items():
                patched.setattr(training, name, value)
            two = run(f"in two passes, {name}")
        assert len(packed) == 4
        assert one.losses == pytest.approx(two.losses, rel=2e-5)


def test_rows_that_make_too_long_a_sequence_are_not_packed(tmp_path, tiny_slm, monkeypatch):
    lengths = []
    monkeypatch.setattr(training, "pack", lambda *a: (lengths.append(a[0].shape), pack(*a))[1])
    system = {"role": "system", "content": "Answer as you are asked to, in one word."}
    chats = [[system, {"role": "user", "content": f"{i} {'very ' * (4 if i < 8 else 150)}"}] for i in range(16)]
    examples = [Example(id=str(i), messages=chat, target="yes") for i, chat in enumerate(chats)]
    fit(tmp_path, tiny_slm, examples, "mixed", micro_batch=4, accumulate=1)
    assert 0 < len(lengths) < 4
    assert all(rows * length <= PACKED for rows, length in lengths)
