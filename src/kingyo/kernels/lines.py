"""Blends whose weights differ from row to row, or from column to column, and the products they follow from.

A line is a row: the entries that share all indices but the last; or a column: those that share all but the
first. Sums have a fixed order, as everywhere here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kingyo.kernels.blocks import BLOCK, Span, add_rows, block_sums, spans
from kingyo.kernels.differences import differences

Line = Literal["row", "column"]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class LineBlend:
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
        places = torch.arange(*span)
        lines = places // self.shape[-1] if self.line == "row" else places % self.factors.shape[1]
        total = add_rows(terms.mul_(self.factors[:, lines]))
        return total if self.base is None else total.add_(self.base.reshape(-1)[span[0] : span[1]])


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
    for span in spans(tensors[0].numel(), width):  # one row of the tensor after the other
        wide = read(span).double().numpy()
        sums += wide[first] * wide[second]
    return sums
