"""Results that are computed block by block when they are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from kingyo.io.lazy_torch import Tensor, torch
from kingyo.kernels.blocks import Span, add_rows, along_columns, along_rows, differences, spans
from kingyo.kernels.raw_tensor import AnyTensor, as_torch

_ROWS_AT_ONCE = 1 << 16
_GRAM_ROWS = 1024
Line = Literal["row", "column"]
"""Entries that share all indices but the last (row), or all but the first (column)."""


@runtime_checkable
class Lazy(Protocol):
    """A float32 tensor that is computed by spans of its flattened form, in any order."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        ...

    def block(self, span: Span) -> Tensor:
        """Return the entries of a span as a new float32 vector."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Elementwise:
    """A result computed by a function of spans.

    Attributes:
        shape: shape of the result.
        compute: returns the entries of a span in a new float32 vector; called in any order, by several
            threads.
    """

    shape: tuple[int, ...]
    compute: Callable[[Span], Tensor]

    def block(self, span: Span) -> Tensor:
        """Return the entries of a span."""
        return self.compute(span)


@dataclass(frozen=True, kw_only=True, eq=False)
class LineSum:
    """A weighted sum whose factors differ per row or per column: θ₀ + Σ fᵢ(line) (θᵢ - θ₀).

    Attributes:
        shape: shape of the result, at least one dimension.
        sources: θᵢ.
        factors: fᵢ, shape (sources, lines).
        line: what has a common factor.
        base: θ₀; None for Σ fᵢ(line) θᵢ.
    """

    shape: tuple[int, ...]
    sources: tuple[AnyTensor, ...]
    factors: NDArray[np.float32]
    line: Line
    base: AnyTensor | None = None

    def block(self, span: Span) -> Tensor:
        """Return the entries of a span in new float32 memory."""
        terms, all_factors = differences(self.sources, self.base)(span), torch.as_tensor(self.factors)
        if self.line == "row":
            factors = along_rows(all_factors, self.shape[-1], span)
        else:
            factors = along_columns(all_factors, span)
        total = add_rows(terms.mul_(factors))
        return total if self.base is None else total.add_(as_torch(self.base).reshape(-1)[span[0] : span[1]])


class RowProduct:
    """θ₀ + Σ (θᵢ - θ₀) Wᵢ of matrices with many rows.

    Sums are those of the linear algebra library: another library or number of threads may round differently,
    in float64, before the result is rounded to float32.

    Rows are computed in groups that do not depend on the requested spans, so that these give the same bits in
    any order. The last group is kept for the next span.

    Args:
        sources: θᵢ, shape (rows, columns).
        base: θ₀.
        factors: W₁ above W₂ above …, float64, shape (sources · columns, columns).
    """

    def __init__(self, sources: Sequence[Tensor], base: Tensor, factors: Tensor) -> None:
        self.shape = tuple(base.shape)
        self._sources = tuple(sources)
        self._base = base
        self._factors = factors
        self._group = max(1, _ROWS_AT_ONCE // max(1, base.shape[1])) * base.shape[1]
        self._last: tuple[int, Tensor] = (-1, torch.empty(0))

    def block(self, span: Span) -> Tensor:
        """Return the entries of a span in new float32 memory."""
        groups = range(span[0] // self._group, -(-span[1] // self._group))
        parts = [self._rows(group) for group in groups]
        start = groups.start * self._group
        return torch.cat(parts)[span[0] - start : span[1] - start].clone()

    def _rows(self, group: int) -> Tensor:
        last_group, rows = self._last
        if last_group == group:
            return rows
        per_group = self._group // self.shape[1]
        first, last = group * per_group, min((group + 1) * per_group, self.shape[0])
        deltas = side_by_side(self._sources, self._base, (first, last))
        merged = (deltas @ self._factors).float().add_(self._base[first:last]).reshape(-1)
        self._last = (group, merged)
        return merged


def to_tensor(result: Tensor | Lazy) -> Tensor:
    """Return a result as a tensor; a lazy one is computed by torch into new float32 memory."""
    if isinstance(result, torch.Tensor):
        return result
    out = torch.empty(result.shape, dtype=torch.float32)
    for span in spans(out.numel()):
        out.view(-1)[span[0] : span[1]] = result.block(span)
    return out


def side_by_side(sources: Sequence[Tensor], base: Tensor, span: Span) -> Tensor:
    """Return θᵢ - θ₀ of a range of rows, rounded to float32: float64, shape (rows, sources · columns)."""
    start = base[span[0] : span[1]].float()
    return torch.cat([each[span[0] : span[1]].float() - start for each in sources], dim=1).double()


def gram_of_columns(sources: Sequence[Tensor], base: Tensor) -> Tensor:
    """Return the inner products of all columns of all θᵢ - θ₀.

    Returns:
        float64, shape (sources · columns, sources · columns).
    """
    width = len(sources) * base.shape[1]
    total = torch.zeros(width, width, dtype=torch.float64)
    for span in spans(base.shape[0], _GRAM_ROWS):
        deltas = side_by_side(sources, base, span)
        total.addmm_(deltas.t(), deltas)
    return total
