"""Blocks of tensors that fit a core's cache, and sums in a fixed order.

Everything is elementwise IEEE arithmetic (a product and a sum are rounded separately), or a sum in a fixed
order. So results do not depend on the number of threads or on the machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.merging.kernels.raw_tensor import AnyTensor, as_torch

BLOCK = 1 << 15
"""Entries per block. With more, the C library returns the memory after each operation: page faults."""
LANES = 32
"""Partial sums per block."""

Span = tuple[int, int]
"""Start and stop of a range of entries of a flattened tensor."""
Line = Literal["row", "column"]
"""Entries that share all indices but the last (row), or all but the first (column)."""


def spans(n: int, size: int = BLOCK) -> Iterator[Span]:
    """Split 0..n into spans of ``size``; the last may be shorter."""
    for start in range(0, n, size):
        yield start, min(start + size, n)


def rows(vectors: Sequence[Tensor], span: Span) -> Tensor:
    """Return a span of each vector in new memory: float32, shape (vectors, width of the span)."""
    return torch.stack([vector[span[0] : span[1]].float() for vector in vectors])


def differences(tensors: Sequence[AnyTensor], base: AnyTensor | None) -> Callable[[Span], Tensor]:
    """Return a function that reads θᵢ - θ₀ of a span (or θᵢ without a base) in new memory, as float32."""
    vectors = [as_torch(tensor).reshape(-1) for tensor in tensors]
    start = None if base is None else as_torch(base).reshape(-1)

    def read(span: Span) -> Tensor:
        block = rows(vectors, span)
        return block if start is None else block.sub_(start[span[0] : span[1]])

    return read


def all_finite(tensor: Tensor) -> bool:
    """Return whether a tensor of any floating dtype has neither NaN nor infinity."""
    numbers = tensor.float() if tensor.element_size() == 1 else tensor  # torch has no isfinite for 8 bits
    return bool(torch.isfinite(numbers).all())


def column(numbers: Sequence[float], device: torch.device | None = None) -> Tensor:
    """Return one number per row, rounded to float32: shape (numbers, 1)."""
    return torch.tensor(numbers, dtype=torch.float32, device=device).unsqueeze(1)


def add_rows(matrix: Tensor) -> Tensor:
    """Return the sum of the rows, added one after the other, in new memory."""
    first, *others = matrix.unbind(0)
    if not others:
        return first.clone()
    total = first + others[0]
    for row in others[1:]:
        total.add_(row)
    return total


@np.errstate(invalid="ignore")  # ∞ − ∞ is NaN, which the merge reports
def block_sums(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of each row of one block, in the order that defines sums here.

    Entry e belongs to lane e mod 32, and each lane is added in order. Then the upper half of the lanes is
    added to the lower half until one is left. Sums of blocks are added in order.
    """
    n_rows, width = matrix.shape
    padded = np.zeros((n_rows, -(-width // LANES) * LANES))
    padded[:, :width] = matrix
    # numpy adds along an outer axis in order; see tests
    lanes = np.add.reduce(padded.reshape(n_rows, -1, LANES), axis=1)
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    return lanes[:, 0]


@np.errstate(invalid="ignore")
def row_sums(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of each row of a float64 matrix of any width; see ``block_sums``."""
    total = np.zeros(matrix.shape[0])
    for start, stop in spans(matrix.shape[1]):
        total = total + block_sums(matrix[:, start:stop])
    return total


def lines_of(span: Span, shape: Sequence[int], line: Line) -> Tensor:
    """Return the index of the row or column of each entry of a span."""
    entries = torch.arange(*span)
    return entries // shape[-1] if line == "row" else entries % math.prod(shape[1:])
