"""Sums over tensors and task vectors: inner products, magnitudes, squares.

They are bit-identical for any number of threads: each sum has a fixed order (``blocks.block_sums``) and is
in float64. Compiled loops take them where possible; the definitions in torch and numpy are beside them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kingyo.merging.kernels import blocks, machine_code
from kingyo.merging.kernels.blocks import BLOCK, LANES, Line, Span, block_sums, differences, spans
from kingyo.merging.kernels.loops import ROW, SumLoop, call_arguments
from kingyo.merging.kernels.masks import N_VALUES, BernoulliMask, Mask, Threshold, uniform
from kingyo.merging.kernels.raw_tensor import AnyTensor, as_torch
from kingyo.merging.kernels.threads import compiled_loop, map_spans
from kingyo.merging.kernels.weighted_sum import Term, WeightedSum

Floats = NDArray[np.float64]
SCRATCH = 1 << 9
"""Entries that loops compute at a time before they use them."""
Summand = Literal["magnitudes", "squares", "products"]
_CODES: dict[Summand, int] = {"magnitudes": 1, "squares": 2, "products": 3}
"""What ``machine_code.sums`` takes."""


def gram(tensors: Sequence[AnyTensor], base: AnyTensor | None = None) -> Floats:
    """Return the inner products of the tensors, or of their differences from a base: shape (n, n).

    Differences are rounded to float32, products are exact.
    """
    n = len(tensors)
    first, second = np.triu_indices(n)
    products = np.zeros((n, n))
    total = _sums(plain_sum(tensors, base), "products", len(first))
    products[first, second] = products[second, first] = total
    return products


def line_grams(tensors: Sequence[AnyTensor], base: AnyTensor | None, line: Line) -> Floats:
    """Return what ``gram`` does per row or column: shape (n, n, lines)."""
    n, shape = len(tensors), tensors[0].shape
    first, second = np.triu_indices(n)
    if tensors[0].numel() == 0:
        sums = np.zeros((len(first), 0))
    elif line == "row":
        sums = _row_products(tensors, base, shape[-1])
    else:
        sums = _column_products(tensors, base, tensors[0].numel() // shape[0])
    products = np.zeros((n, n, sums.shape[1]))
    products[first, second] = products[second, first] = sums
    return products


def _row_products(tensors: Sequence[AnyTensor], base: AnyTensor | None, length: int) -> Floats:
    first, second = np.triu_indices(len(tensors))
    read, n = differences(tensors, base), tensors[0].numel()
    sums = np.zeros((len(first), n // length))
    for start, stop in spans(n, max(1, BLOCK // length) * length):
        wide = read((start, stop)).double().numpy()
        total = blocks.row_sums((wide[first] * wide[second]).reshape(-1, length))
        sums[:, start // length : stop // length] = total.reshape(len(first), -1)
    return sums


def _column_products(tensors: Sequence[AnyTensor], base: AnyTensor | None, width: int) -> Floats:
    first, second = np.triu_indices(len(tensors))
    read = differences(tensors, base)
    sums = np.zeros((len(first), width))
    for span in spans(tensors[0].numel(), max(1, BLOCK // width) * width):
        wide = read(span).double().numpy()
        products = (wide[first] * wide[second]).reshape(len(first), -1, width)
        for row in range(products.shape[1]):  # in order
            sums += products[:, row]
    return sums


def magnitude(source: AnyTensor, base: AnyTensor) -> float:
    """Return Σ|θ - θ₀|."""
    return float(_sums(plain_sum([source], base), "magnitudes", 1)[0])


def is_finite(tensor: AnyTensor) -> bool:
    """Return whether a tensor has neither NaN nor infinity."""
    # Sums of float32 do not overflow in float64; those of float64 may.
    if math.isfinite(_sums(plain_sum([tensor], None), "magnitudes", 1)[0]):
        return True
    return blocks.all_finite(as_torch(tensor))


def energies(sources: Sequence[AnyTensor], base: AnyTensor, most_varied: Threshold | None) -> Floats:
    """Return Σ (θᵢ - θ₀)² of each source over the selected entries: float64, shape (n,)."""
    return _sums(plain_sum(sources, base, most_varied=most_varied), "squares", len(sources))


def activity(sources: Sequence[AnyTensor], base: AnyTensor, eps: float) -> NDArray[np.int64]:
    """Count the entries that each source changes by more than eps: with another source, and alone."""
    read = differences(sources, base)
    counts = np.zeros((2, len(sources)), dtype=np.int64)
    for span in spans(base.numel()):
        active = read(span).abs_() > eps
        alone = active.sum(0) == 1
        counts[0] += (active & ~alone).sum(1).numpy()
        counts[1] += (active & alone).sum(1).numpy()
    return counts


def kept_magnitudes(
    sources: Sequence[AnyTensor], base: AnyTensor, masks: Sequence[Mask], totals: Sequence[float]
) -> list[float]:
    """Return Σ m|θ - θ₀| of each source's mask m, each magnitude rounded by the ``rounder`` of its total.

    Masks must not rescale what they keep. ``totals`` are the sums without masks; one that is not finite gives
    NaN.
    """
    plain, rounders = plain_sum(sources, base, masks=masks), np.array([rounder(total) for total in totals])
    loop = loop_over(plain, "rows")

    def add(span: Span) -> Floats:
        if loop is None:
            sizes = np.abs(plain.rows(span).double().numpy())
            return np.sum((sizes + rounders[:, None]) - rounders[:, None], axis=1)
        n_rows, kept = len(sources), np.zeros(len(sources))
        scratch = np.empty((n_rows, ROW), np.float32), np.empty(n_rows, np.uint64)
        machine_code.exact_sums(*call_arguments(loop.calls(span)), rounders, *scratch, kept)
        return kept

    n = plain.n_elements
    parts = [add(span) for span in spans(n)] if loop is None else map_spans(n, add)
    kept = np.zeros(len(sources))
    for part in parts:
        kept += part  # exact, in any order
    return [
        float(part) if math.isfinite(total) else math.nan for part, total in zip(kept, totals, strict=True)
    ]


def rescaling_factor(total: float, kept: float) -> float:
    """Return total / kept; 1 if nothing is kept."""
    if kept > 0:
        return total / kept
    return 1.0 if math.isfinite(total) else math.nan


def rounder(total: float) -> float:
    """Return a number that rounds a magnitude when it is added in float64 and subtracted again.

    The unit is a power of two of at least ``total`` / 2^51, so that the sum of any part of the magnitudes
    whose sum is ``total`` is exact. The number is 1.5 · 2^52 units: such a float64 has no finer steps.
    """
    if not math.isfinite(total):
        return 0.0
    _, exponent = math.frexp(total)  # total < 2^exponent
    return 1.5 * 2.0 ** (exponent + 1)


def magnitudes_by_draw(source: AnyTensor, base: AnyTensor, key: tuple[int, int], total: float) -> Floats:
    """Return Σ|θ - θ₀| of the entries whose random number is below 0, 1, … 65,536: float64.

    For tensors of at most one block shape (2, entries): random numbers, ascending, and the cumulative sum.
    """
    plain, rounding, words = plain_sum([source], base), rounder(total), np.array(key, dtype=np.uint32)
    n = plain.n_elements

    def drawn(span: Span) -> tuple[NDArray[np.intp], Floats]:
        sizes = (np.abs(plain.rows(span)[0].double().numpy()) + rounding) - rounding
        return (uniform(key, *span).numpy() * N_VALUES).astype(np.intp), sizes

    if n <= BLOCK:
        draws, sizes = drawn((0, n))
        order = np.argsort(draws)
        return np.stack([draws[order].astype(np.float64), np.cumsum(sizes[order])])
    loop = loop_over(plain, "size")

    def add(span: Span) -> Floats:
        if loop is None:
            draws, sizes = drawn(span)
            return np.bincount(draws, weights=sizes, minlength=N_VALUES).astype(np.float64)
        bins, scratch = np.zeros(N_VALUES), np.empty(SCRATCH, dtype=np.float32)
        machine_code.by_draw(*call_arguments(loop.calls(span)), words, rounding, scratch, bins)
        return bins

    bins = np.zeros(N_VALUES)
    for part in map(add, spans(n)) if loop is None else map_spans(n, add):
        bins += part  # exact, in any order
    return np.concatenate([np.zeros(1), bins]).cumsum()


def kept_by_density(sums: Floats, mask: BernoulliMask) -> float:
    """Return what ``kept_magnitudes`` does for a mask, from ``magnitudes_by_draw``."""
    if sums.ndim == 1:
        return float(sums[mask.threshold])
    n_kept = int(np.searchsorted(sums[0], mask.threshold))
    return float(sums[1, n_kept - 1]) if n_kept else 0.0


def plain_sum(
    tensors: Sequence[AnyTensor],
    base: AnyTensor | None,
    *,
    masks: Sequence[Mask] | None = None,
    most_varied: Threshold | None = None,
) -> WeightedSum:
    """Return a sum with factors of 1, whose rows are read."""
    kept = [None] * len(tensors) if masks is None else masks
    terms = tuple(Term(source=each, factor=1.0, mask=mask) for each, mask in zip(tensors, kept, strict=True))
    return WeightedSum(shape=tuple(tensors[0].shape), terms=terms, base=base, most_varied=most_varied)


def loop_over(plain: WeightedSum, result: Literal["rows", "size", "variance"]) -> SumLoop | None:
    """Return the compiled loop over a sum; None if torch must read it, or if it is empty."""
    return compiled_loop(plain, result=result) if plain.n_elements else None


def _sums(plain: WeightedSum, summand: Summand, n_sums: int) -> Floats:
    loop = loop_over(plain, "rows")
    if loop is None:
        total = np.zeros(n_sums)
        for span in spans(plain.n_elements):
            total = total + _block_sums(plain.rows(span).double().numpy(), summand)
        return total
    totals = np.zeros((-(-plain.n_elements // BLOCK), n_sums))

    def add(span: Span) -> None:
        part = totals[span[0] // BLOCK : -(-span[1] // BLOCK)]
        scratch = np.empty((n_sums, ROW), np.float32), np.empty((n_sums, LANES))
        machine_code.sums(*call_arguments(loop.calls(span)), _CODES[summand], *scratch, part)

    map_spans(plain.n_elements, add)
    return np.cumsum(totals, axis=0)[-1]  # which adds one by one


def _block_sums(rows: Floats, summand: Summand) -> Floats:
    if summand == "magnitudes":
        return block_sums(np.abs(rows))
    if summand == "squares":
        return block_sums(rows * rows)
    first, second = np.triu_indices(len(rows))
    return block_sums(rows[first] * rows[second])
