"""Task vectors read block by block, and what is counted of them.

Counts are whole numbers, so they have the same value whatever the order in which they are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kingyo.kernels.blocks import Span, rows, spans


def differences(tensors: Sequence[Tensor], base: Tensor | None) -> Callable[[Span], Tensor]:
    """θᵢ - θ₀ (or θᵢ without a base), rounded to float32.

    Returns:
        span -> new float32 memory, shape (number of tensors, width of the span).
    """
    vectors = [tensor.reshape(-1) for tensor in tensors]
    start = None if base is None else base.reshape(-1)

    def read(span: Span) -> Tensor:
        block = rows(vectors, span)
        return block if start is None else block.sub_(start[span[0] : span[1]])

    return read


def varied(sources: Sequence[Tensor]) -> int:
    """How many entries are not equal in all sources."""
    read = differences(sources, None)
    total = 0
    for span in spans(sources[0].numel()):
        first, *others = read(span).unbind(0)
        odd = torch.zeros(first.shape, dtype=torch.bool)
        for other in others:
            odd |= other != first
        total += int(odd.sum())
    return total


def activity(sources: Sequence[Tensor], base: Tensor, eps: float) -> NDArray[np.int64]:
    """How many entries each source changes by more than eps: together with another, and alone.

    Returns:
        int64, shape (2, n): shared counts, then unique ones.
    """
    read = differences(sources, base)
    counts = np.zeros((2, len(sources)), dtype=np.int64)
    for span in spans(base.numel()):
        active = read(span).abs_() > eps
        alone = active.sum(0) == 1
        counts[0] += (active & ~alone).sum(1).numpy()
        counts[1] += (active & alone).sum(1).numpy()
    return counts
