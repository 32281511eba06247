"""The loss of examples: of free text per token of the answer, of choices by the right one among all."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

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
    """An example as tokens: the prompt per answer; the right answer, then wrong choices."""

    example: Example
    prompts: tuple[list[int], ...]
    answers: tuple[list[int], ...]


def as_row(text: Text, example: Example, room: int | None) -> ExampleTokens:
    """Return an example as tokens, with the end token after free text.

    Raises:
        KingyoError: it does not fit into the context, of ``room`` tokens.
    """
    pairs = [text.encode_pair(example.prompt, each) for each in (example.answer, *example.others)]
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
    return ExampleTokens(
        example=example, prompts=tuple(each for each, _ in pairs), answers=tuple(each for _, each in pairs)
    )


def loss_of(forward: Forward, text: Text, batch: Sequence[ExampleTokens], device: torch.device) -> Tensor:
    """Return the mean −log p per token of the answers, plus the mean −log p of the right choices."""
    prompts = [prompt for row in batch for prompt in row.prompts]
    answers = [answer for row in batch for answer in row.answers]
    tokens, mask = text.pad([a + b for a, b in zip(prompts, answers, strict=True)], device)
    keep = max(1, *map(len, answers))
    logits, _ = forward(tokens, mask, None, keep=keep + 1)
    logs = torch.log_softmax(widened(logits[:, :-1]), dim=-1)
    each = logs.gather(-1, tokens[:, -keep:, None]).squeeze(-1)
    lengths = [len(answer) for answer in answers]
    counted = torch.arange(keep, 0, -1, device=device) <= torch.tensor(lengths, device=device)[:, None]
    return mean_loss(each.where(counted, 0.0).sum(dim=-1), [row.example for row in batch], lengths)


def mean_loss(sums: Tensor, examples: Sequence[Example], lengths: Sequence[int]) -> Tensor:
    """Return the mean −log p per token of free text, plus the mean −log p of the right choices.

    Args:
        sums: log p of each answer, and then of the wrong choices, example by example: [texts].
        examples: the examples.
        lengths: number of tokens of each of these texts.
    """
    written, chosen, first = sums.new_zeros(()), sums.new_zeros(()), 0
    n_tokens = n_choices = 0
    for example in examples:
        texts = (example.answer, *example.others)
        own = sums[first : first + len(texts)]
        if example.others:
            sizes = [len(each.encode()) if example.per_byte else 1 for each in texts]
            chosen = chosen - torch.log_softmax(own / own.new_tensor(sizes), dim=0)[0]
            n_choices += 1
        else:
            written, n_tokens = written - own[0], n_tokens + lengths[first]
        first += len(texts)
    return written / max(1, n_tokens) + chosen / max(1, n_choices)


def widened(logits: Tensor) -> Tensor:
    """Return logits in float32, or in float64 if they are."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def gradients(
    loss: Callable[[], Tensor], model: nn.Module, weights: Mapping[str, Tensor], names: Collection[str]
) -> tuple[float, dict[str, Tensor]]:
    """Return a loss, and its derivatives by those of the named weights that it depends on.

    Other weights take neither time nor memory. No weight requires a gradient before and after.

    Args:
        loss: computes the loss with the model.
        model: the model.
        weights: its weights, which may be joined or split tensors of the model; see ``models.conversion``.
        names: the names of weights.
    """
    wanted = {name: weights[name] for name in names if weights[name].is_floating_point()}
    memories = {_memory(each) for each in wanted.values()}
    live = [each for each in chain(model.parameters(), model.buffers()) if _memory(each) in memories]
    for each in live:
        each.requires_grad_(True)
    try:
        value = loss()
        found = torch.autograd.grad(value, live, allow_unused=True) if value.requires_grad else ()
    finally:
        for each in live:
            each.requires_grad_(False)
    parts: dict[int, list[tuple[Tensor, Tensor]]] = {}
    for each, gradient in zip(live, cast("tuple[Tensor | None, ...]", found), strict=False):
        if gradient is not None:
            parts.setdefault(_memory(each), []).append((each, gradient))
    by_memory = {memory: _gathered(each) for memory, each in parts.items()}
    return float(value.detach()), {
        name: by_memory[_memory(weight)].as_strided(weight.shape, weight.stride(), weight.storage_offset())
        for name, weight in wanted.items()
        if _memory(weight) in by_memory
    }


def _gathered(parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the derivatives by tensors of one memory, laid out like it."""
    first, gradient = parts[0]
    size = first.untyped_storage().nbytes() // first.element_size()
    if len(parts) == 1 and first.numel() == size and first.is_contiguous():
        return gradient.contiguous()
    whole = gradient.new_zeros(size)
    for tensor, each in parts:
        whole.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset()).add_(each)
    return whole


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
