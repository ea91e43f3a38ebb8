"""A leaner forward and backward for PEFT's LoRA layers, with PEFT's parameters: y = x W' + s * dropout(x) A' B'.

PEFT casts each layer's input to float32 and draws a Bernoulli number for each element; on a CPU that takes more time than
the products. Here everything is in the type of the weights (the LoRA weights stay float32), and the frozen weights' part of
the backward pass is one product. PEFT still makes, saves, loads and switches the adapter.
"""

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

ADAPTER = "default"


class LoraProduct(torch.autograd.Function):
    """x (..., in), frozen W (out, in) and bias, A (rank, in), B (out, rank) -> (..., out)."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, a: Any, b: Any, scale: float, dropout: float) -> Any:
        """`dropout` 0 is none."""
        flat = x.reshape(-1, x.shape[-1])
        y = functional.linear(flat, weight, bias)
        scale = scale / (1 - dropout)
        a_cast, b_cast = a.to(x.dtype), (b * scale).to(x.dtype)
        dropped = _draw(flat, dropout)
        inner = _without(flat, dropped) @ a_cast.T
        y.addmm_(inner, b_cast.T)
        ctx.save_for_backward(flat, weight, a_cast, b_cast, inner, dropped)
        ctx.scale, ctx.shape, ctx.types = scale, x.shape, (a.dtype, b.dtype)
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Gradients of x, A and B; W and bias are frozen."""
        x, weight, a, b, inner, dropped = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1])
        grad_inner = grad @ b
        grad_a = (grad_inner.T @ _without(x, dropped)).to(ctx.types[0])
        grad_b = (grad.T @ inner).to(ctx.types[1]) * ctx.scale
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = grad_inner @ a
            if dropped is not None:
                grad_x.view(-1).index_fill_(0, dropped, 0)
            grad_x = grad_x.addmm_(grad, weight).view(ctx.shape)
        return grad_x, None, None, grad_a, grad_b, None, None


def use_lean_layers(model: nn.Module) -> int:
    """Give the LoRA layers of a PEFT model the lean forward; returns how many.

    Left as they are: layers with more than one adapter, merged or quantised weights, DoRA, a bias of LoRA's own.
    """
    from peft.tuners.lora import Linear

    layers = [m for m in model.modules() if type(m) is Linear and type(m.base_layer) is nn.Linear]
    plain = [m for m in layers if not m.use_dora.get(ADAPTER) and not m.lora_bias.get(ADAPTER)]
    for layer in plain:
        object.__setattr__(layer, "forward", _lean_forward(layer, layer.forward))
    return len(plain)


def _lean_forward(layer: Any, original: Any) -> Any:
    def forward(x: Any, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs or layer.disable_adapters or layer.merged or layer.active_adapters != [ADAPTER]:
            return original(x, *args, **kwargs)
        base = layer.base_layer
        dropout = getattr(layer.lora_dropout[ADAPTER], "p", 0.0) if layer.training else 0.0
        a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
        product: Any = LoraProduct.apply
        return product(x, base.weight, base.bias, a, b, layer.scaling[ADAPTER], dropout)

    return forward


def _draw(x: Any, dropout: float) -> Any:
    """Positions to drop, or None: so many draws with repetition that each element is dropped with this probability."""
    draws = int(-math.log1p(-dropout) * x.numel())
    return torch.randint(0, x.numel(), (draws,), device=x.device) if draws else None


def _without(x: Any, dropped: Any) -> Any:
    if dropped is None:
        return x
    x = x.clone()
    x.view(-1).index_fill_(0, dropped, 0)
    return x
