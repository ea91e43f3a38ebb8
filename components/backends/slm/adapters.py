"""A LoRA adapter on the model: how it is put there, what its file says, and the proof that it changes the answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pada_agent.components.backends.files import write_atomic
from pada_agent.components.backends.record_files import read_json, write_json
from pada_agent.components.backends.slm.cpu.causal_attention import use_causal_blocks
from pada_agent.components.backends.slm.cpu.lean_blocks import use_lean_blocks
from pada_agent.components.backends.slm.cpu.lora_linear import use_lean_layers
from pada_agent.components.backends.slm.loading import Slm
from pada_agent.components.backends.slm.training_rows import TokenRow
from pada_agent.components.core.errors import ModelError
from pada_agent.components.core.report.cards import CARD, adapter_note
from pada_agent.components.core.settings import TrainLora, TrainSettings
from pada_agent.components.core.slm_interface import ADAPTER_FILE


def with_lora(slm: Slm, train: TrainSettings) -> Any:
    """The PEFT model around that of `slm`, ready to be trained. Raises ModelError for layers that it has not."""
    from peft import LoraConfig, get_peft_model

    if slm.device == "cpu":
        use_causal_blocks(slm.model)
        slm.model.requires_grad_(False)
        use_lean_blocks(slm.model)
    chosen = train.target_modules if isinstance(train.target_modules, str) else _linear_layers(slm, train.target_modules)
    lora = LoraConfig(
        r=train.rank,
        lora_alpha=train.alpha,
        lora_dropout=train.dropout,
        target_modules=chosen,
        use_dora=train.use_dora,
        use_rslora=train.use_rslora,
        task_type="CAUSAL_LM",
    )
    if train.gradient_checkpointing and not slm.model.supports_gradient_checkpointing:
        raise ModelError("train.gradient_checkpointing: transformers has none for this model; leave it out")
    try:
        model = get_peft_model(slm.model, lora)
    except ValueError as e:
        raise ModelError(f"train: PEFT has no such adapter for this model ({str(e).splitlines()[0][:200]})") from e
    use_lean_layers(model)
    return model


def _linear_layers(slm: Slm, names: Sequence[str]) -> list[str]:
    """The names, each of linear layers of the model. Raises ModelError; PEFT leaves out what it does not find."""
    from transformers.pytorch_utils import Conv1D

    there = [name for name, module in slm.model.named_modules() if isinstance(module, torch.nn.Linear | Conv1D)]
    for wanted in names:
        if not any(name == wanted or name.endswith(f".{wanted}") for name in there):
            known = sorted({name.rpartition(".")[2] for name in there})
            raise ModelError(f"train.target_modules: the model has no linear layers '{wanted}'; there are {', '.join(known)}")
    return list(names)


class Adapter:
    """A LoRA adapter on the model of `slm` is trained, and nothing else."""

    def __init__(self, slm: Slm, rows: Sequence[TokenRow], settings: TrainLora) -> None:
        self.model = with_lora(slm, settings.train)
        self._slm, self._rows, self._base = slm, rows, settings.slm.model

    def save(self, folder: Path) -> None:
        """Write the adapter with tokenizer and card. Raises ModelError if what was written changes nothing."""
        self.model.save_pretrained(folder)
        _name_base(folder, self._base)
        self._slm.chat.tokenizer.save_pretrained(folder)  # whoever serves it needs the template that it was trained with
        write_atomic(folder / CARD, adapter_note(self._base))
        _prove_change(self._slm, self.model, self._rows, folder)


def _name_base(adapter: Path, name: str) -> None:
    """PEFT writes where the base model lay on this machine; who takes the adapter on needs its name.

    Not before it saves: it would ask the hub for a model of that name, at each checkpoint too.
    """
    config = adapter / ADAPTER_FILE
    write_json(config, {**read_json(config), "base_model_name_or_path": name})


def _prove_change(slm: Slm, model: Any, rows: Sequence[TokenRow], adapter: Path) -> None:
    """Load the adapter as evaluate_slm will and compare logits with the base model's. Raises ModelError if they agree."""
    from peft import load_peft_weights, set_peft_model_state_dict

    set_peft_model_state_dict(model, load_peft_weights(str(adapter), device=slm.device))
    model.eval()
    with torch.inference_mode():
        for row in rows[:4]:
            tokens = torch.tensor([row.tokens[: row.prompt]], device=slm.device)
            tuned = model(input_ids=tokens).logits[:, -1].float()
            with model.disable_adapter():
                base = model(input_ids=tokens).logits[:, -1].float()
            if not torch.isfinite(tuned).all():
                raise ModelError(
                    f"the trained adapter gives logits that are not numbers (row {row.id}); lower train.learning_rate"
                )
            if (tuned - base).abs().max() > 1e-3:
                return
    raise ModelError("the trained adapter does not change the model's outputs; check train.learning_rate and train.epochs")
