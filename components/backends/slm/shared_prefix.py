"""Runs what all rows of a batch begin with once: the chat header, a system prompt, a database schema.

In text-to-SQL two thirds of a training row are the same in every row. Keys and values of that part are computed for one row
and repeated for the others. Outputs and gradients are those of the plain run; LoRA's dropout draws once for the shared part.
"""

from collections.abc import Sequence
from copy import copy
from inspect import signature
from typing import Any

import torch
from torch.nn import functional

WORTH = 16  # tokens; below, a second pass through the layers costs more than it saves


def shared_length(rows: Sequence[Sequence[int]], own: int = 1) -> int:
    """Tokens that all rows begin with, leaving each at least `own`; 0 when it is not worth a pass of its own."""
    if len(rows) < 2:
        return 0
    first, last = min(map(list, rows)), max(map(list, rows))
    most = min(map(len, rows)) - own
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    length = min(length, most)
    return length if length >= WORTH else 0


def cache_word(model: Any) -> str:
    """What the model calls keys and values, as a keyword and in its output; transformers drops the second word in 5.40."""
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model  # PEFT's forward takes any keyword
    return "cache" if "cache" in signature(type(plain).forward).parameters else "past_key_values"


def can_share(model: Any) -> bool:
    """Whether the model keeps plain keys and values, so that those of a prefix can be repeated for other rows."""
    from transformers.cache_utils import DynamicCache, DynamicLayer

    with torch.no_grad():
        token = torch.zeros((1, 1), dtype=torch.long, device=model.device)
        try:
            cache = getattr(model(input_ids=token, use_cache=True), cache_word(model))
        except (TypeError, ValueError, AttributeError):
            return False
    return isinstance(cache, DynamicCache) and all(type(layer) is DynamicLayer for layer in cache.layers)


def prefix_cache(model: Any, prefix: Any) -> Any:
    """Keys and values of `prefix`, a (1, length) tensor of tokens."""
    return getattr(model(input_ids=prefix, use_cache=True, logits_to_keep=1), cache_word(model))


def repeated(cache: Any, rows: int) -> Any:
    """A copy of a cache of one row for `rows` rows."""
    cache = copy(cache)
    cache.layers = [copy(layer) for layer in cache.layers]  # a layer replaces its tensors and never writes into them
    cache.batch_repeat_interleave(rows)
    return cache


def side_by_side(caches: Sequence[Any]) -> Any:
    """One cache of all their rows, padded on the left to the longest. The caches given are used up."""
    first, *others = caches
    if not others:
        return first
    longest = max(cache.get_seq_length() for cache in caches)
    for i, layer in enumerate(first.layers):
        for name in ("keys", "values"):
            parts = [getattr(cache.layers[i], name) for cache in caches]
            setattr(layer, name, torch.cat([functional.pad(part, (0, 0, longest - part.shape[2], 0)) for part in parts]))
            for other in others:
                setattr(other.layers[i], name, None)
    return first
