"""Results that are computed when they are needed, block by block, straight into their place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from kingyo.io.lazy_torch import Tensor, torch
from kingyo.kernels.blocks import Span, spans


@runtime_checkable
class Lazy(Protocol):
    """A float32 tensor that is computed span by span of its flattened form, in any order."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole."""
        ...

    def block(self, span: Span) -> Tensor:
        """The entries of a span as a new float32 vector."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Elementwise:
    """A result that is a plain function of spans.

    Attributes:
        shape: of the whole.
        compute: span -> its entries, a new float32 vector; called in any order, by several threads.
    """

    shape: tuple[int, ...]
    compute: Callable[[Span], Tensor]

    def block(self, span: Span) -> Tensor:
        """The entries of a span."""
        return self.compute(span)


def whole(result: Tensor | Lazy) -> Tensor:
    """All of a result: a tensor as it is, anything else by the reference, as a new float32 tensor."""
    if isinstance(result, torch.Tensor):
        return result
    out = torch.empty(result.shape, dtype=torch.float32)
    for span in spans(out.numel()):
        out.view(-1)[span[0] : span[1]] = result.block(span)
    return out
