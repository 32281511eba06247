"""The forward pass of transformers models, and greedy decoding of a left-padded batch.

Unlike ``generate`` of transformers, ``decode`` removes finished rows from the batch, supports stop strings
with whole-word tokenizers, and ignores the sampling settings of the checkpoint's generation config.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from kingyo.core.types import Answered, Progress
from kingyo.errors import KingyoError

_COMPACT_BELOW = 0.8  # copying the cache takes about one step, so wait until a fifth of the rows has ended

_CACHE_NAMES = ("cache", "past_key_values")  # transformers renamed it within version 5
B = TypeVar("B", bound=Sized)


def reported(batches: Iterable[B], total: int, progress: Progress) -> Iterator[B]:
    """Yield batches; when the next one is taken, report the answers of those before."""
    done = 0
    for batch in batches:
        yield batch
        done += len(batch)
        progress(Answered(done, done, total))


class Forward:
    """The forward pass of a decoder for left-padded batches."""

    def __init__(self, model: PreTrainedModel) -> None:
        accepted = inspect.signature(model.forward).parameters
        named = [name for name in _CACHE_NAMES if name in accepted]
        if not named or "attention_mask" not in accepted:
            expected = "a decoder with attention and a key-value cache"
            remedy = "Use another architecture: recurrent and encoder-decoder models are not supported."
            raise KingyoError(type(model).__name__, expected, "a forward pass without them", remedy)
        self._model = model
        self._cache_name = named[0]
        self._takes_positions = "position_ids" in accepted
        self._takes_keep = "logits_to_keep" in accepted

    def __call__(self, tokens: Tensor, mask: Tensor, cache: Any, *, keep: int) -> tuple[Tensor, Any]:
        """Return the logits of the last positions, [rows, keep, vocabulary], and the extended cache.

        Args:
            tokens: int64 [rows, new positions].
            mask: int64 [rows, all positions so far]; 0 marks padding on the left.
            cache: the cache of the earlier positions; None on the first call.
            keep: number of positions whose logits are returned.
        """
        options: dict[str, object] = {"use_cache": True, self._cache_name: cache}
        if self._takes_positions:
            positions = (mask.cumsum(-1) - 1).clamp(min=0)  # padding must not shift a row's positions
            options["position_ids"] = positions[:, -tokens.shape[1] :]
        if self._takes_keep:
            options["logits_to_keep"] = keep
        out = self._model(input_ids=tokens, attention_mask=mask, **options)
        logits = cast(Tensor, out["logits"])[:, -keep:]
        return logits, out[self._cache_name]


def require_numbers(values: Tensor) -> None:
    """Check for NaN, which means that the weights are broken or overflow."""
    if bool(torch.isnan(values).any()):
        remedy = "Remove this model, or run it in float32: its weights or outputs overflow."
        raise KingyoError("model", "finite logits", "NaN", remedy)


Ended = Callable[[Sequence[int]], bool]
"""Returns whether a row has ended, given the tokens generated so far."""


def decode(forward: Forward, tokens: Tensor, mask: Tensor, *, limit: int, ended: Ended) -> list[list[int]]:
    """Continue every row with its most likely tokens until it ends or has ``limit`` new ones; return them.

    Tokens and mask, int64 [rows, positions], are padded on the left. ``ended`` is called after every new
    token of a row; that which ended it is returned, too.
    """
    new: list[list[int]] = [[] for _ in range(len(tokens))]
    rows = list(range(len(tokens)))
    cache: Any = None
    done: set[int] = set()
    for _ in range(limit):
        logits, cache = forward(tokens, mask, cache, keep=1)
        best, chosen = logits[:, -1].max(dim=-1)
        require_numbers(best)
        for row, token in zip(rows, cast("list[int]", chosen.tolist()), strict=True):  # pyright: ignore[reportUnknownMemberType]
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
