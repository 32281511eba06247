"""Walking over the sources' tensors in blocks that fit a core's cache, and sums that any machine agrees on.

Methods work on matrices of one row per source and one column per element of a block: few calls, and no
float32 copy of a whole model ever exists. They use elementwise IEEE arithmetic (a product and a sum are two
roundings, never one) and ``row_sums``; so results do not depend on the number of threads or the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

BLOCK = 1 << 15  # larger ones make the C library return their memory after each operation: page faults
_PART = 1 << 12  # torch splits no sum this short between threads

Span = tuple[int, int]
"""First element, last element + 1."""


def spans(n: int) -> Iterator[Span]:
    """Split 0..n into blocks."""
    for start in range(0, n, BLOCK):
        yield start, min(start + BLOCK, n)


def flatten(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Each tensor as a vector; no copies."""
    return [tensor.reshape(-1) for tensor in tensors]


def rows(vectors: Sequence[Tensor], span: Span) -> Tensor:
    """A block of each vector as rows of new float32 memory, shape (number of vectors, width of the span)."""
    return torch.stack([vector[span[0] : span[1]] for vector in vectors]).float()


def column(numbers: Sequence[float]) -> Tensor:
    """One number per row, to multiply a matrix with."""
    return torch.tensor(numbers, dtype=torch.float32).unsqueeze(1)


def add_rows(matrix: Tensor) -> Tensor:
    """Sum the rows in their order, in new memory."""
    first, *others = matrix.unbind(0)
    if not others:
        return first.clone()
    total = first + others[0]
    for row in others[1:]:
        total.add_(row)
    return total


def row_sums(matrix: Tensor) -> list[float]:
    """The sum of each row in float64, by parts of fixed length."""
    whole = matrix.shape[1] // _PART * _PART
    total = matrix[:, whole:].sum(dim=1, dtype=torch.float64).numpy()
    if whole:
        parts = matrix[:, :whole].view(matrix.shape[0], -1, _PART).sum(dim=2, dtype=torch.float64)
        total = total + parts.numpy().sum(axis=1)
    return [float(total[row]) for row in range(matrix.shape[0])]
