"""Causal attention for training on a CPU: block by block, so that what a block needs stays in the cache.

PyTorch's fused kernel takes more time backward on a CPU than the plain products do, and the plain products compute what
causality throws away and keep it all for the backward pass. Here nothing of size length x length is kept.
"""

from collections.abc import Iterator
from typing import Any

import torch

NAME = "causal_blocks"
BLOCK = 128  # queries at once
SPECIAL = ("softcap", "s_aux", "position_bias")  # what some models add to the scores: left to transformers


class CausalAttention(torch.autograd.Function):
    """q (rows, heads, own, d), k and v (rows, groups, all, d) -> (rows, own, heads, d); own tokens are the last of all."""

    @staticmethod
    def forward(ctx: Any, q: Any, k: Any, v: Any, scale: float) -> Any:
        """Softmax of `scale` q k' over the tokens up to each query's own."""
        ctx.save_for_backward(q, k, v)
        ctx.scale = scale
        out = torch.empty_like(q.transpose(1, 2), memory_format=torch.contiguous_format)
        for some in _rows(q, k):
            keys, values = _flat(k[some]), _flat(v[some])
            for start, end, until in _blocks(q.shape[2], k.shape[2]):
                _, weights = _weights(q[some, :, start:end], keys[:, :until], scale)
                product = weights @ values[:, :until]
                out[some, start:end] = product.view(q[some, :, start:end].shape).transpose(1, 2)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Gradients of q, k and v; the weights are computed again."""
        q, k, v = ctx.saved_tensors
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        for some in _rows(q, k):
            keys, values = _flat(k[some]), _flat(v[some])
            of_keys, of_values = (torch.zeros(keys.shape, device=k.device) for _ in range(2))
            for start, end, until in _blocks(q.shape[2], k.shape[2]):
                queries, weights = _weights(q[some, :, start:end], keys[:, :until], ctx.scale)
                grad = _grouped(grads[0][some, start:end].transpose(1, 2), len(keys))
                of_values[:, :until] += weights.transpose(1, 2) @ grad
                of_weights = grad @ values[:, :until].transpose(1, 2)
                of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
                of_keys[:, :until] += of_scores.transpose(1, 2) @ queries
                of_queries = (of_scores @ keys[:, :until]).mul_(ctx.scale)
                grad_q[some, :, start:end] = of_queries.view(q[some, :, start:end].shape)
            grad_k[some], grad_v[some] = of_keys.view(k[some].shape), of_values.view(v[some].shape)
        return grad_q, grad_k, grad_v, None


def _rows(q: Any, k: Any) -> Iterator[slice]:
    """Rows at once: more than one where they are short."""
    count = max(1, BLOCK * BLOCK // (min(q.shape[2], BLOCK) * k.shape[2]))
    return (slice(start, start + count) for start in range(0, len(q), count))


def _blocks(own: int, every: int) -> Iterator[tuple[int, int, int]]:
    """First query, the one after the last, and how many keys these may see."""
    for start in range(0, own, BLOCK):
        end = min(start + BLOCK, own)
        yield start, end, every - own + end


def _flat(x: Any) -> Any:
    """(rows, groups, length, d) -> (rows x groups, length, d)"""
    return x.reshape(-1, *x.shape[2:])


def _grouped(x: Any, groups: int) -> Any:
    """(rows, heads, block, d) -> (rows x groups, heads of a group x block, d): heads that share keys become one product."""
    return x.reshape(groups, -1, x.shape[-1])


def _weights(q: Any, keys: Any, scale: float) -> tuple[Any, Any]:
    """Scaled queries of a block, grouped, and their weights on the keys: (rows x groups, heads of a group x block, keys)."""
    block, until = q.shape[2], keys.shape[1]
    queries = _grouped(q, len(keys)) * scale
    scores = queries @ keys.transpose(1, 2)
    later = torch.full((block, block), float("-inf"), dtype=q.dtype, device=q.device).triu_(1)
    scores.view(-1, block, until)[..., until - block :] += later
    return queries, scores.softmax(-1)


def use_causal_blocks(model: Any) -> None:
    """Have a transformers model attend so wherever it would give PyTorch no mask but `is_causal`. For CPUs."""
    from transformers import AttentionInterface, AttentionMaskInterface

    if model.config._attn_implementation != "sdpa":
        return
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, mask)
    model.set_attn_implementation(NAME)


def mask(*, mask_function: Any, attention_mask: Any = None, **how: Any) -> Any:
    """None for plain causality, even behind a prefix that is in the cache; else the mask that PyTorch is given."""
    from transformers.masking_utils import causal_mask_function, sdpa_mask

    if mask_function is causal_mask_function and attention_mask is None:
        return None
    return sdpa_mask(mask_function=mask_function, attention_mask=attention_mask, **how)


def attend(module: Any, q: Any, k: Any, v: Any, attention_mask: Any, scaling: Any = None, **how: Any) -> tuple[Any, None]:
    """An attention function of transformers: (rows, heads, own, d) to (rows, own, heads, d)."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    own, every = q.shape[2], k.shape[2]
    plain = not how.get("dropout") and q.shape[-1] == v.shape[-1] and not any(how.get(k) is not None for k in SPECIAL)
    product: Any = CausalAttention.apply
    scale = q.shape[-1] ** -0.5 if scaling is None else scaling
    if plain and (layout := getattr(attention_mask, "packed", None)):
        (first, queries), (keys, _), (values, _) = layout.split(q), layout.split(k), layout.split(v)
        rows = product(queries, layout.behind_prefix(k), layout.behind_prefix(v), scale)
        return torch.cat([product(first, keys, values, scale), rows.flatten(0, 1)[None]], 1), None
    if attention_mask is None and own > 1 and getattr(module, "is_causal", True):
        if plain:
            return product(q, k, v, scale), None
        attention_mask = torch.ones((own, every), dtype=torch.bool, device=q.device).tril(every - own)[None, None]
    return sdpa_attention_forward(module, q, k, v, attention_mask, scaling=scaling, **how)
