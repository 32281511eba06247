"""The loss of examples: of free text per token of the answer, of choices by the right one among all."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from kingyo.errors import KingyoError
from kingyo.io.units import counted
from kingyo.models.decoding import Forward
from kingyo.models.tokens import Text
from kingyo.types import Example

E = TypeVar("E")


def batches(examples: Sequence[E], size: int, seed: int) -> Iterator[list[E]]:
    """Yield batches forever, with a new random order in each pass."""
    order = random.Random(seed)
    while True:
        shuffled = order.sample(examples, len(examples))
        for first in range(0, len(examples), size):
            yield shuffled[first : first + size]


@dataclass(frozen=True, kw_only=True)
class ExampleTokens:
    """An example as tokens: the prompt per answer; the right answer, then wrong choices; their sizes."""

    prompts: tuple[list[int], ...]
    answers: tuple[list[int], ...]
    sizes: tuple[int, ...]


def as_row(text: Text, example: Example, room: int | None) -> ExampleTokens:
    """Return an example as tokens, with the end token after free text.

    Raises:
        KingyoError: it does not fit into the context, of ``room`` tokens.
    """
    texts = (example.answer, *example.others)
    pairs = [text.encode_pair(example.prompt, each) for each in texts]
    if not example.others and text.end is not None and pairs[0][1][-1:] != [text.end]:
        pairs = [(pairs[0][0], [*pairs[0][1], text.end])]
    longest = max(len(prompt) + len(answer) for prompt, answer in pairs)
    if room is not None and longest > room:
        raise KingyoError(
            f"item {example.item}",
            expected=f"a prompt and answers of at most {counted(room, 'token')}, the model's context",
            received=f"{longest} tokens",
            remedy="Shorten the prompt or the answer, or use models with a longer context.",
        )
    sizes = tuple(len(each.encode()) if example.per_byte else 1 for each in texts)
    return ExampleTokens(
        prompts=tuple(each for each, _ in pairs), answers=tuple(each for _, each in pairs), sizes=sizes
    )


def loss_of(forward: Forward, text: Text, batch: Sequence[ExampleTokens], device: torch.device) -> Tensor:
    """Return the mean −log p per token of the answers, plus the mean −log p of the right choices."""
    prompts = [prompt for row in batch for prompt in row.prompts]
    answers = [answer for row in batch for answer in row.answers]
    tokens, mask = text.pad([a + b for a, b in zip(prompts, answers, strict=True)], device)
    keep = max(1, *map(len, answers))
    logits, _ = forward(tokens, mask, None, keep=keep + 1)
    logs = torch.log_softmax(logits[:, :-1].float(), dim=-1)
    each = logs.gather(-1, tokens[:, -keep:, None]).squeeze(-1)
    lengths = torch.tensor([len(answer) for answer in answers], device=device)
    counted = torch.arange(keep, 0, -1, device=device) <= lengths[:, None]
    sums = each.where(counted, 0.0).sum(dim=-1)
    written, chosen, first = each.new_zeros(()), each.new_zeros(()), 0
    n_tokens = n_choices = 0
    for row in batch:
        own = sums[first : first + len(row.answers)]
        if len(row.answers) == 1:
            written, n_tokens = written - own[0], n_tokens + len(row.answers[0])
        else:
            scaled = own / torch.tensor(row.sizes, device=device)
            chosen, n_choices = chosen - torch.log_softmax(scaled, dim=0)[0], n_choices + 1
        first += len(row.answers)
    return written / max(1, n_tokens) + chosen / max(1, n_choices)
