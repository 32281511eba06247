"""Results that are computed block by block when they are written; most are weighted sums.

A weighted sum of sources, or of task vectors on a base, is θ = θ₀ + λ Σ fᵢ mᵢ (θᵢ - θ₀) / d. The mask m keeps
some entries. With elected signs (Yadav 2023) only entries with the elected sign are added, and d is the sum
of their shares. This is the definition, in torch; compiled loops give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.merging.kernels.blocks import Span, add_rows, column, rows, spans
from kingyo.merging.kernels.masks import CompiledMask, Copy, Mask, Threshold
from kingyo.merging.kernels.raw_tensor import AnyTensor, as_torch

SMALLEST_DIVISOR = 1e-8


@dataclass(frozen=True, kw_only=True, eq=False)
class Term:
    """One source's part in a weighted sum."""

    source: AnyTensor  # θᵢ, any shape and floating dtype
    factor: float  # fᵢ, rounded to float32
    share: float = 1.0  # its part of the divisor where it agrees with the elected sign
    mask: Mask | None = None  # mᵢ; None keeps all entries


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightedSum:
    """A weighted sum, as a description that computes nothing until ``block`` or a loop reads it."""

    shape: tuple[int, ...]  # shape of the result
    terms: tuple[Term, ...]  # the terms, added in this order
    base: AnyTensor | None = None  # θ₀; None for a sum of the sources themselves
    scale: float = 1.0  # λ
    elect: bool = False  # in each entry, add only terms with the sign of Σ fᵢmᵢδᵢ (a sum of +0 elects +)
    equal_votes: bool = False  # elect by Σ mᵢδᵢ, without the factors
    normalize: bool = False  # with ``elect``, divide by the shares that agree; below 1e-8 counts as 1
    most_varied: Threshold | None = None  # selects entries by their variance over the task vectors

    @property
    def n_elements(self) -> int:
        return math.prod(self.shape)

    def rows(self, span: Span) -> Tensor:
        """Return mᵢδᵢ of each source in new memory, one row each."""
        deltas = rows([as_torch(term.source).reshape(-1) for term in self.terms], span)
        if self.base is not None:
            deltas.sub_(_part(self.base, span))
        for row, term in zip(deltas.unbind(0), self.terms, strict=True):
            if term.mask is not None:
                term.mask.apply(row, span)
        if self.most_varied is not None:
            deltas.masked_fill_(self.most_varied.excludes(variance(deltas), span[0]), 0.0)
        return deltas

    def block(self, span: Span) -> Tensor:
        start = None if self.base is None else _part(self.base, span)
        if not self.terms:
            return torch.zeros(span[1] - span[0]) if start is None else start.clone()
        deltas = self.rows(span)
        votes = add_rows(deltas) if self.equal_votes else None
        terms = deltas.mul_(column([term.factor for term in self.terms], deltas.device))
        total = self._elected(terms, votes) if self.elect else add_rows(terms)
        total.mul_(self.scale)
        return total if start is None else total.add_(start)

    def on_device(self, copy: Copy) -> WeightedSum | None:
        """Return the sum with its tensors copied to a device; None if a user's mask cannot be copied."""
        terms: list[Term] = []
        for term in self.terms:
            mask = term.mask
            if mask is not None and not isinstance(mask, CompiledMask):
                return None
            copied = None if mask is None else mask.on_device(copy)
            terms.append(replace(term, source=copy(as_torch(term.source)), mask=copied))
        base = None if self.base is None else copy(as_torch(self.base))
        return replace(self, terms=tuple(terms), base=base)

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
        is_small = torch.lt(divisor.abs(), SMALLEST_DIVISOR)
        return total.div_(divisor.masked_fill_(is_small, 1.0))


def _part(base: AnyTensor, span: Span) -> Tensor:
    return as_torch(base).reshape(-1)[span[0] : span[1]].float()


def variance(deltas: Tensor) -> Tensor:
    """Return the variance of each column of a float32 matrix, divided by n - 1; 0 for one row."""
    n = deltas.shape[0]
    if n == 1:
        return torch.zeros_like(deltas[0])
    mean = add_rows(deltas).mul_(1.0 / n)
    return add_rows((deltas - mean).square_()).mul_(1.0 / (n - 1))


def weighted_sum(
    tensors: Sequence[AnyTensor], factors: Sequence[float], base: AnyTensor | None = None, scale: float = 1.0
) -> WeightedSum:
    """Return λ Σ fᵢθᵢ of one or more tensors; with a base θ₀ + λ Σ fᵢ (θᵢ - θ₀)."""
    terms = (Term(source=each, factor=factor) for each, factor in zip(tensors, factors, strict=True))
    return WeightedSum(shape=tuple(tensors[0].shape), terms=tuple(terms), base=base, scale=scale)


@runtime_checkable
class Lazy(Protocol):
    """A float32 tensor that is computed by spans of its flattened form, in any order."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def block(self, span: Span) -> Tensor:
        """Return the entries of a span as a new float32 vector."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Elementwise:
    """A result computed by a function of spans."""

    shape: tuple[int, ...]  # shape of the result
    compute: Callable[[Span], Tensor]  # returns a new float32 vector; called in any order, by several threads

    def block(self, span: Span) -> Tensor:
        return self.compute(span)


def to_tensor(result: Tensor | Lazy) -> Tensor:
    """Return a result as a tensor; a lazy one is computed by torch into new float32 memory."""
    if isinstance(result, torch.Tensor):
        return result
    out = torch.empty(result.shape, dtype=torch.float32)
    for span in spans(out.numel()):
        out.view(-1)[span[0] : span[1]] = result.block(span)
    return out
