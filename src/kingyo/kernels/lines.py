"""Blends whose weights differ from row to row, or from column to column, and the products they follow from.

A line is a row: the entries that share all indices but the last; or a column: those that share all but the
first. Sums have a fixed order, as everywhere here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kingyo.io.lazy_torch import Tensor, torch
from kingyo.kernels.blocks import BLOCK, Span, add_rows, block_sums, spans
from kingyo.kernels.differences import differences

Line = Literal["row", "column"]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class LineSum:
    """θ₀ + Σ fᵢ(line) (θᵢ - θ₀), or Σ fᵢ(line) θᵢ without a base.

    Attributes:
        shape: of the result, at least one dimension.
        sources: θᵢ.
        factors: fᵢ, float32, shape (sources, lines).
        line: what shares a factor.
        base: θ₀.
    """

    shape: tuple[int, ...]
    sources: tuple[Tensor, ...]
    factors: Tensor
    line: Line
    base: Tensor | None = None

    def block(self, span: Span) -> Tensor:
        """The entries of a span in new float32 memory."""
        terms = differences(self.sources, self.base)(span)
        if self.line == "row":
            factors = along_rows(self.factors, self.shape[-1], span)
        else:
            factors = along_columns(self.factors, span)
        total = add_rows(terms.mul_(factors))
        return total if self.base is None else total.add_(self.base.reshape(-1)[span[0] : span[1]])


def along_rows(numbers: Tensor, length: int, span: Span) -> Tensor:
    """What each entry of a span has of the numbers of its row.

    Args:
        numbers: shape (sets, rows).
        length: of a row.
        span: of entries.

    Returns:
        shape (sets, width of the span).
    """
    first, last = span[0] // length, -(-span[1] // length)
    if last - first > 2:
        wide = numbers[:, first:last, None].expand(-1, -1, length).flatten(1)
        return wide[:, span[0] - first * length : span[1] - first * length]
    cuts = [span[0], *(row * length for row in range(first + 1, last)), span[1]]
    parts = [numbers[:, start // length, None].expand(-1, stop - start) for start, stop in pairwise(cuts)]
    return torch.cat(parts, dim=1)


def along_columns(numbers: Tensor, span: Span) -> Tensor:
    """The same of the numbers of its column, shape (sets, columns)."""
    start, width = span[0] % numbers.shape[1], span[1] - span[0]
    return numbers.repeat(1, -(-(start + width) // numbers.shape[1]))[:, start : start + width]


def line_grams(tensors: Sequence[Tensor], base: Tensor | None, line: Line) -> Floats:
    """Inner products of the tensors, or of their differences from a base, line by line.

    Returns:
        float64, shape (n, n, lines). A difference is rounded to float32, products are exact.
    """
    n, shape = len(tensors), tensors[0].shape
    first, second = np.triu_indices(n)
    if tensors[0].numel() == 0:
        sums = np.zeros((len(first), 0))
    elif line == "row":
        sums = _row_products(tensors, base, shape[-1], first, second)
    else:
        sums = _column_products(tensors, base, tensors[0].numel() // shape[0], first, second)
    products = np.zeros((n, n, sums.shape[1]))
    products[first, second] = products[second, first] = sums
    return products


def _row_products(
    tensors: Sequence[Tensor],
    base: Tensor | None,
    length: int,
    first: NDArray[np.intp],
    second: NDArray[np.intp],
) -> Floats:
    read = differences(tensors, base)
    n = tensors[0].numel()
    sums = np.zeros((len(first), n // length))
    for start, stop in spans(n, max(1, BLOCK // length) * length):
        wide = read((start, stop)).double().numpy()
        products = (wide[first] * wide[second]).reshape(-1, length)
        total = np.zeros(products.shape[0])
        for left, right in spans(length):
            total = total + block_sums(products[:, left:right])
        sums[:, start // length : stop // length] = total.reshape(len(first), -1)
    return sums


def _column_products(
    tensors: Sequence[Tensor],
    base: Tensor | None,
    width: int,
    first: NDArray[np.intp],
    second: NDArray[np.intp],
) -> Floats:
    read = differences(tensors, base)
    sums = np.zeros((len(first), width))
    for span in spans(tensors[0].numel(), max(1, BLOCK // width) * width):
        wide = read(span).double().numpy()
        products = (wide[first] * wide[second]).reshape(len(first), -1, width)
        for row in range(products.shape[1]):  # one row of the tensor after the other
            sums += products[:, row]
    return sums
