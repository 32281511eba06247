"""Results that are computed block by block when they are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from kingyo.io.lazy_torch import Tensor, torch
from kingyo.kernels.blocks import Line, Span, add_rows, along_columns, along_rows, differences, spans
from kingyo.kernels.raw_tensor import AnyTensor, as_torch


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
    """A result computed by a function of spans."""

    shape: tuple[int, ...]  # shape of the result
    compute: Callable[[Span], Tensor]  # returns a new float32 vector; called in any order, by several threads

    def block(self, span: Span) -> Tensor:
        return self.compute(span)


@dataclass(frozen=True, kw_only=True, eq=False)
class LineSum:
    """A weighted sum whose factors differ per row or per column: θ₀ + Σ fᵢ(line) (θᵢ - θ₀)."""

    shape: tuple[int, ...]  # shape of the result, at least one dimension
    sources: tuple[AnyTensor, ...]  # θᵢ
    factors: NDArray[np.float32]  # fᵢ, shape (sources, lines)
    line: Line  # what has a common factor
    base: AnyTensor | None = None  # θ₀; None for Σ fᵢ(line) θᵢ

    def block(self, span: Span) -> Tensor:
        terms, all_factors = differences(self.sources, self.base)(span), torch.as_tensor(self.factors)
        if self.line == "row":
            factors = along_rows(all_factors, self.shape[-1], span)
        else:
            factors = along_columns(all_factors, span)
        total = add_rows(terms.mul_(factors))
        return total if self.base is None else total.add_(as_torch(self.base).reshape(-1)[span[0] : span[1]])


def to_tensor(result: Tensor | Lazy) -> Tensor:
    """Return a result as a tensor; a lazy one is computed by torch into new float32 memory."""
    if isinstance(result, torch.Tensor):
        return result
    out = torch.empty(result.shape, dtype=torch.float32)
    for span in spans(out.numel()):
        out.view(-1)[span[0] : span[1]] = result.block(span)
    return out
