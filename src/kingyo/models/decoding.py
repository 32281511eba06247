"""Greedy decoding of one left-padded batch with a key-value cache. Knows token numbers, not text.

Why not ``generate`` of transformers: here rows that have ended leave the batch, stop strings
work with whole-word tokenizers too, and no sampling setting of a checkpoint's generation config can leak in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from kingyo.models.forward import Forward, KeyValueCache, integers, require_numbers

_COMPACT_BELOW = 0.8  # copying the cache costs about one step: wait until a fifth of the rows has ended

Ended = Callable[[Sequence[int]], bool]
"""Tells from the tokens generated so far whether a row has ended."""


def decode(forward: Forward, tokens: Tensor, mask: Tensor, *, limit: int, ended: Ended) -> list[list[int]]:
    """Continue every row with its most likely tokens until it has ended or ``limit`` is reached.

    Args:
        forward: the model.
        tokens: int64 [rows, positions], padded on the left.
        mask: the same shape; 0 marks padding.
        limit: the most new tokens of a row.
        ended: asked after every new token of a row.

    Returns:
        The new tokens of each row; the one that ended it is the last.

    Raises:
        KingyoError: the model's logits are NaN.
    """
    new: list[list[int]] = [[] for _ in range(len(tokens))]
    rows = list(range(len(tokens)))
    cache: KeyValueCache | None = None
    done: set[int] = set()
    for _ in range(limit):
        logits, cache = forward(tokens, mask, cache, keep=1)
        best, chosen = logits[:, -1].max(dim=-1)
        require_numbers(best)
        for row, token in zip(rows, integers(chosen), strict=True):
            if row not in done:
                new[row].append(token)
                if ended(new[row]):
                    done.add(row)
        if len(done) == len(new):
            break
        tokens = chosen[:, None]
        alive = [place for place, row in enumerate(rows) if row not in done]
        if len(alive) < _COMPACT_BELOW * len(rows):
            index = torch.tensor(alive, device=tokens.device)
            cache.reorder_cache(index)
            tokens, mask = tokens[index], mask[index]
            rows = [rows[place] for place in alive]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
    return new
