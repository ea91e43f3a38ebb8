"""Fine-tuning of all weights: what is left is a model of its own, in the place where others have an adapter."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pada_agent.components.backends.slm.cpu.causal_attention import use_causal_blocks
from pada_agent.components.backends.slm.cpu.lean_blocks import use_lean_blocks
from pada_agent.components.backends.slm.loading import Slm
from pada_agent.components.backends.slm.training_rows import TokenRow
from pada_agent.components.core.errors import ModelError

PROBES = 4  # rows


class Whole:
    """All weights of `slm`, which are float32, are trained; `dtype` is the type that they are kept and evaluated in."""

    def __init__(self, slm: Slm, rows: Sequence[TokenRow], dtype: str) -> None:
        self.model, self._chat, self._device, self._dtype = slm.model, slm.chat, slm.device, dtype
        self._rows = rows[:PROBES]
        self._before = self._logits(slm.model)
        if slm.device == "cpu":
            use_causal_blocks(slm.model)
            use_lean_blocks(slm.model)

    def save(self, folder: Path) -> None:
        """Write model and tokenizer. Raises ModelError if what was written answers as the base model did."""
        from transformers import AutoModelForCausalLM

        self.model.to(getattr(torch, self._dtype))
        self.model.save_pretrained(folder)
        self._chat.tokenizer.save_pretrained(folder)
        self.model.to("cpu")  # there may be no room for two
        kept: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        after = self._logits(kept.to(self._device).eval())
        if not torch.isfinite(after).all():
            raise ModelError("the trained model gives logits that are not numbers; lower train.learning_rate")
        if (after - self._before).abs().max() <= 1e-3:
            raise ModelError("the trained model answers as the base model does; check train.learning_rate and train.epochs")

    def _logits(self, model: Any) -> Any:
        """Of the token after each prompt, (rows, vocabulary)."""
        with torch.inference_mode():
            prompts = [torch.tensor([row.tokens[: row.prompt]], device=self._device) for row in self._rows]
            return torch.cat([model(input_ids=prompt).logits[:, -1].float() for prompt in prompts])
