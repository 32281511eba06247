"""Greedy decoding of one left-padded batch of token ids with a key-value cache.

Unlike ``generate`` of transformers, it removes finished rows from the batch, supports stop strings with
whole-word tokenizers, and ignores the sampling settings of the checkpoint's generation config.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from kingyo.models.forward import Forward, KeyValueCache, integers, require_numbers

_COMPACT_BELOW = 0.8  # copying the cache takes about one step, so wait until a fifth of the rows has ended

Ended = Callable[[Sequence[int]], bool]
"""Returns whether a row has ended, given the tokens generated so far."""


def decode(forward: Forward, tokens: Tensor, mask: Tensor, *, limit: int, ended: Ended) -> list[list[int]]:
    """Continue every row with its most likely tokens until it ends or reaches ``limit``.

    Args:
        forward: the model.
        tokens: int64 [rows, positions], padded on the left.
        mask: the same shape; 0 marks padding.
        limit: maximum number of new tokens per row.
        ended: called after every new token of a row.

    Returns:
        The new tokens of each row, including the one that ended it.

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
