"""Task vectors read block by block, and what is counted of them.

Counts are whole numbers, so they have the same value whatever the order in which they are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from kingyo.io.lazy_torch import Tensor, torch
from kingyo.kernels.blocks import Span, flatten, rows, spans
from kingyo.kernels.passes import by_spans


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
    vectors = flatten(sources)
    is_half = len({each.dtype for each in vectors}) == 1 and vectors[0].element_size() == 2

    def count(span: Span) -> int:
        total = 0
        for start, stop in spans(span[1] - span[0]):
            here = [each[span[0] + start : span[0] + stop] for each in vectors]
            odd = _odd_halves(here) if is_half else _odd(here)
            total += int(np.count_nonzero(odd))
        return total

    return sum(by_spans(vectors[0].numel(), count))


def _odd(vectors: Sequence[Tensor]) -> NDArray[np.bool_]:
    first, *others = (vector.float().numpy() for vector in vectors)
    odd = np.zeros(first.size, dtype=np.bool_)
    for other in others:
        odd |= other != first
    return odd


def _odd_halves(vectors: Sequence[Tensor]) -> NDArray[np.bool_]:
    """The same of numbers of 16 bits, as integers, which are compared side by side; but 0 equals -0."""
    first, *others = (vector.view(torch.int16).numpy() for vector in vectors)
    differ, some = np.zeros_like(first), first.copy()
    for other in others:
        differ |= other ^ first
        some |= other
    some &= 0x7FFF
    return (differ != 0) & (some != 0)


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
