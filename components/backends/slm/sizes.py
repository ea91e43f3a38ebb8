"""How much memory a training needs for what is known before it: weights, gradients, optimizer. Activations come on top."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pada_agent.components.backends.models.sources import model_here
from pada_agent.components.backends.slm.loading import chosen_type
from pada_agent.components.backends.slm.memory import BYTES, GIB, memory_limit
from pada_agent.components.core.settings import SlmSettings, TrainSettings

TRAINED = 16  # bytes: a weight in float32, its gradient, Adam's two moments
NF4 = 4.127 / 8  # bytes, with the scales of its blocks, quantised too (arXiv 2305.14314, section 3)


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of the frozen weights, and of what is trained with gradients and optimizer; `limit` is what there is here."""

    frozen: float
    trained: float
    limit: int
    device: str

    def said(self, train: TrainSettings) -> str:
        """In words."""
        what = "all weights" if train.method == "full" else "the adapter"
        frozen = f"{self.frozen / GIB:.2f} GiB of weights and " if self.frozen else ""
        few = ", few with train.gradient_checkpointing" if train.gradient_checkpointing else ""
        return (
            f"{frozen}{self.trained / GIB:.2f} GiB for {what} with gradients and optimizer, of {self.limit / GIB:.1f} GiB of "
            f"this {self.device}; activations come on top{few}"
        )

    @property
    def fits(self) -> bool:
        """Whether it may fit; activations come on top."""
        return self.frozen + self.trained <= self.limit


def training_memory(slm: SlmSettings, train: TrainSettings) -> TrainingMemory | None:
    """Of a model that is on this machine as a folder; None for others. Raises ModelError for a device that is not here."""
    model = _empty(slm.model)
    if model is None:
        return None
    dtype, cuda = chosen_type(slm), slm.device != "cpu" and cuda_here()
    limit = torch.cuda.get_device_properties(0).total_memory if cuda else memory_limit()
    whole = _count(model)
    device = "GPU" if cuda else "machine"
    if train.method == "full":
        return TrainingMemory(0, whole * TRAINED, limit, device)
    head = model.get_output_embeddings()
    layers = {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear) and m is not head}
    linear = sum(layer.weight.numel() for layer in layers.values())
    frozen = linear * NF4 + (whole - linear) * BYTES[dtype] if slm.quantization == "nf4" else whole * BYTES[dtype]
    chosen = [layer for name, layer in layers.items() if _chosen(name, train)]
    adapter = sum(train.rank * (x.in_features + x.out_features) + train.use_dora * x.out_features for x in chosen)
    return TrainingMemory(frozen, adapter * TRAINED, limit, device)


def cuda_here() -> bool:
    """Whether this machine has a GPU that PyTorch can use."""
    return torch.cuda.is_available()


def parameters_of(name: str) -> int:
    """How many parameters a model has that is on this machine as a folder; 0 of another. Raises ModelError."""
    model = _empty(name)
    return _count(model) if model else 0


def _empty(name: str) -> Any:
    """The model without its weights; None where it is not on this machine as a folder."""
    from transformers import AutoConfig, AutoModelForCausalLM

    source = model_here(name)
    if source is None or source.path.suffix == ".gguf":
        return None
    untyped: Any = AutoModelForCausalLM
    with torch.device("meta"):
        return untyped.from_config(AutoConfig.from_pretrained(Path(source.path), local_files_only=True))


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _chosen(name: str, train: TrainSettings) -> bool:
    wanted = train.target_modules
    return isinstance(wanted, str) or any(name == one or name.endswith(f".{one}") for one in wanted)
