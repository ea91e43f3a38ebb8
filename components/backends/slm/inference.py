"""Greedy answers of the small language model, in batches.

The loop is our own because it drops rows from the batch when they are done; transformers' `generate` goes on with them until
the longest answer of the batch ends. Models whose cache cannot drop rows go through `generate`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn import functional

from pada_agent.components.backends.progress import track
from pada_agent.components.backends.slm.cpu.lora_linear import use_lean_layers
from pada_agent.components.backends.slm.loading import Slm
from pada_agent.components.backends.slm.shared_prefix import (
    cache_word,
    can_share,
    prefix_cache,
    repeated,
    shared_length,
    side_by_side,
)
from pada_agent.components.core.errors import InputError, ModelError
from pada_agent.components.core.slm_interface import Prompt

Tokens = list[int]
READ_TOGETHER = 512  # tokens of prompts, on a CPU: fewer do not keep it busy, more do nothing but add padding


class Generator:
    """Answers prompts with one model; pada_agent.components.core.slm_interface.Generate."""

    def __init__(self, slm: Slm, batch: int) -> None:
        """`batch` rows are generated at once: memory grows with it, and with the longest prompt of a batch alone."""
        self._slm, self._batch = slm, batch
        use_lean_layers(slm.model)
        # Of the last positions alone it would otherwise be a strided view, for which PyTorch copies the weights for each row.
        slm.model.get_output_embeddings().register_forward_pre_hook(lambda _, args: (args[0].contiguous(),))
        self._plain_cache = can_share(slm.model)

    def __call__(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[str]:
        """Answers in the order of the prompts, ended by an end-of-turn token or cut at `max_new_tokens`, with thoughts.

        Raises InputError for a prompt that does not fit the model's context, ModelError when memory runs out.
        """
        rows = [self._tokens(prompt, max_new_tokens) for prompt in prompts]
        by_length = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        answers: dict[int, str] = {}
        with track("answers", len(rows)) as progress, torch.inference_mode():
            for start in range(0, len(rows), self._batch):
                indices = by_length[start : start + self._batch]
                try:
                    batch = self._answer([rows[i] for i in indices], max_new_tokens)
                except torch.OutOfMemoryError as e:
                    raise ModelError(f"out of memory with {len(indices)} rows at once; lower evaluate.batch") from e
                for index, tokens in zip(indices, batch, strict=True):
                    answers[index] = self._slm.chat.begun(prompts[index].messages) + self._slm.chat.decode(tokens)
                progress.advance(len(indices))
        return [answers[i] for i in range(len(rows))]

    def _tokens(self, prompt: Prompt, max_new_tokens: int) -> Tokens:
        tokens = self._slm.chat.prompt(prompt.messages)
        if len(tokens) + max_new_tokens > self._slm.context:
            raise InputError(
                f"row {prompt.id}: a prompt of {len(tokens)} tokens and an answer of up to {max_new_tokens} exceed "
                f"the model's context of {self._slm.context}; shorten the row or lower evaluate.max_new_tokens"
            )
        return tokens

    def _answer(self, rows: Sequence[Tokens], most: int) -> list[Tokens]:
        if not self._plain_cache:
            return self._answer_by_generate(rows, most)
        answers: list[Tokens] = [[] for _ in rows]
        for index, token in self._greedy(rows, most):
            if token not in self._slm.chat.stop_ids:
                answers[index].append(token)
        return answers

    def _greedy(self, rows: Sequence[Tokens], most: int) -> Iterator[tuple[int, int]]:
        """(row, token) in order of generation."""
        device = self._slm.device
        stops = torch.tensor(sorted(self._slm.chat.stop_ids), device=device)
        alive = torch.arange(len(rows), device=device)
        tokens, mask, cache = self._read(rows)
        for room in range(most - 1, -1, -1):
            yield from zip(alive.tolist(), tokens[:, 0].tolist(), strict=True)
            going = ~torch.isin(tokens[:, 0], stops)
            if not room or not going.any():
                return
            if not going.all():
                kept = going.nonzero()[:, 0]
                cache.batch_select_indices(kept)
                alive, tokens, mask = alive[kept], tokens[kept], mask[kept]
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
            tokens, cache = self._next(tokens, mask, cache)

    def _read(self, rows: Sequence[Tokens]) -> tuple[Any, Any, Any]:
        """The first token of each answer, (rows, 1), then mask (rows, longest row), keys and values of all rows."""
        prefix = shared_length(rows)
        shared = prefix_cache(self._slm.model, torch.tensor([rows[0][:prefix]], device=self._slm.device)) if prefix else None
        firsts, masks, caches = [], [], []
        for group in self._groups(rows, prefix):
            tokens, mask = self._pad(group, prefix)
            first, cache = self._next(tokens, mask, repeated(shared, len(group)) if prefix else None)
            firsts.append(first)
            masks.append(mask)
            caches.append(cache)
        longest = max(mask.shape[1] for mask in masks)
        masks = [functional.pad(mask, (longest - mask.shape[1], 0)) for mask in masks]
        return torch.cat(firsts), torch.cat(masks), side_by_side(caches)

    def _groups(self, rows: Sequence[Tokens], prefix: int) -> list[Sequence[Tokens]]:
        """Rows, longest first, that are read at once."""
        if self._slm.device != "cpu":
            return [rows]
        groups: list[Sequence[Tokens]] = []
        while rows:
            count = max(1, READ_TOGETHER // (len(rows[0]) - prefix))
            groups.append(rows[:count])
            rows = rows[count:]
        return groups

    def _next(self, tokens: Any, mask: Any, cache: Any) -> tuple[Any, Any]:
        """The likeliest token behind each row of `tokens` (rows, new), and the cache with the new ones."""
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
        word = cache_word(self._slm.model)
        out = self._slm.model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
            **{word: cache},
        )
        return out.logits[:, -1].argmax(-1, keepdim=True), getattr(out, word)

    def _pad(self, rows: Sequence[Tokens], prefix: int) -> tuple[Any, Any]:
        """Tokens after the prefix, padded on the left, (rows, longest own part), and the mask (rows, longest row)."""
        longest, pad = max(map(len, rows)), self._slm.chat.tokenizer.pad_token_id
        free = [longest - len(row) for row in rows]
        tokens = [[pad] * n + row[prefix:] for row, n in zip(rows, free, strict=True)]
        mask = [[1] * prefix + [0] * n + [1] * (len(row) - prefix) for row, n in zip(rows, free, strict=True)]
        return torch.tensor(tokens, device=self._slm.device), torch.tensor(mask, device=self._slm.device)

    def _answer_by_generate(self, rows: Sequence[Tokens], most: int) -> list[Tokens]:
        stops = sorted(self._slm.chat.stop_ids)
        tokens, mask = self._pad(rows, 0)
        pad = self._slm.chat.tokenizer.pad_token_id
        options = {"max_new_tokens": most, "do_sample": False, "eos_token_id": stops, "pad_token_id": pad}
        out = self._slm.model.generate(input_ids=tokens, attention_mask=mask, **options)[:, tokens.shape[1] :].tolist()
        ends = [next((i for i, t in enumerate(row) if t in self._slm.chat.stop_ids), len(row)) for row in out]
        return [row[:end] for row, end in zip(out, ends, strict=True)]
