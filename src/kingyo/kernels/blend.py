"""The one pass that most merge methods end in: a weighted sum of sources, or of task vectors on a base.

θ = θ₀ + λ Σᵢ fᵢ mᵢ (θᵢ - θ₀) / d: m keeps some entries, and where signs are elected (Yadav 2023) only what
agrees with the elected one is added, and d counts what agrees. Here is the torch reference; the compiled twin
gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kingyo.io.lazy_torch import Tensor, torch
from kingyo.kernels.blocks import Span, add_rows, column, rows
from kingyo.kernels.keep import Mask, Threshold

SMALLEST_DIVISOR = 1e-8


@dataclass(frozen=True, kw_only=True, eq=False)
class Term:
    """One source's part in a blend.

    Attributes:
        source: θᵢ, any shape and floating dtype.
        factor: fᵢ, rounded to float32 when it is used.
        share: what it counts in the divisor where it agrees with the elected sign.
        keep: mᵢ; None keeps all entries.
    """

    source: Tensor
    factor: float
    share: float = 1.0
    keep: Mask | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightedSum:
    """A weighted sum, as an inert description.

    Attributes:
        shape: of the result.
        terms: what is added, in this order.
        base: θ₀; None for a sum of the sources themselves.
        scale: λ.
        elect: keep, entry by entry, only terms with the sign of Σ fᵢmᵢδᵢ (a sum of +0 elects +).
        equal_votes: elect by Σ mᵢδᵢ instead, without the factors.
        normalize: with ``elect``, divide by the shares that agree; a divisor below 1e-8 counts as 1.
        spread: keep only entries whose variance over the task vectors is among the largest.
    """

    shape: tuple[int, ...]
    terms: tuple[Term, ...]
    base: Tensor | None = None
    scale: float = 1.0
    elect: bool = False
    equal_votes: bool = False
    normalize: bool = False
    spread: Threshold | None = None

    @property
    def n_elements(self) -> int:
        """How many numbers the result has."""
        return math.prod(self.shape)

    def rows(self, span: Span) -> Tensor:
        """What enters the sum of each source before its factor: mᵢδᵢ, new memory, one row each."""
        deltas = rows([term.source.reshape(-1) for term in self.terms], span)
        if self.base is not None:
            deltas.sub_(self.base.reshape(-1)[span[0] : span[1]].float())
        for row, term in zip(deltas.unbind(0), self.terms, strict=True):
            if term.keep is not None:
                term.keep.thin(row, span)
        if self.spread is not None:
            deltas.masked_fill_(self.spread.excludes(variance(deltas), span[0]), 0.0)
        return deltas

    def block(self, span: Span) -> Tensor:
        """The entries of a span in new float32 memory."""
        start = None if self.base is None else self.base.reshape(-1)[span[0] : span[1]].float()
        if not self.terms:
            return torch.zeros(span[1] - span[0]) if start is None else start.clone()
        deltas = self.rows(span)
        votes = add_rows(deltas) if self.equal_votes else None
        terms = deltas.mul_(column([term.factor for term in self.terms], deltas.device))
        total = self._elected(terms, votes) if self.elect else add_rows(terms)
        total.mul_(self.scale)
        return total if start is None else total.add_(start)

    def _elected(self, terms: Tensor, votes: Tensor | None) -> Tensor:
        against = torch.signbit(add_rows(terms) if votes is None else votes)
        sign = against.float().mul_(-2.0).add_(1.0)
        agreeing = terms.mul_(sign)
        agreeing.masked_fill_(agreeing <= 0.0, 0.0)  # |fᵢδᵢ| where the sign is the elected one, else 0
        total = add_rows(agreeing).mul_(sign)
        if not self.normalize:
            return total
        shares = torch.gt(agreeing, 0.0, out=torch.empty_like(agreeing))
        divisor = add_rows(shares.mul_(column([term.share for term in self.terms], shares.device)))
        none = torch.lt(divisor.abs(), SMALLEST_DIVISOR)
        return total.div_(divisor.masked_fill_(none, 1.0))


def variance(deltas: Tensor) -> Tensor:
    """The variance of each column of a float32 matrix, n - 1 in the denominator; 0 for one row."""
    n = deltas.shape[0]
    if n == 1:
        return torch.zeros_like(deltas[0])
    mean = add_rows(deltas).mul_(1.0 / n)
    return add_rows((deltas - mean).square_()).mul_(1.0 / (n - 1))


def weighted_sum(
    tensors: Sequence[Tensor], factors: Sequence[float], base: Tensor | None = None, scale: float = 1.0
) -> WeightedSum:
    """λ Σ fᵢθᵢ of one or more whole tensors; with a base θ₀ + λ Σ fᵢ (θᵢ - θ₀)."""
    terms = (Term(source=each, factor=factor) for each, factor in zip(tensors, factors, strict=True))
    return WeightedSum(shape=tuple(tensors[0].shape), terms=tuple(terms), base=base, scale=scale)
