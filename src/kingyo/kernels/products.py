"""Products of task vectors, as matrices, with small ones: a result whose rows are computed when needed.

Sums here are those of the linear algebra library at hand: another library, or another number of threads, may
round differently, in float64, before the result is rounded to float32.
"""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.io.lazy_torch import Tensor, torch
from kingyo.kernels.blocks import Span, spans

_ROWS_AT_ONCE = 1 << 16
_GRAM_ROWS = 1024


class RowProduct:
    """θ₀ + Σ (θᵢ - θ₀) Wᵢ of matrices with many rows.

    Rows are computed in groups that do not depend on the spans that are asked for, so that these give the
    same bits in any order. The last group is kept for the next span.

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
        """The entries of a span in new float32 memory."""
        groups = range(span[0] // self._group, -(-span[1] // self._group))
        parts = [self._rows(group) for group in groups]
        start = groups.start * self._group
        return torch.cat(parts)[span[0] - start : span[1] - start].clone()

    def _rows(self, group: int) -> Tensor:
        known, kept = self._last
        if known == group:
            return kept
        per_group = self._group // self.shape[1]
        first, last = group * per_group, min((group + 1) * per_group, self.shape[0])
        deltas = side_by_side(self._sources, self._base, (first, last))
        merged = (deltas @ self._factors).float().add_(self._base[first:last]).reshape(-1)
        self._last = (group, merged)
        return merged


def side_by_side(sources: Sequence[Tensor], base: Tensor, span: Span) -> Tensor:
    """θᵢ - θ₀ of some rows, rounded to float32, next to one another: float64, (rows, sources · columns)."""
    start = base[span[0] : span[1]].float()
    return torch.cat([each[span[0] : span[1]].float() - start for each in sources], dim=1).double()


def gram_of_columns(sources: Sequence[Tensor], base: Tensor) -> Tensor:
    """Inner products of all columns of all θᵢ - θ₀: float64, shape (sources · columns, sources · columns)."""
    width = len(sources) * base.shape[1]
    total = torch.zeros(width, width, dtype=torch.float64)
    for span in spans(base.shape[0], _GRAM_ROWS):
        deltas = side_by_side(sources, base, span)
        total.addmm_(deltas.t(), deltas)
    return total
