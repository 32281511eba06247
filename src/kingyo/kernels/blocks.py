"""Walking over the sources' tensors in blocks that fit a core's cache, and sums that any machine agrees on.

Everything is elementwise IEEE arithmetic (a product and a sum are two roundings, never one), or a sum whose
order is fixed; so results do not depend on the number of threads or the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from kingyo.io.lazy_torch import Tensor, torch

BLOCK = 1 << 15  # larger ones make the C library return their memory after each operation: page faults
LANES = 32
LINE = 64
"""Bytes that memory moves at a time. Vectors that are written past the caches begin at a multiple of them."""
SIZE_SHIFT = 15
"""Sizes are counted by the upper 17 bits of float32 less the sign: 65,536 bins, 256 of each power of two."""

Span = tuple[int, int]
"""First element, last element + 1, of a flattened tensor."""


def spans(n: int, size: int = BLOCK) -> Iterator[Span]:
    """Split 0..n into blocks."""
    for start in range(0, n, size):
        yield start, min(start + size, n)


def flatten(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Each tensor as a vector; no copies of contiguous ones."""
    return [tensor.reshape(-1) for tensor in tensors]


def rows(vectors: Sequence[Tensor], span: Span) -> Tensor:
    """A block of each vector as rows of new float32 memory, shape (number of vectors, width of the span)."""
    return torch.stack([vector[span[0] : span[1]].float() for vector in vectors])


def all_finite(tensor: Tensor) -> bool:
    """Whether a tensor of any floating dtype holds neither NaN nor infinity."""
    numbers = tensor.float() if tensor.element_size() == 1 else tensor  # torch cannot ask eight bits
    return bool(torch.isfinite(numbers).all())


def column(numbers: Sequence[float], device: torch.device | None = None) -> Tensor:
    """One number per row, rounded to float32, to multiply a matrix with."""
    return torch.tensor(numbers, dtype=torch.float32, device=device).unsqueeze(1)


def add_rows(matrix: Tensor) -> Tensor:
    """Sum the rows in their order, in new memory."""
    first, *others = matrix.unbind(0)
    if not others:
        return first.clone()
    total = first + others[0]
    for row in others[1:]:
        total.add_(row)
    return total


def block_sums(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of each row of one block, in the order that defines sums here.

    Entry e goes to lane e mod 32; each lane is summed in order; then the upper half of the lanes is added to
    the lower, until one is left. Sums of blocks are added in order.

    Args:
        matrix: float64, shape (rows, width of the block).
    """
    n_rows, width = matrix.shape
    padded = np.zeros((n_rows, -(-width // LANES) * LANES))
    padded[:, :width] = matrix
    # numpy adds along an outer axis one by one: the order that is wanted (see tests)
    lanes = np.add.reduce(padded.reshape(n_rows, -1, LANES), axis=1)
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    return lanes[:, 0]


def row_sums(matrix: Tensor) -> NDArray[np.float64]:
    """The sum of each row of a matrix of any width, in float64; see ``block_sums``."""
    wide = matrix.double().numpy()
    total = np.zeros(wide.shape[0])
    for start, stop in spans(wide.shape[1]):
        total = total + block_sums(wide[:, start:stop])
    return total
