"""What methods on task vectors have in common: δᵢ = θᵢ - θ₀, made sparse or not, combined, added to the base.

Task vectors are given block by block, so they never exist as a whole. Their sum is either plain or, after
Yadav et al. 2023, of those entries only that agree with the elected sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from kingyo.methods.blocks import Span, add_rows, column, flatten, rows, spans
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


class TaskVectors(Protocol):
    """The task vectors of the sources that take part (their weight is not zero), block by block."""

    @property
    def scales(self) -> Sequence[float]:
        """What each is still to be multiplied with."""
        ...

    def block(self, span: Span) -> Tensor:
        """The entries of a span in float32, one row per source; never write to it."""
        ...


class Dense:
    """Task vectors as they are."""

    def __init__(self, sources: Sequence[Tensor], base: Tensor) -> None:
        self._sources = flatten(sources)
        self._base = base.reshape(-1)

    @property
    def scales(self) -> Sequence[float]:
        """All 1: nothing to scale."""
        return [1.0] * len(self._sources)

    @property
    def n_sources(self) -> int:
        """How many task vectors these are."""
        return len(self._sources)

    @property
    def n_elements(self) -> int:
        """How many entries each has."""
        return self._base.numel()

    def only(self, row: int) -> Dense:
        """One of them."""
        return Dense([self._sources[row]], self._base)

    def block(self, span: Span) -> Tensor:
        """The entries of a span in new float32 memory, one row per source."""
        return rows(self._sources, span).sub_(self._base[span[0] : span[1]])


def taking_part(values: MethodValues) -> list[int]:
    """Positions of the sources whose weight is not zero."""
    return [i for i, weight in enumerate(values.each("weight")) if weight]


def add_task_vectors(base: Tensor, vectors: TaskVectors, values: MethodValues, *, elect: bool) -> Tensor:
    """θ₀ + λ Σ wᵢδᵢ, the sum divided by that of its weights when normalised.

    Args:
        base: θ₀.
        vectors: δᵢ of the sources that take part.
        values: ``weight`` per source, ``lambda`` and ``normalize``.
        elect: keep, entry by entry, only what agrees with the sign of Σ wᵢδᵢ (zero votes for +), in the sum
            and in the divisor.

    Returns:
        A new float32 tensor. A divisor below 1e-8 counts as 1; without any source it is the base.
    """
    weights = [weight for weight in values.each("weight") if weight]
    factors = column([weight * scale for weight, scale in zip(weights, vectors.scales, strict=True)])
    combine = _elected_sum if elect else _plain_sum
    flat = base.reshape(-1)
    out = torch.empty(base.shape, dtype=torch.float32)
    for span in spans(flat.numel()) if weights else ():
        terms = vectors.block(span) * factors
        merged = combine(terms, weights, values.flag("normalize")).mul_(values.number("lambda"))
        torch.add(flat[span[0] : span[1]], merged, out=out.view(-1)[span[0] : span[1]])
    return out if weights else out.copy_(base)


def _plain_sum(terms: Tensor, weights: Sequence[float], normalize: bool) -> Tensor:
    total, divisor = add_rows(terms), sum(weights)
    return total.div_(divisor) if normalize and abs(divisor) >= _SMALLEST_DIVISOR else total


def _elected_sum(terms: Tensor, weights: Sequence[float], normalize: bool) -> Tensor:
    """Elect signs and take the disjoint mean (Yadav 2023, algorithm 1)."""
    votes = add_rows(terms)
    sign = torch.ge(votes, 0.0, out=votes).mul_(2.0).sub_(1.0)
    agreeing = terms.mul_(sign).relu_()  # |wᵢδᵢ| where the sign is the elected one, else 0
    if not normalize:
        return add_rows(agreeing).mul_(sign)
    shares = torch.gt(agreeing, 0.0, out=torch.empty_like(agreeing)).mul_(column(weights))
    divisor = add_rows(shares)
    none = torch.lt(divisor.abs(), _SMALLEST_DIVISOR)
    return add_rows(agreeing).mul_(sign).div_(divisor.masked_fill_(none, 1.0))
