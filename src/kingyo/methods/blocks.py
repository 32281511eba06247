"""Walking over a tensor in blocks that fit a core's cache, and sums that do not depend on the machine.

Methods work block by block: no float32 copy of a whole model ever exists, and only the operations below and
elementwise IEEE arithmetic (a product and a sum are two roundings, never one) touch the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 1 << 17
_ROW = 1 << 12


def spans(n: int) -> Iterator[tuple[int, int]]:
    """Split 0..n into blocks: first element, last element + 1."""
    for start in range(0, n, BLOCK):
        yield start, min(start + BLOCK, n)


def as_float(flat: Tensor, span: tuple[int, int]) -> Tensor:
    """A block of a flattened tensor in float32; it may share memory with the tensor: never write to it."""
    return flat[span[0] : span[1]].float()


def delta(source: Tensor, base: Tensor, span: tuple[int, int]) -> Tensor:
    """A block of the task vector source - base, both flattened; new memory, float32."""
    return as_float(source, span) - as_float(base, span)


def exact_sum(block: Tensor) -> float:
    """Sum a block: rows of fixed length in float64, then exactly; the same for any number of threads."""
    whole = block.numel() // _ROW * _ROW
    rows = block[:whole].view(-1, _ROW).sum(dim=1, dtype=torch.float64).numpy()
    rest = block[whole:].sum(dtype=torch.float64)
    return math.fsum((*rows.flat, float(rest)))
