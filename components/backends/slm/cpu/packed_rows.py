"""A micro batch as one sequence: what its rows begin with, once, then each row's own part. For training on a CPU.

    Write one query. customers(id, name) | How many? SELECT ... | Who? SELECT ... <pad>     prefix, own part, own part

One pass through the layers in place of two, whose products are too small to keep a CPU busy. The mask says all that any
attention must know; ours reads the layout that it carries and computes nothing that the mask would hide.
"""

from dataclasses import dataclass
from typing import Any

import torch

PACKED = 1024  # tokens of a sequence; longer rows keep a CPU busy in two passes, and the mask grows with the square


@dataclass(frozen=True)
class Layout:
    """`prefix` tokens, then `rows` x `own` tokens."""

    prefix: int
    rows: int
    own: int

    def split(self, x: Any) -> tuple[Any, Any]:
        """(1, heads, tokens, d) -> the prefix, (1, heads, prefix, d), and the own parts, (rows, heads, own, d)."""
        own = x[0, :, self.prefix :].unflatten(1, (self.rows, self.own)).transpose(0, 1)
        return x[:, :, : self.prefix], own

    def behind_prefix(self, x: Any) -> Any:
        """The same -> (rows, heads, prefix + own, d)."""
        prefix, own = self.split(x)
        return torch.cat([prefix.expand(self.rows, -1, -1, -1), own], 2)

    def mask(self, device: Any) -> Any:
        """(1, 1, tokens, tokens), true where a token sees another."""
        row = torch.arange(self.rows, device=device).repeat_interleave(self.own)
        row = torch.cat([torch.full((self.prefix,), -1, device=device), row])
        seen = (row[:, None] == row) | (row == -1)
        mask: Any = seen.tril()[None, None]
        mask.packed = self
        return mask


def pack(tokens: Any, prefix: int) -> dict[str, Any]:
    """Inputs of a model for (rows, length) tokens whose first `prefix` are the same: one sequence, its mask and positions."""
    rows, length = tokens.shape
    layout = Layout(prefix, rows, length - prefix)
    positions = torch.arange(length, device=tokens.device)
    return {
        "input_ids": torch.cat([tokens[0, :prefix], tokens[:, prefix:].flatten()])[None],
        "position_ids": torch.cat([positions[:prefix], positions[prefix:].repeat(rows)])[None],
        "attention_mask": layout.mask(tokens.device),
    }


def can_pack(model: Any) -> bool:
    """Whether the model gives a packed sequence the outputs of its rows: it goes by the mask and the positions it is given."""
    tokens = torch.arange(12, device=model.device).view(2, 6)
    tokens[:, :3] = tokens[0, :3]
    with torch.no_grad():
        try:
            plain = model(input_ids=tokens, use_cache=False).logits[:, 3:].flatten(0, 1).float()
            packed = model(**pack(tokens, 3), use_cache=False).logits[0, 3:].float()
        except (TypeError, ValueError, RuntimeError, IndexError):
            return False
    return plain.shape == packed.shape and bool((packed - plain).norm() <= 0.05 * plain.norm())
