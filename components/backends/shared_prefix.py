"""Runs what all rows of a batch begin with once: the chat header, a system prompt, a database schema.

In text-to-SQL two thirds of a training row are the same in every row. Keys and values of that part are computed for one row
and repeated for the others. Outputs and gradients are those of the plain run; LoRA's dropout draws once for the shared part.
"""

from collections.abc import Sequence
from typing import Any

import torch

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


def can_share(model: Any) -> bool:
    """Whether the model keeps plain keys and values, so that those of a prefix can be repeated for other rows."""
    from transformers.cache_utils import DynamicCache, DynamicLayer

    with torch.no_grad():
        token = torch.zeros((1, 1), dtype=torch.long, device=model.device)
        try:
            cache = model(input_ids=token, use_cache=True).past_key_values
        except (TypeError, ValueError, AttributeError):
            return False
    return isinstance(cache, DynamicCache) and all(type(layer) is DynamicLayer for layer in cache.layers)


def prefix_cache(model: Any, prefix: Any, rows: int) -> Any:
    """Keys and values of `prefix`, a (1, length) tensor of tokens, repeated for `rows` rows."""
    cache = model(input_ids=prefix, use_cache=True, logits_to_keep=1).past_key_values
    cache.batch_repeat_interleave(rows)
    return cache
