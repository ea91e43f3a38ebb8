"""Examples as tokens, in the order of training, cut into micro batches."""

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Dataset

from pada_agent.components.backends.slm.loading import Slm
from pada_agent.components.backends.slm.shared_prefix import shared_length
from pada_agent.components.core.errors import InputError, ModelError
from pada_agent.components.core.slm_interface import Example

NO_LOSS = -100
SORTED_STEPS = 8  # optimizer steps whose rows are cut into micro batches of like length together


@dataclass(frozen=True)
class TokenRow:
    """A tokenised example: the loss is on `tokens[prompt:]`."""

    id: str
    tokens: list[int]
    prompt: int


def tokenise(examples: Sequence[Example], slm: Slm, max_length: int) -> tuple[list[TokenRow], list[str]]:
    """Rows with their completion's end-of-turn token last, and the ids of examples that are too long.

    Raises InputError when none is left.
    """
    longest = min(max_length, slm.context)
    rows, dropped = [], []
    for example in examples:
        prompt = slm.chat.prompt(example.messages)
        try:
            row = TokenRow(example.id, prompt + slm.chat.completion(example.target), len(prompt))
        except InputError as e:
            raise InputError(f"row {example.id}: {e}") from e
        if row.tokens[-1] != slm.chat.end_of_turn:
            raise ModelError(f"row {example.id}: its last trained token is not the end-of-turn token")
        if len(row.tokens) > longest:
            dropped.append(example.id)
        else:
            rows.append(row)
    if not rows:
        shown = ", ".join(dropped[:3])
        raise InputError(f"all {len(dropped)} rows are longer than {longest} tokens (e.g. {shown}); raise slm.max_length")
    if dropped:
        print(f"  {len(dropped)} of {len(examples)} rows are longer than {longest} tokens and left out", file=sys.stderr)
    return rows, dropped


def row_order(lengths: Sequence[int], steps: int, micro: int, accumulate: int, seed: int) -> list[int]:
    """Indices of the rows in the order of training: `steps` x `micro` x `accumulate` of them, each row once a pass.

    Micro batches are cut from rows of similar length, among those of a few steps, and shuffled: little padding, and steps that
    are not sorted by length.
    """
    chance = random.Random(seed)
    needed = steps * micro * accumulate
    order: list[int] = []
    while len(order) < needed:
        order += chance.sample(range(len(lengths)), len(lengths))
    order = order[:needed]
    window = SORTED_STEPS * micro * accumulate
    result: list[int] = []
    for start in range(0, needed, window):
        rows = sorted(order[start : start + window], key=lambda i: lengths[i])
        batches = [rows[i : i + micro] for i in range(0, len(rows), micro)]
        chance.shuffle(batches)
        result += [i for rows_ in batches for i in rows_]
    return result


class Rows(Dataset[TokenRow]):
    """The rows in their order of training."""

    def __init__(self, rows: Sequence[TokenRow]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> TokenRow:
        return self._rows[index]


@dataclass(frozen=True)
class Collator:
    """Rows to tensors (rows, longest row), padded on the right."""

    pad: int

    def __call__(self, rows: Sequence[TokenRow]) -> dict[str, Any]:
        longest = max(len(r.tokens) for r in rows)
        free = [longest - len(r.tokens) for r in rows]
        labels = [[NO_LOSS] * r.prompt + r.tokens[r.prompt :] + [NO_LOSS] * n for r, n in zip(rows, free, strict=True)]
        return {
            "input_ids": torch.tensor([r.tokens + [self.pad] * n for r, n in zip(rows, free, strict=True)]),
            "attention_mask": torch.tensor([[1] * len(r.tokens) + [0] * n for r, n in zip(rows, free, strict=True)]),
            "labels": torch.tensor(labels),
            # The token before the completion predicts its first and must be in each row's own part.
            "prefix": torch.tensor(shared_length([r.tokens[: r.prompt] for r in rows])),
        }
