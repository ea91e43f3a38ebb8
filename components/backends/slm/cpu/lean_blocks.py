"""RMS norms and gated MLPs that keep less for the backward pass: their inputs, in the type they came in.

Autograd keeps float32 copies of what a norm sees and two products of an MLP that can be computed again from its inputs: together
a third of what a LoRA training step holds. Outputs are the same to the bit.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

ROWS = 256  # at once, so that float32 copies stay in the cache


class RmsNorm(torch.autograd.Function):
    """x (..., width), weight (width) -> (..., width); the weight is frozen."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, epsilon: float) -> Any:
        """x over its root mean square, times the weight."""
        wide = x.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)
        ctx.save_for_backward(x, weight, scale)
        return weight * (wide * scale).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """The gradient of x."""
        x, weight, scale = ctx.saved_tensors
        width, out = x.shape[-1], torch.empty_like(x, memory_format=torch.contiguous_format)
        pieces = (t.reshape(-1, t.shape[-1]).split(ROWS) for t in (x, scale, grads[0], out))
        for x_, scale_, grad, out_ in zip(*pieces, strict=True):
            normed, wide = x_ * scale_, (grad * weight).float()
            mean = torch.linalg.vecdot(wide, normed).div_(width).unsqueeze(-1)
            out_.copy_(wide.addcmul_(normed, mean, value=-1).mul_(scale_))
        return out, None, None


class SiluGate(torch.autograd.Function):
    """silu(gate) * up, all of one shape."""

    @staticmethod
    def forward(ctx: Any, gate: Any, up: Any) -> Any:
        ctx.save_for_backward(gate, up)
        return functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Gradients of both."""
        gate, up = ctx.saved_tensors
        return torch.ops.aten.silu_backward(grads[0] * up, gate), functional.silu(gate).mul_(grads[0])


def use_lean_blocks(model: nn.Module) -> int:
    """Give norms and MLPs the lean forward; returns how many. A module whose output would differ in one bit is left alone.

    To be called before PEFT wraps the model's layers, and with the model in evaluation mode.
    """
    return sum(_replace(module) for module in model.modules())


def _replace(module: Any) -> bool:
    if hasattr(module, "variance_epsilon") and isinstance(getattr(module, "weight", None), nn.Parameter):
        weight, width, lean, forward = module.weight, len(module.weight), _lean_norm(module), _unless_trained(module)
    elif all(isinstance(getattr(module, name, None), nn.Linear) for name in ("gate_proj", "up_proj", "down_proj")):
        weight, width, lean = module.gate_proj.weight, module.gate_proj.in_features, _lean_mlp(module)
        forward = lean
    else:
        return False
    probe = torch.randn((3, width), generator=torch.Generator().manual_seed(0)).to(weight)
    with torch.no_grad():
        try:
            same = torch.equal(module(probe), lean(probe))
        except (RuntimeError, TypeError, ValueError, IndexError):  # one that wants other inputs
            return False
    if same:
        object.__setattr__(module, "forward", forward)
    return same


def _lean_norm(module: Any) -> Callable[[Any], Any]:
    product: Any = RmsNorm.apply
    return lambda x: product(x, module.weight, module.variance_epsilon)


def _unless_trained(norm: Any) -> Callable[[Any], Any]:
    lean, original = _lean_norm(norm), norm.forward
    return lambda x: original(x) if norm.weight.requires_grad else lean(x)


def _lean_mlp(module: Any) -> Callable[[Any], Any]:
    product: Any = SiluGate.apply
    return lambda x: module.down_proj(product(module.gate_proj(x), module.up_proj(x)))
