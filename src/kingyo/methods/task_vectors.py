"""What methods on task vectors have in common: δᵢ = θᵢ - θ₀, made sparse or not, combined, added to the base.

A task vector is given block by block, so it never exists as a whole. The sum is either plain or, after Yadav
et al. 2023, of those entries only that agree with the elected sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from kingyo.methods.blocks import as_float, delta, spans
from kingyo.methods.contract import MethodValues, Parameter

WEIGHT = Parameter(
    name="weight",
    doc="How much of this source; required.",
    search_low=0.0,
    search_high=1.0,
    per_source=True,
)
DENSITY = Parameter(
    name="density",
    doc="Which part of the task vector's entries is kept.",
    default=1.0,
    low=0.0,
    high=1.0,
    search_low=0.1,
    search_high=1.0,
    per_source=True,
)
LAMBDA = Parameter(name="lambda", doc="Scales the merged task vector.", default=1.0)

_SMALLEST_DIVISOR = 1e-8


class TaskVector(Protocol):
    """One source's task vector, block by block."""

    def block(self, span: tuple[int, int]) -> Tensor:
        """The entries of a span, in new float32 memory."""
        ...


class Dense:
    """A task vector as it is."""

    def __init__(self, source: Tensor, base: Tensor) -> None:
        self._source = source.reshape(-1)
        self._base = base.reshape(-1)

    def block(self, span: tuple[int, int]) -> Tensor:
        """The entries of a span, in new float32 memory."""
        return delta(self._source, self._base, span)


def add_task_vectors(
    base: Tensor, vectors: Sequence[TaskVector], values: MethodValues, *, elect: bool
) -> Tensor:
    """θ₀ + λ Σ wᵢδᵢ, the sum divided by that of its weights when normalised.

    Args:
        base: θ₀.
        vectors: δᵢ, in the order of the weights.
        values: ``weight`` per source, ``lambda`` and ``normalize``.
        elect: keep, entry by entry, only what agrees with the sign of Σ wᵢδᵢ (zero votes for +), in the sum
            and in the divisor. A divisor below 1e-8 counts as 1.
    """
    weights = values.each("weight")
    flat = base.reshape(-1)
    out = torch.empty(base.shape, dtype=torch.float32)
    for span in spans(out.numel()):
        terms = [
            vector.block(span).mul_(weight) for vector, weight in zip(vectors, weights, strict=True) if weight
        ]
        kept = [weight for weight in weights if weight]
        block = out.view(-1)[span[0] : span[1]]
        merged = _elected_sum(terms, kept, values) if elect else _plain_sum(terms, kept, values)
        if merged is None:
            block.copy_(as_float(flat, span))
        else:
            torch.add(as_float(flat, span), merged.mul_(values.number("lambda")), out=block)
    return out


def _plain_sum(terms: list[Tensor], weights: list[float], values: MethodValues) -> Tensor | None:
    if not terms:
        return None
    total = terms[0]
    for term in terms[1:]:
        total.add_(term)
    divisor = sum(weights)
    if values.flag("normalize") and abs(divisor) >= _SMALLEST_DIVISOR:
        total.div_(divisor)
    return total


def _elected_sum(terms: list[Tensor], weights: list[float], values: MethodValues) -> Tensor | None:
    """Elect signs and take the disjoint mean (Yadav 2023, algorithm 1)."""
    if not terms:
        return None
    votes = terms[0].clone()
    for term in terms[1:]:
        votes.add_(term)
    sign = (votes >= 0).float().mul_(2).sub_(1)
    total, divisor = torch.zeros_like(votes), torch.zeros_like(votes)
    for term, weight in zip(terms, weights, strict=True):
        agrees = (term * sign > 0).float()
        total.add_(term.mul_(agrees))
        divisor.add_(agrees.mul_(weight))
    if values.flag("normalize"):
        divisor.masked_fill_(divisor.abs() < _SMALLEST_DIVISOR, 1.0)
        total.div_(divisor)
    return total
